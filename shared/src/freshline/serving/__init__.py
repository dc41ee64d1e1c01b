"""What serves a code location on a machine: processes that are replaced beside the old one.

`supervisor` keeps one process of each location going, and puts a new one in its place when code has
changed, or a release of it on request (`releases`). What it keeps are code servers (`code_server`),
known to have loaded by what they answer (`readiness`), to one of which a `port` passes its
connections, or workers: see `freshline.engine`. Requests come by a `control` socket. No process
outlives its supervisor (`leash`), and systemd is told when all of them serve (`notify`).

Needs no Celery.
"""
