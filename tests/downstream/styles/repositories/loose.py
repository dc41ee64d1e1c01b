"""Assets at the top of a module, which Dagster collects by itself."""

import dagster as dg


@dg.asset(key=["loose", "end"], deps=[["a", "two"]])
def end(): ...
