"""The one clock: business rules never ask the system for the time, they are told `now`."""

from datetime import UTC, datetime

from cdp.errors import ConfigError


def system_now() -> datetime:
    """The present moment in UTC. Called once at the edge (command line, request), then passed down."""
    return datetime.now(UTC)


def parse_as_of(text: str) -> datetime:
    """Read a time given by a person: RFC 3339, or a date (its last second, so the whole day counts).

    Raises:
        ConfigError: If the text is neither.
    """
    try:
        if len(text) == len("2011-12-31"):
            return datetime.fromisoformat(text).replace(hour=23, minute=59, second=59, tzinfo=UTC)
        moment = datetime.fromisoformat(text)
    except ValueError as error:
        raise ConfigError(
            f"'{text}' is not a time", "give RFC 3339 (2011-12-31T12:00:00Z) or a date (2011-12-31)"
        ) from error
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
