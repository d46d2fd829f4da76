"""New rows of one source through the pipeline's own steps, in an engine that holds nothing else."""

import graphlib
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

import duckdb
import polars as pl

from cdp.consent import recorded, tables
from cdp.consent.policy import Policy
from cdp.identity_rules import IdentityRules
from cdp.inbox import as_file
from cdp.lake.build import build_table, fingerprint, sql_file, sql_tables
from cdp.lake.engine import Lake
from cdp.lake.register import record
from cdp.lake.tables import create_operations
from cdp.privacy.guard import take_out
from cdp.sources import stage
from cdp.sources.canonical import canonical_selects
from cdp.sources.contract import compile_contract
from cdp.sources.model import Source
from cdp.sources.read import read_batches
from cdp.standard import dictionary
from cdp.workspace import Workspace

STAGE = "standardise"
T = TypeVar("T")


class Small(Lake):
    """A lake in memory: the same tables under the same names, without files, snapshots or another writer."""

    def write(self, work: Callable[[], T], message: str) -> T:
        """Do the work."""
        return work()


@contextmanager
def small_lake() -> Iterator[Small]:
    """An empty one, for the length of the block."""
    with duckdb.connect(config={"threads": 1}) as connection:
        connection.execute("attach ':memory:' as lake; set timezone = 'UTC'; set search_path = 'memory.main,lake.main'")
        lake = Small(connection, "live")
        create_operations(lake)
        yield lake


def bring(
    lake: Lake, workspace: Workspace, sources: Sequence[Source], source: Source, texts: Sequence[str], rules: IdentityRules, policy: Policy
) -> None:  # fmt: skip
    """Bring what was sent of one source to the standardised tables (`core__contact_records`, `core__orders` …).

    Rows that break the contract, and those of people who were erased, are left to the next run, which tells them.

    Args:
        lake: An empty one.
        workspace: Whose regions and suppression list.
        sources: All of them: what a row of one means does not depend on the others, their tables are empty.
        source: Of which they are.
        texts: A row each, as it lies in the inbox.
        rules: What identifies nobody.
        policy: The purposes.
    """
    for each in sources:
        stage.create_raw_table(lake, each)
    stage.open_stage(lake, source)
    contract = compile_contract(source)
    with tempfile.NamedTemporaryFile(
        "w", suffix=f".{source.format}", encoding=source.encoding, errors="replace", newline=""
    ) as file:
        file.write(as_file(source, texts))
        file.flush()
        for batch in read_batches(Path(file.name), source):
            sound, _ = contract.apply(batch)
            stage.stage_rows(lake, source, "live", 0, "live", sound)
    take_out(lake, source, workspace)
    columns = ", ".join(f'"{name}"' for name in source.columns)
    lake.rows(
        f"insert into lake.main.{source.raw_table} by name select {columns}, _file, _line, _key, _hash, _redacted, 'live' as _run_id, "
        "now() as _landed_at from memory.main.stage_rows qualify row_number() over (partition by _key order by _line desc) = 1"
    )
    for select in canonical_selects(list(sources)):
        lake.rows(f"create table lake.main.{select.table} as {select.sql}")
        record(lake, select.table, "live")
    dictionary.build_dictionaries(lake, tuple(workspace.settings.phone_regions.split(",")), rules)
    tables.build_policy(lake, policy)
    nothing = pl.DataFrame(schema=recorded.SCHEMA).to_arrow()
    build_table(lake, recorded.TABLE, fingerprint(lake, (), "none"), lambda: nothing)
    for table in _in_order():
        query = sql_file(STAGE, table).sql
        lake.rows(f"create table lake.main.{table} as {query}", dictionary.bound(lake, query))


def _in_order() -> list[str]:
    """The standardised tables, each after those that it reads."""
    made = sql_tables(STAGE)
    graph = {table: set(sql_file(STAGE, table).inputs) & set(made) for table in made}
    return list(graphlib.TopologicalSorter(graph).static_order())
