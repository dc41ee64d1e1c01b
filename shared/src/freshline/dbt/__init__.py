"""What are the assets of a dbt project, how are they built, and what do they read of others?

`translator` makes assets of models, `build` runs dbt, `prepare` makes a project ready to load, and
`sources` writes the dbt sources for what another location makes. `warm` loads dbt for runs to come,
which then run it in a `fork` of their process.
"""
