"""DuckDB over the DuckLake: one in-memory engine a process, the catalog in Postgres, Parquet files below.

One lake-using thread a process (duckdb-postgres #577); every write is a transaction that carries the run's
id; a connection is rolled back before it closes, because closing with an open transaction after the database
went away aborts the process.
"""

import contextlib
import importlib.util
import json
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import duckdb

from cdp.errors import LakeError, StoreUnavailable
from cdp.store.connect import LAKE_SCHEMA, lake_address
from cdp.workspace import Workspace

EXTENSIONS = ("ducklake", "postgres_scanner", "httpfs")
CONFLICT_RETRIES = 5
T = TypeVar("T")


class Lake:
    """A connection to the lake.

    Bare names read temporary tables first (what this run has made of small tables, see `cdp.lake.held`), then the lake;
    only full names (`lake.main.x`) write it; unqualified `create` lands in memory.

    Args:
        connection: The DuckDB connection with the lake attached.
        run_id: Written into the message of every snapshot this connection makes.
        folder: Where its files lie; None where it has none.
    """

    def __init__(self, connection: duckdb.DuckDBPyConnection, run_id: str, folder: Path | None = None) -> None:
        self.connection = connection
        self.run_id = run_id
        self.folder = folder
        self.at_work: tuple[float, str] | None = None  # while something is made: since when (monotonic), and on what
        self.named: Callable[[], str] = str  # what is being worked on now, as whoever opened the lake calls it
        self.register: Any = None  # what cdp.lake.register has read; forgotten with every failed transaction
        self.told: Any = None  # what cdp.lake.delta has read; likewise
        self._answers: dict[str, list[tuple[Any, ...]]] = {}  # of `remembered`, until the next transaction

    def rows(self, query: str, parameters: dict[str, Any] | Sequence[Any] | None = None) -> list[tuple[Any, ...]]:
        """All rows of a query (an unread DuckDB result would own the connection)."""
        return self.connection.execute(query, parameters).fetchall()

    def records(self, query: str, parameters: dict[str, Any] | Sequence[Any] | None = None) -> list[dict[str, Any]]:
        """All rows of a query as dictionaries by column name."""
        cursor = self.connection.execute(query, parameters)
        names = [column[0] for column in cursor.description or []]
        return [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]

    def scalar(self, query: str, parameters: dict[str, Any] | Sequence[Any] | None = None) -> Any:
        """The first value of the first row, or None."""
        found = self.rows(query, parameters)
        return found[0][0] if found else None

    def remembered(self, query: str) -> list[tuple[Any, ...]]:
        """All rows of a query that several steps ask; asked once between two transactions of this connection."""
        if query not in self._answers:
            self._answers[query] = self.rows(query)
        return self._answers[query]

    def tables(self) -> set[str]:
        """The names of the lake's tables."""
        # duckdb_tables() asks the catalog for the size of every table: ten times the cost
        return {row[0] for row in self.remembered("select distinct table_name from duckdb_columns() where database_name = 'lake'")}  # fmt: skip

    def forget(self) -> None:
        """Ask again whatever was read: somebody changed it by other ways than the modules that keep it."""
        self.register, self.told, self._answers = None, None, {}

    def exists(self, table: str) -> bool:
        """Whether the lake holds this table."""
        return table in self.tables()

    def write(self, work: Callable[[], T], message: str) -> T:
        """Run `work` as one transaction; repeat it when another writer was faster.

        Raises:
            LakeError: If the disk is full or the files cannot be written; the last snapshot stands.
        """
        for attempt in range(CONFLICT_RETRIES):
            self._answers = {}
            try:
                self.connection.begin()
                # catalogs commit in the reverse order of their first use: were temporary tables not the first, a commit
                # that fails in the lake would leave in memory what it was about to write
                self.connection.execute("drop table if exists temp.main.nothing")
                result = work()
                note = json.dumps({"run_id": self.run_id})
                self.connection.execute(
                    "call lake.set_commit_message('cdp', ?, extra_info => ?)",
                    [f"run {self.run_id}: {message}", note],
                )
                self.connection.commit()
                self._answers = {}
                return result
            except duckdb.TransactionException:
                self.roll_back()
                if attempt == CONFLICT_RETRIES - 1:
                    raise
                time.sleep(0.1 * 2**attempt)
            except (duckdb.IOException, OSError) as error:
                self.roll_back()
                raise LakeError(
                    f"the lake could not be written: {_first_line(error)}",
                    "free disk space or mend the folder's rights, then run again; the last snapshot is untouched",
                ) from error
            except BaseException:
                self.roll_back()
                raise
        raise AssertionError("unreachable")

    @contextmanager
    def busy(self) -> Iterator[float]:
        """While the block works the lake knows since when and on what, and gives since when: whoever waits is told."""
        outer, began = self.at_work, time.monotonic()
        self.at_work = (began, self.named())
        try:
            yield began
        finally:
            self.at_work = outer

    @contextmanager
    def memory(self, limit: str) -> Iterator[None]:
        """Give the engine no more than this much memory for the length of the block; it spills the rest."""
        before = self.scalar("select current_setting('memory_limit')")
        self.connection.execute("set memory_limit = ?", [limit])
        try:
            yield
        finally:
            self.connection.execute("set memory_limit = ?", [before])

    def drop(self, *tables: str) -> None:
        """Take tables of this connection out of memory, where they are."""
        for table in tables:
            self.connection.execute(f"drop table if exists temp.main.{table}")

    def roll_back(self) -> None:
        """Leave any open transaction; never raises, because it runs on the way out of an error."""
        self.forget()
        with contextlib.suppress(duckdb.Error):
            self.connection.rollback()

    def written(self, table: str, since: float) -> int:
        """Bytes of a table's files that were made since then (seconds of the epoch); the catalog would have to be read again for it."""
        files = self.folder.joinpath("main", table).glob("*.parquet") if self.folder else ()
        return sum(size.st_size for size in map(Path.stat, files) if size.st_mtime >= since)

    def snapshot(self) -> int:
        """The newest snapshot of the lake."""
        return int(self.scalar("select max(snapshot_id) from lake.snapshots()"))


