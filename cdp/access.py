"""Who may do what in the console: roles as the scopes of the API, passwords, lock-out, how long a session lasts."""

from collections.abc import Iterable
from datetime import datetime, timedelta
from functools import lru_cache

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

from cdp.errors import Invalid

READING = ("profiles:read", "consent:read", "loyalty:read")
ROLES: dict[str, tuple[str, ...]] = {
    "agent": (*READING, "profiles:reveal", "profiles:write", "consent:write", "loyalty:write"),
    "steward": (*READING, "review:write"),
    "privacy": (*READING, "profiles:reveal", "consent:write", "privacy:write"),
    "admin": ("admin",),
}
LANGUAGES = ("en", "zh_Hans", "zh_Hant")
SHORTEST = 12  # characters of a password; NIST SP 800-63B asks for length, not for kinds of characters
LONGEST = 200
MOST_FAILED = 5  # sign-ins in a row that fail, then the account is locked
LOCKED_FOR = timedelta(minutes=15)
IDLE = timedelta(minutes=30)  # a session that nobody used for so long has ended
LASTS = timedelta(hours=12)
REVEALED_FOR = timedelta(minutes=5)
_HASHER = PasswordHasher()  # argon2id with the parameters of RFC 9106, second choice


class WeakPassword(Invalid):
    """A password that is too easy to guess."""


class UnknownRole(Invalid):
    """A role that there is not."""


def scopes(roles: Iterable[str]) -> tuple[str, ...]:
    """What these roles may do, as scopes of the API.

    Raises:
        UnknownRole: If there is no such role.
    """
    named = tuple(roles)
    if unknown := sorted(set(named) - set(ROLES)):
        raise UnknownRole(f"unknown role {', '.join(unknown)}", f"choose from {', '.join(ROLES)}")
    return tuple(sorted({scope for role in named for scope in ROLES[role]}))


def hashed(password: str, name: str) -> str:
    """The hash that is stored.

    Raises:
        WeakPassword: If it is too short, too long, or the account's name.
    """
    if not SHORTEST <= len(password) <= LONGEST:
        raise WeakPassword(f"a password has {SHORTEST} to {LONGEST} characters", "a sentence is easy to remember")
    if name.lower() in password.lower() or len(set(password)) < 5:
        raise WeakPassword("this password is easy to guess", "take a sentence without your name in it")
    return _HASHER.hash(password)


def is_password(stored: str | None, password: str) -> bool:
    """Whether it is the password of a stored hash; takes as long where nobody has the name."""
    try:
        return _HASHER.verify(stored or _nobody(), password[:LONGEST]) and stored is not None
    except (VerificationError, InvalidHashError):
        return False


@lru_cache
def _nobody() -> str:
    """A hash that no password has, so that an unknown name takes as long as a known one; made when it is first needed."""
    return _HASHER.hash("nobody has this password")


def after_failure(failed: int, now: datetime) -> tuple[int, datetime | None]:
    """(failures in a row, until when the account is locked) after one more that failed."""
    return (0, now + LOCKED_FOR) if failed + 1 >= MOST_FAILED else (failed + 1, None)


def lives(created: datetime, seen: datetime, now: datetime) -> bool:
    """Whether a session is still one."""
    return now - created < LASTS and now - seen < IDLE
