"""What must hold of the data, beyond what a contract says of a single row: each check tells what it found and what to do next."""

from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Finding:
    """What a check found.

    Attributes:
        ok: Whether all is as it should be.
        facts: Numbers by name; never a value of a person.
        rows: What is wrong, a row each, the worst first; never a value of a person.
    """

    ok: bool
    facts: dict[str, Any] = field(default_factory=dict)
    rows: list[dict[str, Any]] = field(default_factory=list)
