"""Has a module called `inspect`, as one of the gate's own neighbours is named: no mix-up."""

import dagster as dg

from stock.inspect import ITEMS


@dg.asset(key=ITEMS)
def items(): ...


@dg.definitions
def everything():
    return dg.Definitions(assets=[items])
