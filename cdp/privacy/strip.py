"""What happens to a matched row: part of an order, it loses its person and stays; anything else goes."""

from cdp.lake.engine import Lake
from cdp.privacy.landing import Action
from cdp.sources.canonical import has_order, kept_columns
from cdp.sources.model import Source
from cdp.sources.stage import content_hash

STAGE = "memory.main.stage_rows"
MATCHED = "({order}, {line}) in (select (_order, _line) from memory.main.row_verdicts)"


def actions(lake: Lake, source: Source) -> dict[str, dict[int, Action]]:
    """What is to be done with the landing lines of the matched rows of the stage: file → line → action."""
    rows = lake.rows(
        f"select _file, _line, {has_order(source)} and _redacted is null from {STAGE} where {MATCHED.format(order='_order', line='_line')}"
    )
    found: dict[str, dict[int, Action]] = {}
    for file, line, ordered in rows:
        found.setdefault(file, {})[line] = "strip" if ordered else "remove"
    return found


def strip(lake: Lake, source: Source, table: str, order: str = "_order", line: str = "_line") -> None:
    """Apply `row_verdicts` to a table of the source's rows; the same once more changes nothing.

    Args:
        lake: Where.
        source: Whose rows.
        table: Staged rows or the raw table.
        order: SQL of the first number of a row in the verdicts.
        line: SQL of the second.
    """
    matched = MATCHED.format(order=order, line=line)
    lake.rows(f"delete from {table} where {matched} and not {has_order(source)}")
    kept = kept_columns(source)
    nothing = ", ".join(f'"{name}" = null' for name in source.columns if name not in kept)
    lake.rows(f"update {table} set _redacted = true{', ' + nothing if nothing else ''} where {matched}")
    lake.rows(f"update {table} set _hash = {content_hash(source)} where _redacted and {matched}")
