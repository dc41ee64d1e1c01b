"""A Postgres server of one's own, and the databases on it."""
