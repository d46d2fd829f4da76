"""Who is who in one file: map, read, train, score, cluster. Nothing is kept but the answer."""

import itertools
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import duckdb
import numpy as np
import polars as pl

from cdp.errors import ConfigError
from cdp.identity_rules import IdentityRules
from identity import blocking, fields, informed, scoring, train
from identity.artefact import Model
from identity.files import guard
from identity.files import mapping as mappings
from identity.files import people as reading
from identity.files.read import as_written, read
from identity.split import LIKELY, Ints, Pairs, components, probability, split

NAMESPACE = uuid.UUID("6f1c9a52-31d5-5b0e-9a55-0d7f0c6f7f10")
MOSTLY = 0.8  # share of a field's values that is read where its column is what it seems
SURE = 20.0  # match weight, log2, of what is joined without a model


@dataclass
class Resolved:
    """The outcome of linking a file.

    Attributes:
        frame: The file's own columns with `record_id` and `customer_id` before them.
        mapping: Which column was read as what.
        model: The model; None where the records teach nothing.
        pairs: Scored pairs of payloads, `l`, `r`, `weight`, `exact` (an e-mail, phone or id in common).
        members: `row_no`, `node` (payload), `cluster`.
        notes: What a person should know.
        truth: The column of the truth, row by row, where there is one.
    """

    frame: pl.DataFrame
    mapping: mappings.Mapping
    model: Model | None
    pairs: pl.DataFrame
    members: pl.DataFrame
    people: pl.DataFrame
    notes: list[str] = field(default_factory=list)
    truth: pl.Series | None = None


def resolve(
    path: Path,
    rules: IdentityRules,
    *,
    regions: tuple[str, ...],
    id_column: str | None = None,
    chosen: mappings.Mapping | None = None,
    truth: str | None = None,
    memory_limit: str = "4GB",
    threads: int = 2,
    log: Callable[[str], None] = lambda _: None,
) -> Resolved:
    """Link the records of a CSV or Parquet file.

    Args:
        path: The file.
        rules: Values that identify nobody, and how many names make a value generic.
        regions: Countries in which to read a bare phone number.
        id_column: Column that identifies a row; by default the usual name for one, else the row's number.
        chosen: Which column says what; guessed where absent.
        truth: A column that must not be read.
        memory_limit: DuckDB's memory before it spills.
        threads: DuckDB's threads.
        log: Told the progress.

    Raises:
        ConfigError: If too few columns say something about a person, or the ids are not unique.
        UnreadableFile: If the file cannot be read.
    """
    frame, uneven = read(path)
    notes = [f"{uneven:,} rows have too few or too many fields"] if uneven else []
    if truth is not None and truth not in frame.columns:
        raise ConfigError(f"the file has no column {truth}", f"its columns are: {', '.join(frame.columns)}")
    filled = {column.name: len(column) - column.null_count() for column in frame}
    mapping = chosen or mappings.guess(frame.columns, [truth] if truth else [], filled)
    mapping.check([name for name in frame.columns if name != truth])
    ids = _ids(frame, id_column, mapping.id, notes)
    log(f"{len(frame):,} rows; reading " + ", ".join(f"{f} from {'+'.join(c)}" for f, c in mapping.used.items()))
    known = {mapping.id, id_column, truth, *itertools.chain(*mapping.used.values())}
    if others := [name for name in frame.columns if name not in known]:
        log("not read: " + ", ".join(others[:20]) + (f" and {len(others) - 20} more" if len(others) > 20 else ""))
    people = reading.people(frame, mapping, regions, rules)
    notes += _unread(frame, mapping, people)
    if not people.width:
        raise ConfigError(
            f"{', '.join(mapping.used)} alone tell nobody apart", "map a name, a date of birth or a contact point"
        )
    # Row numbers follow the content, so that neither shuffled rows nor renamed ids change a tie.
    with duckdb.connect(
        config={"memory_limit": memory_limit, "threads": threads, "preserve_insertion_order": True}
    ) as connection:
        connection.register("people_read", people.with_row_index("row_no").to_arrow())
        nodes = _nodes(connection, people.columns, rules, notes)
        log(f"{nodes:,} distinct sets of values; learning what each field is worth")
        model = train.train(connection, "nodes", usual=True)
        if model is None:
            notes.append(
                "these columns are too few or too alike to learn from: only records that say the same, or have a name and a "
                "contact point in common, were joined"
            )
            pairs = _agreeing(connection, people.columns, nodes)
            weak, apart = _unsaid(connection, people.columns), guard.NONE
        else:
            if informed.SESSION in model.facts["sessions"]:
                notes.append(
                    "these records teach little: what they do not show was taken from what is usual in files of people"
                )
            log(f"learnt from {', '.join(model.facts['sessions'])}; prior 1 in {1 / model.prior:,.0f}")
            made = blocking.create_pairs(connection, model.plan, "nodes")
            log(f"scoring {made:,} candidate pairs")
            pairs, weak, apart = _scored(connection, model)
            if (
                nodes < train.FEWEST_RECORDS
            ):  # too few to show how rare a value is: what a name and an address say holds all the same
                sure = pl.concat([pairs, _agreeing(connection, people.columns, nodes)])
                pairs = sure.group_by("l", "r").agg(pl.col("weight").max(), pl.col("exact").any()).sort("l", "r")
                weak = np.intersect1d(weak, _unsaid(connection, people.columns))
        members = pl.DataFrame(connection.execute("select row_no, node from node_of order by row_no").to_arrow_table())
        log("clustering")
        members = members.with_columns(cluster=_clusters(members, _joined(nodes, pairs, apart, model), weak))
    named = _named(members, ids)
    out = _beside(as_written(path, frame), ids, named)
    told = frame[truth].alias("truth") if truth is not None else None
    return Resolved(out, mapping, model, pairs, members, people, notes, told)


