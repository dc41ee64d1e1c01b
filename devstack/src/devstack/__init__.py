"""What a laptop lacks: a Postgres, an Airbyte and a GitHub, on loopback.

Where things are:

==================  ============================================================================
``cli``             the command ``devstack``: ``up``, ``down``, ``status``, ``reset``, ``run``
``serve_commands``  ``devstack serve ...``: one server in the foreground
``stack``           all three servers of one checkout: settings, start, stop, state
``postgres``        a Postgres server, and the databases on it
``github``          a stand-in for GitHub's list of stargazers
``airbyte``         the embedded Airbyte: its API, and the syncs behind it
``http_server``     serving an HTTP application on loopback
``serving``         what every server does: announce itself, wait, stop
``ports``           loopback ports: a free one, or a clear message about a busy one
``processes``       processes of which we may not be the parent, and how to end them
``files``           files that hold secrets
``kernel``          two things that only Linux offers
``errors``          the one exception that a user sees as a message
==================  ============================================================================

Imports run from the top of this table to its end. Of the four folders, ``stack`` alone imports
from others: from ``postgres`` and ``github``.
"""
