"""A Postgres server, and the databases on it.

`server` starts Postgres over a data directory and stops it, `accounts` chooses the operating
system's user that it runs as (Postgres refuses root), `databases` creates databases and the
roles that own them, `roles` gives the code locations theirs.
"""
