"""``python -m devstack``: the command, for when its script is not on the path."""

from devstack.cli import main

main()
