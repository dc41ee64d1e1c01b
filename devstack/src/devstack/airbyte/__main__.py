"""``python -m devstack.airbyte``: the server alone, without the ``devstack`` command."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from devstack.airbyte import serve
from devstack.errors import DevstackError


def main() -> None:
    parser = argparse.ArgumentParser(prog="devstack.airbyte", description=serve.__doc__)
    parser.add_argument("--database-url", required=True)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--with-parent", action="store_true")
    parser.add_argument("--faults", action="store_true")
    parser.add_argument("--no-internal-api", dest="internal_api", action="store_false")
    parser.add_argument("--connectors", type=Path)
    arguments = parser.parse_args()
    try:
        serve(**vars(arguments))
    except DevstackError as error:
        print(f"devstack: {error}", file=sys.stderr)
        sys.exit(1)


if __name__ == "__main__":
    main()