def _ids(frame: pl.DataFrame, asked: str | None, guessed: str | None, notes: list[str]) -> pl.Series:
    if asked is not None and asked not in frame.columns:
        raise ConfigError(f"the file has no column {asked}", f"its columns are: {', '.join(frame.columns)}")
    column = asked or guessed
    if column is not None:
        unique = frame[column].null_count() == 0 and frame[column].n_unique() == len(frame)
        if unique:
            return frame[column].alias("record_id")
        if asked is not None:
            raise ConfigError(
                f"column {column} does not identify a row: it repeats or is empty", "name another with --id"
            )
        notes.append(f"column {column} repeats or is empty; rows are identified by their number")
    return pl.Series("record_id", [str(n) for n in range(1, len(frame) + 1)], dtype=pl.String)


def _unread(frame: pl.DataFrame, mapping: mappings.Mapping, people: pl.DataFrame) -> list[str]:
    """What a person should know of fields much of which could not be read."""
    notes = []
    for name in ("birth_date", "phone", "email"):
        columns = mapping.used.get(name, ())
        if columns:
            said = frame.select(pl.any_horizontal(pl.col(columns).is_not_null()).sum()).item()
            read = int(people[name].count()) if name in people.columns else 0
            if read < MOSTLY * said:
                notes.append(
                    f"only {read:,} of {said:,} values of {', '.join(columns)} could be read as a {name.replace('_', ' ')}"
                )
    return notes


def _nodes(connection: duckdb.DuckDBPyConnection, columns: list[str], rules: IdentityRules, notes: list[str]) -> int:
    """`nodes(node, …)`, the distinct sets of values in the order of their content, and `node_of(at, node)`."""
    named = [c for c in fields.COLUMNS if c in columns]
    everything = ", ".join(named)
    connection.execute("create or replace table cleaned as from people_read")
    if "words" in named:
        for column in (c for c in fields.OWN if c in named):
            found = connection.execute(
                f"select {column} from cleaned where {column} is not null group by {column} having count(distinct words) > ?",
                [rules.names],
            ).fetchall()
            if found:
                notes.append(
                    f"{len(found):,} values of {column} stand beside more than {rules.names} names: they join nobody"
                )
                also = ", email_user = null, email_local = null" if column == "email" else ""
                connection.execute(
                    f"update cleaned set {column} = null{also} where {column} in (select unnest(?))",
                    [[v for (v,) in found]],
                )
    connection.execute(
        f"create or replace table nodes as select row_number() over (order by {everything}) - 1 as node, * "
        f"from (select {everything}, count(*) as records from cleaned group by {everything}) order by node"
    )
    same = " and ".join(f"n.{c} is not distinct from p.{c}" for c in named)
    connection.execute(
        f"create or replace table node_of as select p.row_no, n.node from cleaned p join nodes n on {same}"
    )
    return int(connection.execute("select count(*) from nodes").fetchall()[0][0])


def _scored(connection: duckdb.DuckDBPyConnection, model: Model) -> tuple[pl.DataFrame, np.ndarray, pl.DataFrame]:
    """Scored pairs, the payloads of several records that do not say enough to be one person's, and pairs to keep apart."""
    scoring.score(connection, model, "nodes", "candidate_pairs", "scored", scoring.KEPT)
    apart = guard.drop(connection, [row[0] for row in connection.execute("describe nodes").fetchall()])
    present = [c for c in fields.OWN if c in model.columns]
    same = " or ".join(f"coalesce(a.{c} = b.{c}, false)" for c in present) or "false"
    pairs = connection.execute(
        f"select l, r, weight, {same} as exact from scored join nodes a on a.node = l join nodes b on b.node = r order by l, r"
    ).to_arrow_table()
    connection.execute(
        "create or replace temp table itself as select node as l, node as r from nodes where records > 1"
    )
    scoring.score(connection, model, "nodes", "itself", "worth", -100.0)
    weak = connection.execute("select l from worth where weight < ? order by l", [model.threshold]).fetchall()
    return pl.DataFrame(pairs), np.array([node for (node,) in weak], dtype=np.int64), apart


