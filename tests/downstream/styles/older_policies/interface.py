"""What all locations import: the assets of `loader`, with the promise that it keeps."""

import dagster as dg
from freshline import max_lag

ORDERS = dg.AssetSpec(["raw", "orders"], metadata=max_lag(minutes=30))
"""`loader` makes it from this same spec."""
RATES = dg.AssetSpec(["raw", "rates"], metadata=max_lag(minutes=30))
"""`loader` makes it and promises something else."""
