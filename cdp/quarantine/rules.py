"""Corrections of rejected rows: a YAML file of rules, or what a person says of one line."""

import re
from functools import cached_property
from typing import Self

from pydantic import Field, model_validator

from cdp.strict import Strict


class Rule(Strict):
    """What to write in a column of rows that were rejected for it.

    Attributes:
        column: The contract column to correct.
        check: Only rows that this check rejected; any where it is None.
        replace: Value as it stands → what it should say.
        match: Regular expression that finds a value as a whole; `put` says what to write, with \\1 for its groups.
        put: What to write; of every such row where there is no `match`.
    """

    column: str
    check: str | None = None
    replace: dict[str, str] = Field(default_factory=dict)
    match: str | None = None
    put: str | None = None

    @model_validator(mode="after")
    def _usable(self) -> Self:
        if bool(self.replace) == (self.put is not None):
            raise ValueError("a rule has either 'replace' or 'put'")
        try:
            if self.match is not None and self.put is not None:
                self.pattern.sub(self.put, "")
        except (re.error, IndexError) as error:
            raise ValueError(f"match or put cannot be used: {error}") from error
        return self

    @cached_property
    def pattern(self) -> re.Pattern[str]:
        """The compiled `match`."""
        return re.compile(self.match or ".*", re.DOTALL)

    def corrected(self, value: str | None, checks: dict[str, set[str]]) -> str | None:
        """What the column should say; the value itself where the rule does not concern it.

        Args:
            value: What it says.
            checks: Column → checks that rejected the row for it.
        """
        if self.column not in checks or (self.check and self.check not in checks[self.column]):
            return value
        if self.replace:
            return self.replace.get(value or "", value)
        if self.match is None:
            return self.put
        found = self.pattern.fullmatch(value or "")
        return found.expand(self.put or "") if found else value


class Rules(Strict):
    """A file of rules for one source, applied from the first to the last."""

    source: str
    rules: tuple[Rule, ...] = Field(min_length=1)
