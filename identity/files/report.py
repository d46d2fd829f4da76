"""What can be said of a clustering without the truth, and what with it."""

from typing import Any

import polars as pl

from cdp.scores import Scores
from cdp.texttable import table
from identity.files.resolve import Resolved

SEVERAL_NAMES = 3  # given names that share no first letter
BANDS = ((1, 1), (2, 2), (3, 5), (6, 10), (11, 20), (21, 50), (51, 10**9))


def text(done: Resolved) -> str:
    """The quality report."""
    parts = [_headline(done), _sizes(done), _links(done), _sanity(done), *(f"note: {note}" for note in done.notes)]
    return "\n\n".join(part for part in parts if part)


def against(found: Scores) -> str:
    """The metrics against the truth."""
    return (
        f"\nagainst the truth: pairwise precision {found.precision:.4f}, recall {found.recall:.4f}, F1 {found.f1:.4f}; "
        f"B-cubed {found.b_cubed:.4f}; largest cluster {found.largest} (true {found.largest_true})"
    )


def _headline(done: Resolved) -> str:
    records, customers = len(done.frame), done.frame["customer_id"].n_unique()
    line = f"{records:,} records are {customers:,} people"
    if done.model:
        facts = done.model.facts
        line += (
            f" (expected without labels: precision {facts['expected_precision']:.3f} of the pairs held likely, "
            f"{facts['expected_recall_of_candidates']:.3f} of the matches among the pairs compared)"
        )
    return line


def _sizes(done: Resolved) -> str:
    sizes = done.members.group_by("cluster").len()["len"]
    rows = []
    for low, high in BANDS:
        band = sizes.filter((sizes >= low) & (sizes <= high))
        if len(band):
            label = str(low) if low == high else f"{low}–{high}" if high < 10**9 else f"over {low - 1}"
            rows.append((label, len(band), int(band.sum()), _bar(int(band.sum()), len(done.frame))))
    return table(["records a person", "people", "records", ""], rows)


def _bar(part: int, whole: int) -> str:
    return "█" * round(30 * part / max(whole, 1)) or "▏"


def link_shares(done: Resolved) -> dict[str, int]:
    """Pairs within people by what joins them: an identifier, alike enough values, or only others in between."""
    cluster = dict(done.members.group_by("node").agg(pl.col("cluster").min()).iter_rows())
    inside = done.pairs.with_columns(
        a=pl.col("l").replace_strict(cluster, return_dtype=pl.Int64, default=-1),
        b=pl.col("r").replace_strict(cluster, return_dtype=pl.Int64, default=-2),
        likely=pl.col("weight") >= (done.model.threshold if done.model else 0.0),
    ).filter(pl.col("a") == pl.col("b"))
    counted = done.members.group_by("cluster", "node").len()
    per_node = dict(counted.group_by("node").agg(pl.col("len").sum()).iter_rows())
    weighted = inside.with_columns(
        n=pl.col("l").replace_strict(per_node, return_dtype=pl.Int64)
        * pl.col("r").replace_strict(per_node, return_dtype=pl.Int64)
    )
    sizes = counted.group_by("cluster").agg(pl.col("len").sum())["len"]
    every = int((sizes * (sizes - 1) // 2).sum())
    identical = int((counted["len"] * (counted["len"] - 1) // 2).sum())
    exact = int(weighted.filter("exact")["n"].sum() or 0) if done.model else every - identical
    likely = int(weighted.filter(~pl.col("exact") & pl.col("likely"))["n"].sum() or 0)
    return {
        "identical values": identical,
        "an identifier in common": exact,
        "alike enough (probabilistic)": likely,
        "only through others (transitive)": max(every - identical - exact - likely, 0),
    }


def _links(done: Resolved) -> str:
    shares = link_shares(done)
    every = max(sum(shares.values()), 1)
    return table(["pairs within people", "pairs", "share"], [(k, v, f"{v / every:.1%}") for k, v in shares.items()])


def _sanity(done: Resolved) -> str:
    """Signs of over-joining that need no truth, with the rows to look at."""
    members = pl.concat([done.members, done.people], how="horizontal")
    checks: list[tuple[str, int, str, str]] = []
    for column, label in (
        ("first", "given names that start differently"),
        ("birth_year", "birth years"),
        ("national_id", "national ids"),
    ):
        if column in members.columns:
            value = pl.col(column).str.slice(0, 1) if column == "first" else pl.col(column)
            found = (
                members.group_by("cluster")
                .agg(value.drop_nulls().n_unique().alias("n"), pl.col("row_no").first())
                .filter(pl.col("n") >= SEVERAL_NAMES)
            )
            people = max(members["cluster"].n_unique(), 1)
            rows: list[Any] = found.sort("n", "row_no", descending=[True, False])["row_no"].head(3).to_list()
            shown = ", ".join(str(done.frame["record_id"][int(row)]) for row in rows)
            checks.append(
                (f"people with {SEVERAL_NAMES} or more {label}", len(found), f"{len(found) / people:.3%}", shown)
            )
    return table(["sign of over-joining", "people", "share", "look at"], checks) if checks else ""
