"""Sales and tickets that a till or a help desk posts: rows as their files hold them, each under an id of what it says. Pure."""

import hashlib
import json
from collections.abc import Iterable, Mapping
from typing import Any

Row = tuple[str, str]


def sale_rows(sales: Iterable[Mapping[str, Any]]) -> list[Row]:
    """(message id, text) of each receipt line; the receipt's own values stand on every line, as in a till's file.

    The same line posted again has the same id; one that says something else under the same receipt and number is another
    row, which the contract then judges as it would in a file.
    """
    rows = []
    for sale in sales:
        head = {name: value for name, value in sale.items() if name != "lines" and value is not None}
        for line in sale["lines"]:
            said = head | {name: value for name, value in line.items() if value is not None}
            rows.append(_named(f"sale:{sale['transaction_id']}:{line['line_no']}", said))
    return rows


def ticket_rows(tickets: Iterable[Mapping[str, Any]]) -> list[Row]:
    """(message id, text) of each ticket as it is now; a later `updated_at` is another row."""
    return [_named(f"ticket:{ticket['id']}:{ticket['updated_at']}", dict(ticket)) for ticket in tickets]


def _named(name: str, said: dict[str, Any]) -> Row:
    text = json.dumps(said, ensure_ascii=True, separators=(",", ":"), sort_keys=True)
    return f"{name}:{hashlib.sha256(text.encode()).hexdigest()[:16]}"[-200:], text