@contextmanager
def open_lake(
    workspace: Workspace,
    *,
    run_id: str = "none",
    snapshot: int | None = None,
    read_only: bool = False,
    memory_limit: str | None = None,
) -> Iterator[Lake]:
    """Open the lake for the length of the block.

    Args:
        workspace: Whose lake.
        run_id: The run on whose behalf it is written.
        snapshot: Read this snapshot (read-only) instead of the newest.
        read_only: Refuse every write, and every file outside the lake.
        memory_limit: DuckDB's memory before it spills; the settings' value by default.

    Raises:
        StoreUnavailable: If the catalog's database cannot be reached.
    """
    connection = _engine(workspace, memory_limit)
    lake = Lake(connection, run_id, workspace.path("lake"))
    try:
        _attach(connection, workspace, snapshot, read_only=read_only)
        yield lake
    finally:
        lake.roll_back()
        connection.close()


def create_lake(workspace: Workspace) -> None:
    """Make the catalog's tables and fix the options that must hold from the first file on."""
    with open_lake(workspace, run_id="init") as lake:
        # Inlined rows lose quotes inside structs, crash on dates (ducklake #1435) and are not encrypted.
        lake.rows("call lake.set_option('data_inlining_row_limit', 0)")


def load_extensions(connection: duckdb.DuckDBPyConnection) -> None:
    """Load the bundled extensions (signature checked by DuckDB); fall back to the network where one is missing."""
    for name in EXTENSIONS:
        spec = importlib.util.find_spec(f"duckdb_extension_{name}")
        folder = Path(spec.submodule_search_locations[0]) if spec and spec.submodule_search_locations else None
        path = folder / "extensions" / f"v{duckdb.__version__}" / f"{name}.duckdb_extension" if folder else None
        if path is not None and path.exists():
            connection.load_extension(str(path))
        else:
            connection.install_extension(name)
            connection.load_extension(name)


def _engine(workspace: Workspace, memory_limit: str | None) -> duckdb.DuckDBPyConnection:
    settings = workspace.settings
    connection = duckdb.connect(
        config={
            "memory_limit": memory_limit or settings.memory_limit,
            "threads": settings.threads,
            "temp_directory": str(workspace.path("spill")),
            "allow_persistent_secrets": False,
            "preserve_insertion_order": False,
        }
    )
    connection.execute("set temp_file_encryption = true")
    connection.execute("set timezone = 'UTC'")
    connection.execute("set enable_progress_bar = false")
    load_extensions(connection)
    return connection


def _attach(
    connection: duckdb.DuckDBPyConnection, workspace: Workspace, snapshot: int | None, *, read_only: bool
) -> None:
    fields = lake_address(workspace).fields
    # A secret, not a connection string: a string shows its password in errors and in duckdb_databases().
    pairs = ", ".join(
        f"{name} {_quote(fields[key])}"
        for name, key in (
            ("host", "host"),
            ("port", "port"),
            ("database", "dbname"),
            ("user", "user"),
            ("password", "password"),
        )
        if key in fields
    )
    connection.execute(f"create or replace temporary secret pg (type postgres, {pairs})")
    options = ["meta_secret 'pg'", f"metadata_schema '{LAKE_SCHEMA}'", "override_data_path true"]
    options.append(f"data_path {_quote(str(workspace.path('lake')) + '/')}")
    if workspace.encrypted:
        options.append("encrypted")
    if read_only:
        options.append("read_only")
    if snapshot is not None:
        options.append(f"snapshot_version {int(snapshot)}")
    try:
        connection.execute(f"attach 'ducklake:postgres:' as lake ({', '.join(options)})")
    except duckdb.Error as error:
        raise StoreUnavailable(
            f"the lake's catalog cannot be opened: {_first_line(error)}", "run 'cdp doctor'"
        ) from error
    connection.execute("set search_path = 'memory.main,lake.main'")
    if read_only:
        connection.execute(f"set allowed_directories = [{_quote(str(workspace.path('lake')))}]")
        connection.execute("set enable_external_access = false")
        connection.execute("set lock_configuration = true")


def _quote(value: str) -> str:
    return "'" + value.replace("'", "''") + "'"


def _first_line(error: BaseException) -> str:
    return str(error).strip().splitlines()[0][:300]
