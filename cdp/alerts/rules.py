"""The rules of `alerts.yaml`, and what is to be said of them: pure functions."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal, Self

import sqlglot
from pydantic import Field, model_validator
from sqlglot import exp

from cdp.strict import Strict
from cdp.workspace import Workspace
from cdp.yamlfile import load_yaml

EVENTS = ("run_failed", "check_failed", "late")


class To(Strict):
    """Where alerts go; what is not set up is left out."""

    log: bool = True
    webhook: bool = True
    email: tuple[str, ...] = ()


class AlertRule(Strict):
    """One rule.

    Attributes:
        name: What it is called in messages.
        when: `run_failed`, `check_failed`, `late`, or a select of one number over the lake.
        above: The number from above which it is wrong.
        below: The number below which it is wrong.
        checks: Only these checks (`asset.check`); all where empty.
        hours: For `late`: how old the end of the last run of the pipeline that succeeded may be.
    """

    name: str
    when: str
    above: float | None = None
    below: float | None = None
    checks: tuple[str, ...] = ()
    hours: float | None = Field(default=None, gt=0)

    @model_validator(mode="after")
    def _usable(self) -> Self:
        if (self.when == "late") != (self.hours is not None):
            raise ValueError("say after how many 'hours' a run is late, and only with 'when: late'")
        if self.when in EVENTS:
            return self
        try:
            parsed = sqlglot.parse(self.when, dialect="duckdb")
        except sqlglot.errors.ParseError as error:
            raise ValueError(f"'when' is {', '.join(EVENTS)} or a select: {error}") from error
        if len(parsed) != 1 or not isinstance(parsed[0], exp.Query):
            raise ValueError("'when' is one select")
        if self.above is None and self.below is None:
            raise ValueError("say 'above' or 'below' which number it is wrong")
        return self

    @property
    def is_kpi(self) -> bool:
        """Whether it looks at a figure of the lake."""
        return self.when not in EVENTS

    def breaks(self, value: float | None) -> bool:
        """Whether a figure is wrong; one that is not there says nothing."""
        if value is None:
            return False
        return (self.above is not None and value > self.above) or (self.below is not None and value < self.below)


class Alerts(Strict):
    """The file."""

    version: str
    repeat_hours: float = Field(default=24, gt=0)
    to: To = To()
    rules: tuple[AlertRule, ...] = ()


def load_alerts(workspace: Workspace) -> Alerts:
    """The workspace's alerts; none where the file is missing.

    Raises:
        ConfigError: If the file is broken.
    """
    path = workspace.path("alerts.yaml")
    return load_yaml(path, Alerts, docs="docs/operate.md") if path.exists() else Alerts(version="none")


@dataclass(frozen=True)
class Wrong:
    """Something that is wrong now.

    Attributes:
        rule: The rule that says so.
        subject: What: a check, a job, a figure. With the rule it tells one alert from another.
        text: What a person reads; without personal data.
        since: When it became known to the pipeline.
    """

    rule: str
    subject: str
    text: str
    since: datetime


@dataclass(frozen=True)
class Open:
    """An alert that was told and is not over."""

    rule: str
    subject: str
    text: str
    sent_at: datetime


@dataclass(frozen=True)
class Message:
    """What is said now."""

    rule: str
    subject: str
    text: str
    kind: Literal["new", "still", "over"]
    since: datetime


def due(now_wrong: Iterable[Wrong], open_: Iterable[Open], now: datetime, repeat: timedelta) -> list[Message]:
    """What to say: of each thing that is wrong once, again after `repeat`, and when it is over."""
    told = {(alert.rule, alert.subject): alert for alert in open_}
    found: dict[tuple[str, str], Message] = {}
    for wrong in now_wrong:
        key = (wrong.rule, wrong.subject)
        before = told.pop(key, None)
        if key in found:
            continue
        if before is None:
            found[key] = Message(wrong.rule, wrong.subject, wrong.text, "new", wrong.since)
        elif now - before.sent_at >= repeat:
            found[key] = Message(wrong.rule, wrong.subject, wrong.text, "still", wrong.since)
    over = [Message(rule, subject, before.text, "over", now) for (rule, subject), before in told.items() if (rule, subject) not in found]  # fmt: skip
    return [*found.values(), *over]
