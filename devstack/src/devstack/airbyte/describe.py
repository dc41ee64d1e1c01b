"""Write the GitHub source's `spec.json` and `catalog.json`. Run it when its version changes:

`python -m devstack.airbyte.describe`

To list its streams the source asks GitHub for a repository. A server on loopback answers in
GitHub's place, so that nothing leaves the machine.
"""

from __future__ import annotations

import json
import subprocess
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

from devstack.airbyte.registry import Connector, load_registry

_REPOSITORY = "acme/rocket"


def main() -> None:
    """Describe the GitHub source."""
    connector = load_registry().find("source", type="github")
    if connector is None or connector.catalog is None:
        raise SystemExit("connectors.json has no GitHub source with a catalog")
    with tempfile.TemporaryDirectory() as folder, _one_repository() as url:
        configuration = Path(folder) / "config.json"
        configuration.write_text(
            json.dumps(
                {
                    "credentials": {"personal_access_token": "any"},
                    "repositories": [_REPOSITORY],
                    "api_url": url,
                }
            )
        )
        spec = _answer(connector, "SPEC", "spec")
        catalog = _answer(connector, "CATALOG", "discover", "--config", str(configuration))
    spec_file = connector.folder / connector.spec
    spec_file.write_text(json.dumps(spec, indent=2, ensure_ascii=False) + "\n")
    # One line for each stream, so that a diff shows which streams a new version changes.
    lines = (json.dumps(one, ensure_ascii=False) for one in catalog["streams"])
    text = '{"streams": [\n' + ",\n".join(lines) + "\n]}\n"
    (connector.folder / connector.catalog).write_text(text)
    print(f"{connector.name}: {len(catalog['streams'])} streams")


def _answer(connector: Connector, kind: str, *arguments: str) -> dict[str, Any]:
    """Run the connector and return its one message of this kind."""
    done = subprocess.run(
        [*connector.command_line(), *arguments], stdout=subprocess.PIPE, check=True
    )
    for line in done.stdout.splitlines():
        message = json.loads(line)
        if message["type"] == kind:
            content: dict[str, Any] = message[kind.lower()]
            return content
    raise SystemExit(f"{connector.name} printed no {kind}: {done.stdout.decode()[-2000:]}")


class _Repository(BaseHTTPRequestHandler):
    """Answers the two requests that the source makes."""

    def do_GET(self) -> None:
        pool = {"limit": 5000, "remaining": 5000, "reset": 4102444800}
        document: dict[str, Any] = {"resources": {"core": pool, "graphql": pool}}
        if self.path != "/rate_limit":
            document = {"id": 1, "full_name": _REPOSITORY, "owner": {"type": "User"}}
        body = json.dumps(document).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


@contextmanager
def _one_repository() -> Iterator[str]:
    with HTTPServer(("127.0.0.1", 0), _Repository) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/"
        server.shutdown()


if __name__ == "__main__":
    main()
