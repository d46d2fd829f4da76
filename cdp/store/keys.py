"""API keys: shown once, stored as a keyed hash, limited to scopes."""

import hashlib
import hmac
import secrets
import uuid
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import psycopg

from cdp.errors import ConfigError, NotFound

SCOPES = (
    "events:write", "profiles:read", "profiles:reveal", "profiles:write", "consent:read", "consent:write", "loyalty:read",
    "loyalty:write", "review:write", "privacy:write", "changes:read", "audiences:read", "admin",
)  # fmt: skip

COLUMNS = "key_id::text, name, prefix, scopes, purposes, created_at, expires_at, revoked_at, source, rate_limit, last_used_at, old_until"
RATE_LIMIT = 12_000  # calls a minute where a key says nothing else


@dataclass(frozen=True)
class Key:
    """A stored key; `admin` stands for every scope. The first purpose is what it reads for unless a call names another.

    Attributes:
        source: What its events belong to.
        rate_limit: Calls a minute.
        old_until: Until when the text before the present one holds too.
    """

    key_id: str
    name: str
    prefix: str
    scopes: tuple[str, ...]
    purposes: tuple[str, ...]
    created_at: datetime
    expires_at: datetime | None
    revoked_at: datetime | None
    source: str | None
    rate_limit: int
    last_used_at: datetime | None
    old_until: datetime | None

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
    rate_limit: int = RATE_LIMIT,
) -> str:
    """Make a key; its text is returned here and never again. `source`: what its events belong to; `rate_limit`: calls a minute.

    Raises:
        ConfigError: If a scope is unknown, none is given, or the name is taken.
    """
    if unknown := sorted(set(scopes) - set(SCOPES)):
        raise ConfigError(f"unknown scope {', '.join(unknown)}", f"choose from {', '.join(SCOPES)}")
    if not scopes:
        raise ConfigError("a key needs at least one scope", "add --scope profiles:read")
    prefix, secret = _fresh()
    try:
        with connection.transaction():
            connection.execute(
                "insert into api_keys (key_id, name, prefix, hash, scopes, purposes, created_at, expires_at, source, rate_limit) "
                "values (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s)",
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
                    rate_limit,
                ],
            )
    except psycopg.errors.UniqueViolation as error:
        raise ConfigError(f"there is a key named '{name}'", "choose another name, or revoke that one") from error
    return f"cdp_{prefix}_{secret}"


@dataclass(frozen=True)
class Kept:
    """A key as it is stored, found by one of its prefixes.

    Attributes:
        hash: Of the text with that prefix.
        present: Whether that is the present text, not the one before it.
    """

    key: Key
    hash: str
    present: bool


def prefix(text: str) -> str | None:
    """What a key's text is found by; None for what is no key."""
    parts = text.split("_", 2)
    return parts[1] if len(parts) == 3 and parts[0] == "cdp" else None


def kept(connection: psycopg.Connection, text: str) -> Kept | None:
    """The stored key with this text's prefix; whether it is the key, and lives, is for `living` to say."""
    row = connection.execute(
        f"select {COLUMNS}, prefix = %(said)s, hash, old_hash from api_keys where prefix = %(said)s or old_prefix = %(said)s",
        {"said": prefix(text)},
    ).fetchone()
    if row is None:
        return None
    *stored, present, held, before = row
    return Kept(_key(stored), held if present else before, present)


def living(found: Kept | None, pepper: str, text: str, now: datetime) -> Key | None:
    """The living key with this text, None for anything else. Compared in constant time."""
    parts = text.split("_", 2)
    if found is None or len(parts) != 3 or not hmac.compare_digest(found.hash, _hash(pepper, parts[2])):
        return None
    key = found.key
    ends = [at for at in (key.expires_at, None if found.present else key.old_until) if at is not None]
    return None if key.revoked_at is not None or any(at <= now for at in ends) else key


def rotate(connection: psycopg.Connection, pepper: str, name: str, now: datetime, overlap: timedelta) -> str:
    """Give a key another text, returned here and never again; the one it had holds until the overlap ends.

    Raises:
        NotFound: If no living key has this name.
    """
    prefix, secret = _fresh()
    with connection.transaction():
        done = connection.execute(
            "update api_keys set old_prefix = prefix, old_hash = hash, old_until = %s, prefix = %s, hash = %s "
            "where name = %s and revoked_at is null",
            [now + overlap, prefix, _hash(pepper, secret), name],
        )
    if done.rowcount == 0:
        raise NotFound(f"no living key is named '{name}'", "see 'cdp keys list'")
    return f"cdp_{prefix}_{secret}"


def used(connection: psycopg.Connection, when: Mapping[str, datetime]) -> None:
    """Note when keys were used last."""
    connection.execute(
        "update api_keys k set last_used_at = greatest(k.last_used_at, x.at) from unnest(%s::uuid[], %s::timestamptz[]) as x (key_id, at) "
        "where k.key_id = x.key_id",
        [list(when), list(when.values())],
    )


def listed(connection: psycopg.Connection) -> list[Key]:
    """All keys, newest first."""
    return [_key(row) for row in connection.execute(f"select {COLUMNS} from api_keys order by created_at desc, name")]


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


def _key(row: Sequence[Any]) -> Key:
    return Key(row[0], row[1], row[2], tuple(row[3]), tuple(row[4]), *row[5:])


def _fresh() -> tuple[str, str]:
    return secrets.token_hex(4), secrets.token_urlsafe(32)


def _hash(pepper: str, secret: str) -> str:
    return hmac.new(pepper.encode(), secret.encode(), hashlib.sha256).hexdigest()
