"""dbt projects as part of the lineage: their assets, how they are built, what they read."""
