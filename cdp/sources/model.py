"""What a source is: a YAML file that says where its data lies, what a sound row is, and what it means.

`columns` is the contract. `parties`, `links`, `orders`, `interactions` and `consents` say what a row means in
canonical terms; their values are SQL expressions over the contract's columns, so a new channel needs no code.
"""

import codecs
from enum import StrEnum
from typing import Annotated, Literal, Self
from zoneinfo import ZoneInfo

import polars as pl
from pydantic import AfterValidator, Field, model_validator

from cdp.strict import NAME, Strict

Expression = str


class ColumnType(StrEnum):
    """Types of the contract."""

    TEXT = "text"
    INTEGER = "integer"
    DECIMAL = "decimal"
    BOOLEAN = "boolean"
    TIMESTAMP = "timestamp"
    DATE = "date"
    LIST = "list"
    FLAGS = "flags"  # a JSON object of name → value, kept as a list of (name, value)


class Column(Strict):
    """One column of the contract.

    Attributes:
        path: The header of a table file or the dotted path in a JSON object; by default the column's name.
        format: strptime format of a date or timestamp; RFC 3339 where absent.
        timezone: IANA zone of a timestamp that states none.
        items: Columns of each element of a list.
    """

    path: str | None = None
    type: ColumnType = ColumnType.TEXT
    required: bool = False
    one_of: tuple[str, ...] | None = None
    matches: str | None = None
    minimum: float | None = None
    maximum: float | None = None
    max_length: int = 10_000
    format: str | None = None
    timezone: str = "UTC"
    items: dict[str, "Column"] | None = None
    pii: bool = False
    description: str = ""

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        try:
            ZoneInfo(self.timezone)
            pl.Series([""]).str.contains(self.matches or "")  # the engine that will apply it judges it
        except (ValueError, KeyError, OSError, pl.exceptions.PolarsError) as error:
            raise ValueError(f"timezone or matches cannot be used: {error}") from error
        if (self.type is ColumnType.LIST) != bool(self.items):
            raise ValueError("'items' is required for type list, and only there")
        return self


class Party(Strict):
    """A contact record that a row names: one party as one source knows it.

    Attributes:
        kind: Second part of `record_id = <source>:<kind>:<key>`.
        key: Expression of the third part; a null key names nobody.
        source: First part, where the row speaks of another source's party (a card seen in an enrolment).
        taken_back: Condition on a row that says nothing any more; it is still this party's row, for whoever erases the person.
        identifier: What the key itself is (account, card, browser, device), if it identifies the party.
        fields: Canonical field → expression.
    """

    kind: str = Field(pattern=NAME)
    key: Expression
    source: str | None = None
    when: Expression | None = None
    taken_back: Expression = "false"
    identifier: Literal["account", "card", "browser", "device"] | None = None
    one_per_person: bool = False
    fields: dict[
        Literal[
            "given_name",
            "family_name",
            "full_name",
            "birth_date",
            "email",
            "phone",
            "postal_code",
            "city",
            "country",
            "language",
            "wechat_openid",
            "wechat_unionid",
        ],
        Expression,
    ] = Field(default_factory=dict)


class Link(Strict):
    """Two parties of one row that belong together, with the kind of evidence."""

    type: Literal["login", "card_enrolled", "order_browser"]
    left: str
    right: str


class Orders(Strict):
    """How rows become orders with lines: a row is one line, or carries a list column with the lines."""

    when: Expression | None = None
    key: Expression
    at: Expression
    currency: Expression
    owner: tuple[str, ...] = ()
    original: Expression | None = None
    points_redeemed: Expression | None = None
    refund: Expression = "false"
    lines: str | None = None
    line: Expression
    sku: Expression
    name: Expression = "null"
    quantity: Expression
    unit_price: Expression
    discount: Expression = "0"


class Interaction(Strict):
    """A touch that is not an order: a visit, a ticket, a review."""

    kind: Expression
    key: Expression
    at: Expression
    party: tuple[str, ...]
    when: Expression | None = None
    order: Expression | None = None
    details: dict[str, Expression] = Field(default_factory=dict)


