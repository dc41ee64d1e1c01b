"""`python -m devstack`: the command `devstack`, where its script is not on PATH."""

from devstack.cli import main

main()
