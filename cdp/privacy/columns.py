"""Which columns of the lake are about a person, and how a few rows look to somebody who only operates the pipeline."""

from collections.abc import Mapping
from datetime import date, datetime
from typing import Any

from cdp import mask
from cdp.lake.engine import Lake
from cdp.lake.register import FIRST, entries
from cdp.sources.model import Column

NAMED = frozenset(
    ["email", "phone", "given_name", "family_name", "full_name", "birth_date", "postal_code", "city", "email_user", "email_local",
     "given_key", "family_key", "full_key", "source_key", "record_id", "raw", "raw_given", "raw_family", "raw_full", "value", "payload",
     "subject", "words", "first", "root", "family", "birth_full", "birth_year", "left_id", "right_id", "key"]
)  # fmt: skip
# text that is a code, not somebody's: everything else is masked, whatever a source calls it
CODES = frozenset(
    ["source", "kind", "type", "currency", "purpose", "channel", "status", "basis", "reason", "jurisdiction", "rule", "check", "column",
     "unit", "programme", "measure", "level", "vintage", "sku", "comparison", "country", "language", "verdict", "method", "customer_id",
     "household_id", "programme_version", "reward", "model_version", "version", "field"]
)  # fmt: skip


def personal(lake: Lake, declared: Mapping[str, Mapping[str, Column]], table: str) -> frozenset[str]:
    """Columns of a table that are personal: declared in a contract, named like it, or made of such a column.

    Args:
        lake: Knows what each column was made of.
        declared: Raw table → its contract's columns.
        table: The table.
    """
    built = entries(lake)
    known: dict[tuple[str, str], bool] = {}

    def is_personal(name: str, column: str) -> bool:
        if (name, column) not in known:
            known[name, column] = False  # a column that is made of itself says nothing new
            contract = declared.get(name, {}).get(column)
            made_of = built[name].lineage.get(column, []) if name in built and column not in CODES else []
            known[name, column] = column in NAMED or bool(contract and contract.pii) or any(is_personal(*pair) for pair in made_of)  # fmt: skip
        return known[name, column]

    own = declared.get(table, {})
    texts = [name for name, kind in built[table].columns if kind.upper().startswith("VARCHAR") or name in NAMED or (name in own and own[name].pii)]  # fmt: skip
    return frozenset(name for name in texts if is_personal(table, name))


def sample(lake: Lake, table: str, pii: frozenset[str] = frozenset()) -> list[dict[str, str]]:
    """A few rows with everything masked that is personal, or not a code, a number or a time."""
    first = entries(lake)[table].first
    rows = lake.records(f"select * from {table} limit {FIRST}") if first is None else first
    return [{name: "•••" if name in pii and value is not None else shown(name, value) for name, value in row.items()} for row in rows]  # fmt: skip


def shown(name: str, value: Any) -> str:
    """One value of a preview."""
    if value is None:
        return "∅"
    if isinstance(value, bool | int | float) and name not in NAMED:
        return str(value)
    if isinstance(value, datetime):
        return value.isoformat(timespec="seconds")
    if isinstance(value, date):
        return "•••" if name in NAMED else value.isoformat()
    if isinstance(value, str):
        return value if name in CODES else mask.text(value) or ""
    return str(value) if value.__class__.__name__ in ("Decimal", "UUID") else "•••"
