import dagster as dg
from freshline import with_freshline


@dg.asset(key=["Marts", "MonthTotals"], deps=[["mart", "stargazers"]])
def months(): ...


defs = with_freshline(dg.Definitions(assets=[months]), location="marts")
