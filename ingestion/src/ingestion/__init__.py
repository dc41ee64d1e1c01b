"""Team ingestion: Airbyte connections, and the assets that their syncs make.

===================  =============================================================
`definitions`        what Dagster loads
`connections`        the declared connections: the file to edit for a new one
`assets`             the assets and the schedule of a declared connection
`resources`          Airbyte and the warehouse, as a run uses them
`views`              the views that show an object column as a relation
`airbyte`            Airbyte as code, and one sync: a package with its own map
`cli`                the program `ingestion`: check, apply, import, and more
`settings`           where Airbyte and the warehouse are
`errors`             the errors that are written for people
`specs`, `catalogs`  what the connectors say about themselves, recorded
===================  =============================================================
"""
