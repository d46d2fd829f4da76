"""Dagster's SQLite event log with its connections kept, and what it has found to be there: opened and asked anew for each event
they cost a third of a run over nothing new.

Overrides private methods of Dagster 1.13; `tests/assets/test_storage.py` holds it to the log that Dagster itself reads.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from dagster import AssetKey, EventLogRecord
from dagster._core.storage.event_log.sqlite.sqlite_event_log import SqliteEventLogStorage
from dagster._serdes import ConfigurableClassData
from sqlalchemy import Connection, Engine, create_engine, event

MOST_OPEN = 20  # logs of runs whose connections are kept


class PooledEventLog(SqliteEventLogStorage):  # type: ignore[misc]
    """The event log under `DAGSTER_HOME/history/runs`, as Dagster lays it out."""

    def __init__(self, base_dir: str, inst_data: ConfigurableClassData | None = None) -> None:
        self._engines: dict[str, Engine] = {}
        self._there: set[str] = set()  # tables and columns; none is ever taken away
        # asset → what is kept of it, and that unpacked
        self._unpacked: dict[AssetKey, tuple[Any, EventLogRecord | None]] = {}
        super().__init__(base_dir, inst_data)

    @classmethod
    def config_type(cls) -> dict[str, Any]:
        """The folder of the logs, as Dagster's own has it."""
        return {"base_dir": str}

    @classmethod
    def from_config_value(
        cls, inst_data: ConfigurableClassData | None, config_value: dict[str, Any]
    ) -> "PooledEventLog":
        """Made by Dagster out of dagster.yaml."""
        return cls(config_value["base_dir"], inst_data)

    def has_table(self, table_name: str) -> bool:
        """Whether the index has this table."""
        ask = super().has_table
        return self._found(table_name, lambda: ask(table_name))

    def _has_asset_key_col_on_connection(self, conn: Connection, column_name: str) -> bool:
        ask = super()._has_asset_key_col_on_connection
        return self._found(f"asset_keys.{column_name}", lambda: ask(conn, column_name))

    def _found(self, name: str, ask: Callable[[], bool]) -> bool:
        if name not in self._there and ask():
            self._there.add(name)
        return name in self._there

    def _get_latest_materialization_records(
        self, raw_asset_rows: Iterable[Mapping[str, Any]]
    ) -> Mapping[AssetKey, EventLogRecord | None]:
        # each step asks for all that it stands on: what ten steps stand on is unpacked once
        rows = {AssetKey.from_db_string(row["asset_key"]): row for row in raw_asset_rows}
        kept = {asset: (row["last_materialization"], row["asset_details"]) for asset, row in rows.items()}
        had = {asset: self._unpacked.get(asset) for asset in rows}  # once: another thread may bring a newer one
        known = {asset: pair[1] for asset, pair in had.items() if pair and pair[0] == kept[asset]}
        new = [row for asset, row in rows.items() if asset not in known]
        read = super()._get_latest_materialization_records(new) if new else {}
        self._unpacked |= {asset: (kept[asset], record) for asset, record in read.items()}
        return known | read

    @contextmanager
    def _connect(self, shard: str) -> Iterator[Connection]:
        with self._db_lock:
            engine = self._engines.get(shard) or self._open(shard)
            if shard not in self._initialized_dbs:
                self._initdb(engine)
                self._initialized_dbs.add(shard)
        # not under the lock: connecting may ask for the lock of `logging`, whose holder may be about to store an event
        with engine.connect() as connection, connection.begin():
            yield connection

    def _open(self, shard: str) -> Engine:
        if len(self._engines) >= MOST_OPEN:
            self._engines.pop(next(iter(self._engines))).dispose()
        engine = create_engine(
            self.conn_string_for_shard(shard), connect_args={"timeout": 60, "check_same_thread": False}
        )
        # with a write-ahead log this loses nothing when a process dies; a power cut may lose the last events, never the log
        event.listen(engine, "connect", lambda raw, _: raw.execute("pragma synchronous=normal"))
        self._engines[shard] = engine
        return engine

    def dispose(self) -> None:
        """Close every connection."""
        for engine in self._engines.values():
            engine.dispose()
        self._engines.clear()
        super().dispose()