def _agreeing(connection: duckdb.DuckDBPyConnection, columns: list[str], size: int) -> pl.DataFrame:
    """Without a model: payloads that a shared identifier and the whole name connect, each with the first of its person.

    Where several dates of birth are so connected, only those of one date are joined: one without may be anybody's.
    """
    none = pl.DataFrame(schema={"l": pl.Int64, "r": pl.Int64, "weight": pl.Float64, "exact": pl.Boolean})
    star = "select min(node) over (partition by {0}, words) as l, node as r from nodes where {0} is not null and first is not null"
    kinds = [column for column in fields.OWN if column in columns and "words" in columns]
    if not kinds:
        return none
    shared = connection.execute(" union ".join(star.format(kind) for kind in kinds)).to_arrow_table()
    connected = components(size, *(shared.column(side).to_numpy().astype(np.int64) for side in ("l", "r")))
    connection.register("connected", pl.DataFrame({"node": np.arange(size), "part": connected}).to_arrow())
    one = "max({0}) over same is not distinct from min({0}) over same"
    born = f"case when {one.format('birth_full')} and {one.format('birth_year')} then '' else coalesce(birth_full, birth_year) end"
    query = f"""
        select min(node) over (partition by part, born) as l, node as r, {SURE} as weight, true as exact from (
            select node, part, {born if "birth_full" in columns else "''"} as born from nodes join connected using (node)
            window same as (partition by part)
        ) where born is not null qualify l < r order by l, r
    """
    return pl.DataFrame(connection.execute(query).to_arrow_table()).cast(none.schema)


def _unsaid(connection: duckdb.DuckDBPyConnection, columns: list[str]) -> np.ndarray:
    """Payloads that are nobody's without a model: no identifier, and no full name with a fact beside it."""
    known = [f"{c} is not null" for c in fields.OWN if c in columns]
    beside = [f"{c} is not null" for c in ("birth_date", "postal_code", "street", "city") if c in columns]
    if {"first", "family"} <= set(columns) and beside:
        known.append(f"(first is not null and family is not null and ({' or '.join(beside)}))")
    found = connection.execute(
        f"select node from nodes where not ({' or '.join(known) or 'false'}) order by node"
    ).fetchall()
    return np.array([node for (node,) in found], dtype=np.int64)


def _joined(size: int, pairs: pl.DataFrame, apart: pl.DataFrame, model: Model | None) -> Ints:
    """The person of every payload. What was joined without a model is never split: nobody compared the rest."""
    (left, right), cannot = (
        [frame[side].to_numpy().astype(np.int64) for side in ("l", "r")] for frame in (pairs, apart)
    )
    if model is None:
        return components(size, left, right)
    likely = Pairs(left, right, probability(pairs["weight"].to_numpy()))
    return split(size, likely, (cannot[0], cannot[1]), likely=LIKELY)


def _clusters(members: pl.DataFrame, found: Ints, weak: np.ndarray) -> pl.Series:
    """Cluster of every row: payloads are joined by their pairs; records of a payload that says too little stay alone."""
    node = members["node"].to_numpy()
    label = found[node]
    alone = np.isin(node, weak)
    repeated = alone & members.select(pl.col("row_no").cum_count().over("node") > 1).to_series().to_numpy()
    label[repeated] = found.max() + 1 + np.arange(int(repeated.sum()))
    return pl.Series("cluster", label)


def _named(members: pl.DataFrame, ids: pl.Series) -> pl.Series:
    """A UUID for every cluster, made of its smallest record id: the same file gives the same ids, in any order."""
    frame = members.with_columns(ids.alias("record_id"), rank=ids.cast(pl.Int64, strict=False).fill_null(0))
    first = frame.sort("rank", "record_id").group_by("cluster").agg(pl.col("record_id").first().alias("first"))
    names = {c: str(uuid.uuid5(NAMESPACE, f)) for c, f in first.iter_rows()}
    return pl.Series("customer_id", [names[c] for c in members["cluster"].to_list()], dtype=pl.String)


def _beside(frame: pl.DataFrame, ids: pl.Series, named: pl.Series) -> pl.DataFrame:
    """Ids before the file's own columns; an own column of the same name is kept under another."""
    same = "record_id" in frame.columns and frame["record_id"].cast(pl.String, strict=False).equals(ids)
    own = frame.drop("record_id") if same else frame
    renamed = {}
    for name in {"record_id", "customer_id"} & set(own.columns):
        again = (f"{name}_original{number or ''}" for number in itertools.count())
        renamed[name] = next(free for free in again if free not in own.columns)
    return pl.concat([pl.DataFrame([ids, named]), own.rename(renamed)], how="horizontal")
