"""The transparency report: requests, deadlines kept, disclosures, reveals, by month, from what was sealed."""

from datetime import datetime

import polars as pl
import psycopg

from cdp.lake import build
from cdp.lake.engine import Lake
from cdp.privacy import trail
from cdp.store import audit, requests
from cdp.workspace import Workspace

TABLE = "mart__transparency"
SCHEMA = {"month": pl.String, "measure": pl.String, "count": pl.Int64}


def build_transparency(
    lake: Lake, store: psycopg.Connection, workspace: Workspace, now: datetime
) -> tuple[build.Built, str]:
    """`mart__transparency(month, measure, count)`, and the same as a page.

    The log is sealed and verified first; a page that rests on a log that is not whole says so.
    """
    trail.seal(workspace, store, now)
    wrong = trail.verify(workspace, store)
    rows = [*requests.by_month(store), *audit.by_month(store)]
    mark = build.fingerprint(lake, (), rows, "transparency 1")
    frame = pl.DataFrame(rows, schema=SCHEMA, orient="row").sort("month", "measure")
    built = build.build_table(lake, TABLE, mark, frame.to_arrow)
    return built, _page(frame, wrong)


def _page(frame: pl.DataFrame, wrong: list[str]) -> str:
    """Markdown: a table with a column for each measure, newest month first."""
    whole = "The audit log is whole." if not wrong else "**The audit log is not whole:** " + "; ".join(wrong)
    if frame.is_empty():
        return f"{whole}\n\nNo request, disclosure or reveal yet."
    wide = (
        frame.pivot("measure", index="month", values="count", sort_columns=True)
        .fill_null(0)
        .sort("month", descending=True)
    )
    head = "| " + " | ".join(wide.columns) + " |\n|" + "---|" * len(wide.columns)
    return "\n".join([whole, "", head, *("| " + " | ".join(map(str, row)) + " |" for row in wide.iter_rows())])
