"""Every way to make assets: factories, graphs, several at once, some of several at once."""

import dagster as dg


def table(name):
    @dg.asset(key=["raw", name], group_name="factory")
    def made(): ...

    return made


@dg.op
def read():
    return 1


@dg.op
def write(value):
    return value


@dg.graph_asset(key=["graph", "one"])
def one():
    return write(read())


@dg.graph_multi_asset(
    outs={"left": dg.AssetOut(key=["graph", "left"]), "right": dg.AssetOut(key=["graph", "right"])}
)
def both():
    value = read()
    return {"left": write(value), "right": write(value)}


@dg.multi_asset(
    outs={
        "heads": dg.AssetOut(key=["multi", "heads"], is_required=False),
        "tails": dg.AssetOut(key=["multi", "tails"], is_required=False),
    },
    can_subset=True,
    internal_asset_deps={"tails": {dg.AssetKey(["multi", "heads"])}, "heads": set()},
)
def coins(): ...


@dg.asset_check(asset=["elsewhere", "not_made_here"])
def about_a_foreign_asset():
    return dg.AssetCheckResult(passed=True)


@dg.asset_check(asset=["graph", "one"])
def about_an_own_asset():
    return dg.AssetCheckResult(passed=True)


defs = dg.Definitions(
    assets=[table("a"), table("b"), one, both, coins],
    asset_checks=[about_a_foreign_asset, about_an_own_asset],
    jobs=[dg.define_asset_job("everything")],
)
