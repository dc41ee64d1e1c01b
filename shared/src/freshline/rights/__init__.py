"""What each location may do in the warehouse and in Dagster's database, as SQL for Postgres.

`needs` derives it from the contracts: whose schema is it, and who reads it? `warehouse` writes the
SQL for the database with the tables, `instance` that for Dagster's own. Both are texts that a
database's administrator can read, and can run again after every change of a contract.
"""

from freshline.rights.instance import instance_sql
from freshline.rights.needs import Needs, Read, Readable, needs_of
from freshline.rights.warehouse import warehouse_sql

__all__ = ["Needs", "Read", "Readable", "instance_sql", "needs_of", "warehouse_sql"]
