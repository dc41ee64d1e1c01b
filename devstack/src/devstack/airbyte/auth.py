"""Who may call: whoever has the application's id and secret, or a token made from them.

Tokens are signed, not stored, so that a token is still good after a restart, as with Airbyte.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import json
import secrets
import time
from dataclasses import dataclass
from pathlib import Path

from fastapi import Request

from devstack.airbyte.errors import unauthorized
from devstack.files import write_private

# How long a token is good: as long as Airbyte's own.
TOKEN_SECONDS = 900


@dataclass(frozen=True)
class Credentials:
    """The one application of this server."""

    client_id: str
    client_secret: str
    signing_key: str

    @classmethod
    def load(cls, folder: Path) -> Credentials:
        """Read the credentials in a folder; make them there at the first start."""
        file = folder / "credentials.json"
        if not file.exists():
            made = {
                "client_id": secrets.token_hex(16),
                "client_secret": secrets.token_urlsafe(32),
                "signing_key": secrets.token_hex(32),
            }
            write_private(file, json.dumps(made))
        return cls(**json.loads(file.read_text()))


class Gate:
    """Issues tokens, and admits requests that have one."""

    def __init__(self, credentials: Credentials) -> None:
        self._credentials = credentials
        self._valid_from = 0.0

    def token_for(self, client_id: str, client_secret: str) -> str:
        """Return a new token. Raises `Problem` 401 when id or secret is wrong."""
        if not self._knows(client_id, client_secret):
            raise unauthorized()
        issued = f"{time.time():.6f}.{secrets.token_hex(8)}"
        return f"{issued}.{self._signature(issued)}"

    def expire_tokens(self) -> None:
        """Refuse every token issued so far."""
        self._valid_from = time.time()

    def admit(self, request: Request) -> None:
        """Raise `Problem` 401 unless the request has good credentials. A FastAPI dependency."""
        scheme, _, value = request.headers.get("Authorization", "").partition(" ")
        if scheme.lower() == "bearer" and self._is_current(value):
            return
        if scheme.lower() == "basic" and self._knows(*_basic(value)):
            return
        raise unauthorized()

    def _knows(self, client_id: str, client_secret: str) -> bool:
        known = self._credentials
        given = f"{client_id}\0{client_secret}".encode(errors="replace")
        return hmac.compare_digest(given, f"{known.client_id}\0{known.client_secret}".encode())

    def _is_current(self, token: str) -> bool:
        issued, _, signature = token.rpartition(".")
        if not hmac.compare_digest(
            signature.encode(errors="replace"), self._signature(issued).encode()
        ):
            return False
        issued_at = float(issued.rpartition(".")[0])
        return issued_at > self._valid_from and time.time() < issued_at + TOKEN_SECONDS

    def _signature(self, text: str) -> str:
        key = self._credentials.signing_key.encode()
        return hmac.new(key, text.encode(errors="replace"), hashlib.sha256).hexdigest()


def _basic(value: str) -> tuple[str, str]:
    try:
        user, _, password = base64.b64decode(value, validate=True).decode().partition(":")
    except (binascii.Error, ValueError):
        return "", ""
    return user, password
