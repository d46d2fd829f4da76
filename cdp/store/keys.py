"""API keys: shown once, stored as a keyed hash, limited to scopes."""

import hashlib
import hmac
import secrets
import uuid
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import psycopg

from cdp.errors import ConfigError, NotFound

SCOPES = (
    "events:write", "profiles:read", "profiles:reveal", "profiles:write", "consent:read", "consent:write", "loyalty:read",
    "loyalty:write", "review:write", "privacy:write", "changes:read", "audiences:read", "admin",
)  # fmt: skip


@dataclass(frozen=True)
class Key:
    """A stored key; `admin` stands for every scope. The first purpose is what it reads for unless a call names another."""

    key_id: str
    name: str
    prefix: str
    scopes: tuple[str, ...]
    purposes: tuple[str, ...]
    created_at: datetime
    expires_at: datetime | None
    revoked_at: datetime | None
    source: str | None = None

    def allows(self, scope: str) -> bool:
        """Whether this key may do what the scope names."""
        return scope in self.scopes or "admin" in self.scopes


def create(
    connection: psycopg.Connection,
    pepper: str,
    name: str,
    scopes: list[str],
    now: datetime,
    expires_at: datetime | None = None,
    purposes: Iterable[str] = ("service",),
    source: str | None = None,
) -> str:
    """Make a key; its text is returned here and never again. `source`: what its events belong to.

    Raises:
        ConfigError: If a scope is unknown, none is given, or the name is taken.
    """
    if unknown := sorted(set(scopes) - set(SCOPES)):
        raise ConfigError(f"unknown scope {', '.join(unknown)}", f"choose from {', '.join(SCOPES)}")
    if not scopes:
        raise ConfigError("a key needs at least one scope", "add --scope profiles:read")
    prefix, secret = secrets.token_hex(4), secrets.token_urlsafe(32)
    try:
        with connection.transaction():
            connection.execute(
                "insert into api_keys (key_id, name, prefix, hash, scopes, purposes, created_at, expires_at, source) "
                "values (%s, %s, %s, %s, %s, %s, %s, %s, %s)",
                [
                    uuid.uuid4(),
                    name,
                    prefix,
                    _hash(pepper, secret),
                    sorted(set(scopes)),
                    list(purposes),
                    now,
                    expires_at,
                    source,
                ],
            )
    except psycopg.errors.UniqueViolation as error:
        raise ConfigError(f"there is a key named '{name}'", "choose another name, or revoke that one") from error
    return f"cdp_{prefix}_{secret}"


def find(connection: psycopg.Connection, pepper: str, text: str, now: datetime) -> Key | None:
    """The living key with this text, None for anything else. Compared in constant time."""
    parts = text.split("_", 2)
    if len(parts) != 3 or parts[0] != "cdp":
        return None
    row = connection.execute(
        "select key_id::text, name, prefix, scopes, purposes, created_at, expires_at, revoked_at, source, hash from api_keys where prefix = %s",
        [parts[1]],
    ).fetchone()
    if row is None or not hmac.compare_digest(row[9], _hash(pepper, parts[2])):
        return None
    key = _key(row)
    if key.revoked_at is not None or (key.expires_at is not None and key.expires_at <= now):
        return None
    return key


def listed(connection: psycopg.Connection) -> list[Key]:
    """All keys, newest first."""
    query = "select key_id::text, name, prefix, scopes, purposes, created_at, expires_at, revoked_at, source from api_keys order by created_at desc"
    return [_key(row) for row in connection.execute(query)]


def revoke(connection: psycopg.Connection, name: str, now: datetime) -> None:
    """End a key at once.

    Raises:
        NotFound: If no living key has this name.
    """
    with connection.transaction():
        done = connection.execute(
            "update api_keys set revoked_at = %s where name = %s and revoked_at is null", [now, name]
        )
    if done.rowcount == 0:
        raise NotFound(f"no living key is named '{name}'", "see 'cdp keys list'")


def _key(row: tuple[Any, ...]) -> Key:
    return Key(row[0], row[1], row[2], tuple(row[3]), tuple(row[4]), row[5], row[6], row[7], row[8])


def _hash(pepper: str, secret: str) -> str:
    return hmac.new(pepper.encode(), secret.encode(), hashlib.sha256).hexdigest()
