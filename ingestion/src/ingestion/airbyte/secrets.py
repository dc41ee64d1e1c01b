"""Secrets are kept out of everything that is printed, and compared by their digests.

Airbyte masks its secrets, so that a rotated one looks like the one before. Therefore each apply
keeps a digest of every secret that it sets: scrypt with a salt of its own, in a table of the
warehouse that only its owner can read. All who apply share that table. It does not reveal the
secrets, and if it is lost, the next apply sets them once more.
"""

from __future__ import annotations

import hashlib
import hmac
import os
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from typing import Any, Final, Protocol

import psycopg

from ingestion.errors import WarehouseError

__all__ = ["DigestStore", "Digests", "Redactor", "WarehouseDigests", "digest", "matches"]

HIDDEN: Final = "********"

# 16 MiB and some 50 ms for each guess, as for the hash of a password.
_SCRYPT: Final[Mapping[str, int]] = {"n": 2**14, "r": 8, "p": 1}

Digests = dict[str, str]
"""Digest by the secret's dotted path, for example "credentials.personal_access_token"."""


class Redactor:
    """Replaces the secrets in a text. Call it with the text."""

    def __init__(self, *secrets: str | None) -> None:
        self._secrets: set[str] = set()
        self.hide(*secrets)

    def hide(self, *secrets: str | None) -> None:
        """Hide these secrets as well, from now on."""
        # A very short secret occurs in any text: to hide it spoils the text and protects nothing.
        self._secrets.update(secret for secret in secrets if secret and len(secret) > 3)

    def __call__(self, text: str) -> str:
        for secret in sorted(self._secrets, key=len, reverse=True):
            text = text.replace(secret, HIDDEN)
        return text


def digest(secret: str) -> str:
    """Return a salted digest, `scrypt$<salt>$<key>` in hexadecimal; each call has a new salt."""
    salt = os.urandom(16)
    return f"scrypt${salt.hex()}${_key(secret, salt).hex()}"


def matches(secret: str, known: str) -> bool:
    """Return whether `known` is a digest of `secret`."""
    name, salt, key = known.split("$")
    return name == "scrypt" and hmac.compare_digest(
        _key(secret, bytes.fromhex(salt)), bytes.fromhex(key)
    )


def _key(secret: str, salt: bytes) -> bytes:
    return hashlib.scrypt(secret.encode(), salt=salt, dklen=32, **_SCRYPT)


class DigestStore(Protocol):
    """Keeps the digests of the secrets that were applied last.

    `owner` is the id of the source or destination that has the secrets.
    """

    def read(self, owner: str) -> Digests: ...

    def write(self, owner: str, digests: Mapping[str, str]) -> None: ...

    def forget(self, owner: str) -> None: ...


class WarehouseDigests:
    """The digests, in the table `ingestion.airbyte_secret_digests` of the warehouse.

    Each method raises `WarehouseError` if the warehouse cannot be reached.
    """

    def __init__(self, conninfo: Mapping[str, Any]) -> None:
        self._conninfo = dict(conninfo)

    def read(self, owner: str) -> Digests:
        with self._connection() as connection:
            found = connection.execute(
                "select to_regclass('ingestion.airbyte_secret_digests')"
            ).fetchone()
            if found is None or found[0] is None:
                return {}
            rows = connection.execute(
                "select path, digest from ingestion.airbyte_secret_digests where owner = %s",
                [owner],
            )
            return dict(rows.fetchall())

    def write(self, owner: str, digests: Mapping[str, str]) -> None:
        """Replace all digests of `owner`."""
        with self._connection() as connection, connection.transaction():
            # "create ... if not exists" fails if two first applies run it at the same time.
            connection.execute("select pg_advisory_xact_lock(hashtext('ingestion.digests'))")
            connection.execute("create schema if not exists ingestion")
            connection.execute(
                "create table if not exists ingestion.airbyte_secret_digests ("
                "owner text, path text, digest text not null,"
                "applied_at timestamptz not null default now(), primary key (owner, path))"
            )
            connection.execute(
                "delete from ingestion.airbyte_secret_digests where owner = %s", [owner]
            )
            for path, value in sorted(digests.items()):
                connection.execute(
                    "insert into ingestion.airbyte_secret_digests (owner, path, digest) "
                    "values (%s, %s, %s)",
                    [owner, path, value],
                )

    def forget(self, owner: str) -> None:
        if self.read(owner):
            self.write(owner, {})

    @contextmanager
    def _connection(self) -> Iterator[psycopg.Connection[Any]]:
        try:
            with closing(psycopg.connect(**self._conninfo, autocommit=True)) as connection:
                yield connection
        except psycopg.OperationalError as error:
            raise WarehouseError(
                "cannot reach the warehouse, which keeps the digests of applied secrets: check "
                f"the WAREHOUSE_* variables ({' '.join(str(error).split())})"
            ) from None