class Consent(Strict):
    """A decision about a purpose. `flags` names a flags column (purpose → yes or no); else purpose and status.

    Attributes:
        captured_at: When the person acted; null where the source does not know, which makes a grant the weakest evidence.
        basis: The lawful basis.
        separate_consent: The kind of separate consent it was asked for as (PIPL).
        explicit: False for what a form had filled in already.
        evidence: What proves it: a form's id, a page, a till.
    """

    party: tuple[str, ...]
    when: Expression | None = None
    flags: str | None = None
    purpose: Expression | None = None
    status: Expression | None = None
    captured_at: Expression
    received_at: Expression
    method: Expression
    notice_version: Expression = "null"
    email: Expression = "null"
    phone: Expression = "null"
    basis: Expression = "'consent'"
    jurisdiction: Expression = "null"
    expires_at: Expression = "null"
    confirmed_at: Expression = "null"
    separate_consent: Expression = "null"
    explicit: Expression = "true"
    evidence: Expression = "null"

    @model_validator(mode="after")
    def _one_form(self) -> Self:
        if (self.flags is None) == (self.purpose is None or self.status is None):
            raise ValueError("give either 'flags', or both 'purpose' and 'status'")
        return self


class Opening(Strict):
    """Points that somebody had before: each record's first row posts once, ever."""

    party: tuple[str, ...]
    points: Expression
    at: Expression
    when: Expression | None = None


def _line_based(encoding: str) -> str:
    """Lines are split as bytes, so an encoding must keep the line feed for itself, as all but UTF-16 and UTF-32 do."""
    try:
        if "\n".encode(encoding).removeprefix(codecs.BOM_UTF8) != b"\n":
            raise ValueError(f"{encoding} cannot be split into lines; convert the file to UTF-8")
    except LookupError as error:
        raise ValueError(f"{encoding} is no encoding; expected utf-8, gb18030, latin-1 …") from error
    return encoding


class Limits(Strict):
    """Shares of quarantined rows: above `warn` the contract check warns, above `block` the file is left out."""

    warn: float = Field(default=0.02, ge=0, le=1)
    block: float = Field(default=0.20, ge=0, le=1)


class Source(Strict):
    """One source. `source` must equal the file's name and the folder under `landing/`.

    Attributes:
        seen_at: Expression of the time at which a row's parties were seen.
        key: Columns that identify a row; empty where the source has none (then file and line do).
        version: Column whose later value makes a row an update of the same key.
    """

    source: str = Field(pattern=NAME)
    table: str = Field(pattern=NAME)
    description: str = ""
    format: Literal["csv", "jsonl", "parquet"]
    encoding: Annotated[str, AfterValidator(_line_based)] = "utf-8"
    delimiter: str = Field(default=",", min_length=1, max_length=1)
    max_line_bytes: int = Field(default=4_000_000, ge=1_000, le=16_000_000)
    key: tuple[str, ...] = ()
    version: str | None = None
    limits: Limits = Limits()
    seen_at: Expression
    columns: dict[str, Column]
    parties: dict[str, Party] = Field(default_factory=dict)
    links: tuple[Link, ...] = ()
    orders: Orders | None = None
    interactions: tuple[Interaction, ...] = ()
    consents: tuple[Consent, ...] = ()
    openings: Opening | None = None

    @property
    def raw_table(self) -> str:
        """The lake table that holds the accepted rows."""
        return f"raw_{self.source}__{self.table}"

    @model_validator(mode="after")
    def _references(self) -> Self:
        known = set(self.columns)
        for name in (*self.key, *([self.version] if self.version else [])):
            if name not in known:
                raise ValueError(f"key or version names '{name}', which is not among the columns")
        if optional := [name for name in self.key if not self.columns[name].required]:
            raise ValueError(
                f"key column {', '.join(optional)} must be 'required: true': a row without its key has none"
            )
        used = [side for link in self.links for side in (link.left, link.right)]
        used += [name for touch in self.interactions for name in touch.party]
        used += [name for consent in self.consents for name in consent.party]
        used += list(self.orders.owner) if self.orders else []
        used += list(self.openings.party) if self.openings else []
        if missing := sorted(set(used) - set(self.parties)):
            raise ValueError(f"unknown party {', '.join(missing)}: expected one of {', '.join(self.parties) or 'none'}")
        return self
