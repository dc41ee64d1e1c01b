"""What a laptop lacks: a Postgres, an Airbyte, a GitHub and a broker, on loopback.

Where to read on, by the question that you have:

    cli             what does the command `devstack` do: up, down, status, reset, run?
    serve_commands  what does `devstack serve` do: one server in the foreground?
    stack/          how are the four servers of a checkout set up, started, watched, stopped?
    postgres/       how does a Postgres server start and stop, and who owns its databases?
    github/         what does the stand-in for GitHub answer, and where are its stars from?
    airbyte/        what does the embedded Airbyte answer, and how does it sync?
    broker/         how does the Valkey that keeps queued runs start and stop?
    http_server     how is an HTTP application served on loopback?
    serving         how does a server say that it is ready, and when does it stop?
    ports           which loopback port is free, and what does the user read if one is taken?
    processes       which processes has a process started, and how are they ended?
    files           how is a file with a secret written, and a folder locked?
    kernel          what does Linux do for us when a parent process dies?
    errors          what can go wrong, and what is it called?

Imports run from the top of this list to its end. Of the five folders, `stack` alone imports
from others: from `postgres`, `github` and `broker`. `tests/test_layout.py` checks this.
"""
