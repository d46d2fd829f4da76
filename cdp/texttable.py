"""Plain tables for people: columns line up, numbers to the right, Chinese characters take two columns."""

import unicodedata
from collections.abc import Sequence


def table(headers: list[str], rows: Sequence[tuple[object, ...]]) -> str:
    """A plain table whose columns line up; numbers to the right."""
    cells = [headers, *[[_cell(value) for value in row] for row in rows]]
    widths = [max(_width(row[at]) for row in cells) for at in range(len(headers))]
    numeric = [
        bool(rows) and all(isinstance(row[at], int | float) or row[at] is None for row in rows)
        for at in range(len(headers))
    ]
    lines = []
    for row in cells:
        padded = [
            " " * (width - _width(text)) + text if right else text + " " * (width - _width(text))
            for text, width, right in zip(row, widths, numeric, strict=True)
        ]
        lines.append("  ".join(padded).rstrip())
    lines.insert(1, "  ".join("─" * width for width in widths))
    return "\n".join(lines)


def _cell(value: object) -> str:
    if value is None:
        return ""
    return f"{value:,}" if isinstance(value, int) and not isinstance(value, bool) else str(value)


def _width(text: str) -> int:
    """Columns on a terminal: Chinese characters take two."""
    return sum(2 if unicodedata.east_asian_width(letter) in "WF" else 1 for letter in text)
