"""The broker, which keeps the runs that wait for a worker: a Valkey server.

`server` starts Valkey over a data directory, asks whether it answers, and stops it.
"""
