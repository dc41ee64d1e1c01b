"""The first team: fetches the orders of each day from the shop, into a file for that day."""

from datetime import date
from pathlib import Path

import dagster as dg
from freshline import with_freshline

DATA = Path(__file__).with_name("data")

# The partition of a day exists once the day is over: then no row of it changes any more.
DAYS = dg.DailyPartitionsDefinition(start_date="2026-01-01")


# Nobody asked for old days. freshline makes those that the policies in reports.py need, and leaves
# the others alone. To have all of them since a day, say so for mart/daily_revenue in reports.py:
# metadata={"freshline/complete_from": "2026-01-01"}
@dg.asset(key=["raw", "orders"], partitions_def=DAYS)
def orders(context: dg.AssetExecutionContext) -> None:
    day = context.partition_key
    amounts = amounts_in_the_shop(date.fromisoformat(day))
    file = DATA / "orders" / f"{day}.csv"
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text("".join(f"{day},{amount}\n" for amount in amounts))
    context.add_output_metadata({"rows": len(amounts)})


def amounts_in_the_shop(day: date) -> list[int]:
    """Return what was ordered on a day. It stands for a request to the shop."""
    return [10 * number for number in range(1, day.toordinal() % 5 + 3)]


defs = with_freshline(dg.Definitions(assets=[orders]), location="loader")
