"""Model cards: what a model learned from, how it did on data it never saw, and when not to trust it."""

import hashlib
import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass, field
from datetime import datetime
from typing import Any

import polars as pl

from cdp.lake import build
from cdp.lake.engine import Lake
from cdp.lake.register import recorded

COLUMNS: dict[str, Any] = {
    "model": pl.String,
    "version": pl.String,
    "made_at": pl.Datetime("us", "UTC"),
    "is_trusted": pl.Boolean,
    "card": pl.String,
}
KEPT = "select model, version, made_at, is_trusted, card from {} order by model"


@dataclass(frozen=True)
class Card:
    """A model card.

    Attributes:
        model: Its name.
        data: What it learned from, and on what it was measured.
        method: How, with the source of the formula.
        holdout: Figures on the newest data, which it had not seen.
        parameters: What was fitted.
        doubts: Why not to trust it; trusted where there is none.
        limits: When not to trust it, whatever the figures say.
        curve: (predicted, observed, customers) of the holdout, to be drawn.
    """

    model: str
    data: str
    method: str
    holdout: Mapping[str, float | int | str | None] = field(default_factory=dict)
    parameters: Mapping[str, Any] = field(default_factory=dict)
    doubts: tuple[str, ...] = ()
    limits: str = ""
    curve: tuple[tuple[float, float, int], ...] = ()

    @property
    def is_trusted(self) -> bool:
        """Whether its figures on the holdout allow to act on it."""
        return not self.doubts

    @property
    def version(self) -> str:
        """Short hash of all that the card says: the same data and code give the same version."""
        return hashlib.sha256(self.text.encode()).hexdigest()[:12]

    @property
    def text(self) -> str:
        """As JSON."""
        return json.dumps(
            {**asdict(self), "is_trusted": self.is_trusted}, sort_keys=True, ensure_ascii=False, default=_plain
        )

    def markdown(self) -> str:
        """As a page for people."""
        state = "**Trusted.**" if self.is_trusted else "**Do not trust it:** " + "; ".join(self.doubts) + "."
        rows = "\n".join(f"| {name} | {_shown(value)} |" for name, value in self.holdout.items())
        fitted = ", ".join(f"{name} {_shown(value)}" for name, value in self.parameters.items())
        return (
            f"{state}\n\n*Data:* {self.data}\n\n*Method:* {self.method}\n\n| on the holdout | |\n|---|---|\n{rows}\n\n"
            f"*Fitted:* {fitted or 'nothing'}\n\n*Not for:* {self.limits}\n\n*Version:* {self.version}"
        )


def _plain(value: Any) -> Any:
    return value.item() if hasattr(value, "item") else str(value)


def _shown(value: Any) -> str:
    return f"{value:,.4g}" if isinstance(value, float) else f"{value:,}" if isinstance(value, int) else str(value)


def frame(cards: Iterable[Card], now: datetime) -> pl.DataFrame:
    """Cards as rows."""
    rows = [(card.model, card.version, now, card.is_trusted, card.text) for card in cards]
    return pl.DataFrame(rows, schema=COLUMNS, orient="row")


def build_with_card(
    lake: Lake, table: str, card_table: str, inputs: tuple[str, ...], now: datetime, make: Callable[[], tuple[Card, pl.DataFrame]], code: str
) -> build.Built:  # fmt: skip
    """Build a table and the card of its model out of one learning; either alone is not made."""
    mark = build.fingerprint(lake, inputs, code)
    if recorded(lake, table) == mark == recorded(lake, card_table):
        return build.Built(table, build.rows(lake, table), changed=False)
    card, rows = make()
    build.build_table(lake, card_table, mark, frame([card], now).to_arrow)
    return build.build_table(lake, table, mark, rows.to_arrow)
