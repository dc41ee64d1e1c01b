import dagster as dg

columns = dg.TableSchema(columns=[dg.TableColumn("id", "integer"), dg.TableColumn("at", "date")])


@dg.asset(key=["raw", "orders"], metadata={"dagster/column_schema": columns})
def orders(): ...


@dg.asset(key=["raw", "visits"])
def visits(): ...


people = dg.AssetSpec(["crm", "people"])  # for everybody's information

defs = dg.Definitions(assets=[orders, visits, people])
