"""Airbyte as code: connections are declared, compared with an Airbyte, applied and synced.

The modules, each after those that it builds on:

====================  ============================================================
`record`              what a connector says about itself: stored and read back
`identifiers`         the names that Postgres would cut, refused
`keys`                keys that do not tell all rows apart, refused
`declaration`         the words in which a connection is declared
`specification`       what a connector's specification says about one property
`secrets`             secrets hidden in messages, and compared by their digests
`configuration`       a declared configuration, looked up in the environment
`faults`, `client`    the one HTTP client, and the messages of its errors
`losses`              what a table lacks because of how its stream is synced
`compare`, `plan`     what has to change in Airbyte
`python_text`         declarations as the text of a Python file
`existing`            what an Airbyte has already, as declarations
`apply`               the changes, carried out
`show`                a plan as people read it
`sync`                one sync of one connection
====================  ============================================================
"""
