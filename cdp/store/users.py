"""Accounts of the console, their sessions, and what a session sees unmasked."""

import hashlib
import secrets
import uuid
from dataclasses import dataclass
from datetime import datetime

import psycopg
from psycopg.rows import class_row

from cdp.errors import ConfigError, NotFound

COLUMNS = "user_id::text, name, roles, language, created_at, disabled_at, failed, locked_until, password_hash"
MOST_RECENT = 8


@dataclass(frozen=True)
class User:
    """An account."""

    user_id: str
    name: str
    roles: list[str]
    language: str
    created_at: datetime
    disabled_at: datetime | None
    failed: int
    locked_until: datetime | None
    password_hash: str


@dataclass(frozen=True)
class Session:
    """A session of an account; `recent`: the customers looked at last, the newest first."""

    token_hash: str
    user_id: str
    created_at: datetime
    seen_at: datetime
    recent: list[str]


def create(
    store: psycopg.Connection, name: str, password_hash: str, roles: list[str], language: str, now: datetime
) -> str:
    """Make an account; its id.

    Raises:
        ConfigError: If the name is taken.
    """
    made = str(uuid.uuid4())
    try:
        with store.transaction():
            store.execute(
                "insert into users (user_id, name, password_hash, roles, language, created_at) values (%s, %s, %s, %s, %s, %s)",
                [made, name.lower(), password_hash, roles, language, now],
            )
    except psycopg.errors.UniqueViolation as error:
        raise ConfigError(f"there is a user named '{name.lower()}'", "choose another name") from error
    return made


def every(store: psycopg.Connection) -> list[User]:
    """All accounts by name."""
    with store.cursor(row_factory=class_row(User)) as cursor:
        return cursor.execute(f"select {COLUMNS} from users order by name").fetchall()


def named(store: psycopg.Connection, name: str, *, lock: bool = False) -> User | None:
    """The account of a name; locked until the transaction ends where that is asked for: sign-ins of one account queue."""
    held = " for update" if lock else ""
    with store.cursor(row_factory=class_row(User)) as cursor:
        return cursor.execute(f"select {COLUMNS} from users where name = lower(%s){held}", [name]).fetchone()


def change(store: psycopg.Connection, name: str, **to: object) -> None:
    """Set columns of an account; whoever is signed in with it is signed out, but where only the language changes.

    Raises:
        NotFound: If nobody has the name.
    """
    allowed = {"password_hash", "roles", "language", "disabled_at", "failed", "locked_until"}
    assert set(to) <= allowed, to
    sets = ", ".join(f"{column} = %({column})s" for column in to)
    found = store.execute(
        f"update users set {sets} where name = lower(%(name)s) returning user_id",
        {**to, "name": name},
    ).fetchone()
    if found is None:
        raise NotFound(f"there is no user named '{name}'", "`cdp users list` shows them")
    if set(to) & {"password_hash", "roles", "disabled_at"}:
        store.execute("delete from sessions where user_id = %s", [found[0]])


def begin(store: psycopg.Connection, user_id: str, now: datetime) -> str:
    """A new session; its token, of which only a hash is kept."""
    token = secrets.token_urlsafe(32)
    store.execute(
        "insert into sessions (token_hash, user_id, created_at, seen_at) values (%s, %s, %s, %s)",
        [digest(token), user_id, now, now],
    )
    return token


def session(store: psycopg.Connection, token: str) -> tuple[Session, User] | None:
    """The session of a token with its account, if there is one."""
    with store.cursor(row_factory=class_row(Session)) as cursor:
        found = cursor.execute(
            "select token_hash, user_id::text, created_at, seen_at, recent::text[] from sessions where token_hash = %s",
            [digest(token)],
        ).fetchone()
    if found is None:
        return None
    with store.cursor(row_factory=class_row(User)) as cursor:
        user = cursor.execute(f"select {COLUMNS} from users where user_id = %s", [found.user_id]).fetchone()
    return (found, user) if user is not None and user.disabled_at is None else None


def seen(store: psycopg.Connection, token_hash: str, now: datetime) -> None:
    """Note that a session was used."""
    store.execute("update sessions set seen_at = %s where token_hash = %s", [now, token_hash])


def looked_at(store: psycopg.Connection, token_hash: str, customer_id: str) -> None:
    """Put a customer first among the recent ones of a session."""
    store.execute(
        "update sessions set recent = (array_prepend(%(customer)s::uuid, array_remove(recent, %(customer)s::uuid)))[:%(most)s] "
        "where token_hash = %(token)s and recent[1] is distinct from %(customer)s::uuid",
        {"customer": customer_id, "most": MOST_RECENT, "token": token_hash},
    )


def end(store: psycopg.Connection, token_hash: str, before: datetime) -> None:
    """End a session, and forget those that nobody used since a moment."""
    store.execute("delete from sessions where token_hash = %s or seen_at < %s", [token_hash, before])


def reveal(store: psycopg.Connection, token_hash: str, customer_id: str, until: datetime, reason: str) -> None:
    """Let a session see a customer unmasked until a moment."""
    store.execute(
        "insert into reveals (token_hash, customer_id, until, reason) values (%s, %s, %s, %s) on conflict (token_hash, customer_id) "
        "do update set until = excluded.until, reason = excluded.reason",
        [token_hash, customer_id, until, reason],
    )


def hide(store: psycopg.Connection, token_hash: str, customer_id: str) -> None:
    """Mask a customer again."""
    store.execute("delete from reveals where token_hash = %s and customer_id = %s", [token_hash, customer_id])


def revealed(
    store: psycopg.Connection, token_hash: str, customer_id: str, now: datetime
) -> tuple[datetime, str] | None:
    """(until when, why) a session sees a customer unmasked; None where it does not."""
    return store.execute(
        "select until, reason from reveals where token_hash = %s and customer_id = %s and until > %s",
        [token_hash, customer_id, now],
    ).fetchone()


def digest(token: str) -> str:
    """What is kept of a token: it is random and long, so a plain hash says nothing."""
    return hashlib.sha256(token.encode()).hexdigest()
