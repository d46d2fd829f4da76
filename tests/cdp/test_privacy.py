"""The parts of erasure one by one: the list, the redaction of files, what a stripped row keeps, backups."""

import gzip
import json
import threading
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta

import duckdb
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from cdp.backup import BackupError, check
from cdp.errors import Busy
from cdp.privacy import landing, purge
from cdp.privacy.people import People, finder
from cdp.privacy.suppression import HASH, Suppression
from cdp.retention import Kept, Retention
from cdp.settings import Settings
from cdp.sources.canonical import kept_columns
from cdp.sources.load import load_sources
from cdp.sources.model import Source
from cdp.sources.read import read_batches
from cdp.store.connect import connect, owner_address
from cdp.workspace import Workspace, create

T0 = datetime(2026, 1, 1, tzinfo=UTC)
COLUMNS = {
    "id": {"required": True}, "email": {"pii": True}, "note": {}, "sku": {}, "quantity": {"type": "integer"}, "price": {"type": "decimal"},
    "at": {"type": "timestamp", "required": True},
}  # fmt: skip
ORDERS = {
    "key": "id",
    "at": "at",
    "currency": "'GBP'",
    "line": "1",
    "sku": "sku",
    "quantity": "quantity",
    "unit_price": "price",
}


def source(kind, **more):
    return Source.model_validate(
        {"source": "shop", "table": "rows", "format": kind, "key": ["id"], "seen_at": "at", "columns": COLUMNS, "orders": ORDERS,
         "parties": {"buyer": {"kind": "buyer", "key": "email", "fields": {"email": "email"}}}, **more}
    )  # fmt: skip


@pytest.fixture
def suppression(tmp_path):
    return Suppression(create(Settings(home=tmp_path / "home")))


def test_the_hash_is_the_same_in_sql(suppression):
    inner, outer = suppression.pads
    with duckdb.connect() as engine:
        query = f"select {HASH.format(text='$text')}"
        found = engine.execute(query, {"inner": inner, "outer": outer, "text": "email|安娜@例.org"}).fetchall()
    assert found == [(suppression.hash("email", "安娜@例.org"),)]


def test_the_list_only_grows_and_the_newest_entry_stands(suppression):
    assert suppression.add([("email", "a@x.org", True), ("card", "1", False)], T0) == 2
    assert suppression.add([("email", "a@x.org", True)], T0) == 0, "the same again is not written"
    entry = suppression.entries()[suppression.hash("email", "a@x.org")]
    assert entry.shared
    assert suppression.add([("email", "a@x.org", False)], T0 + timedelta(days=1)) == 1, (
        "the spouse is erased too: now it stands alone"
    )
    assert not suppression.entries()[entry.hash].shared
    assert suppression.lift([entry.hash, "unknown"], T0 + timedelta(days=2)) == 1
    assert entry.hash not in suppression.entries()
    assert suppression.add([("email", "a@x.org", False)], T0 + timedelta(days=3)) == 1, "erased again after coming back"
    text = suppression.workspace.path("privacy", "suppressed.jsonl").read_text(encoding="utf-8")
    assert "a@x.org" not in text
    assert len(text.splitlines()) == 5


def test_no_personal_column_of_a_shipped_source_stays_when_a_row_loses_its_person():
    for shipped in load_sources(Workspace(Settings(home="/nonexistent"))):
        kept = kept_columns(shipped)
        assert not [name for name in kept if shipped.columns[name].pii]
        if shipped.orders:
            assert {"user_id", "anonymous_id", "loyalty_card"}.isdisjoint(kept)
            assert set(shipped.key) <= kept


ROWS = [
    {"id": "1", "email": "ann@x.org", "note": "hello", "sku": "A", "quantity": 1, "price": 2.5, "at": "2026-01-01T00:00:00Z", "extra": {"ip": "10.0.0.1"}},
    {"id": "2", "email": "bob@x.org", "note": "two\nlines", "sku": "B", "quantity": 2, "price": 1, "at": "2026-01-02T00:00:00Z"},
    {"id": "3", "email": "ann@x.org", "note": "three,\n\"quoted\"\nlines", "sku": "C", "quantity": 3, "price": 1, "at": "2026-01-03T00:00:00Z"},
    {"id": "4", "email": "ann@x.org", "note": "last", "sku": "", "quantity": None, "price": None, "at": "2026-01-04T00:00:00Z"},
]  # fmt: skip


def write_jsonl(path):
    path.write_bytes(gzip.compress(b"".join(json.dumps(row).encode() + b"\n" for row in ROWS)))
    return {1: "strip", 3: "strip", 4: "remove"}


def write_csv(path):
    frame = pl.DataFrame([{k: v for k, v in row.items() if k != "extra"} for row in ROWS])
    frame.write_csv(path)
    return {2: "strip", 5: "strip", 8: "remove"}  # the header is line 1, records span 1, 2, 3 and 1 lines


def write_parquet(path):
    rows = [{**{k: v for k, v in row.items() if k != "extra"}, "price": float(row["price"] or 0)} for row in ROWS]
    schema = pa.schema([pa.field("id", pa.string(), nullable=False), ("email", pa.string()), ("note", pa.string()), ("sku", pa.string()),
                        ("quantity", pa.int64()), ("price", pa.float64()), ("at", pa.string())])  # fmt: skip
    pq.write_table(pa.Table.from_pylist(rows, schema=schema), path, row_group_size=2)
    return {1: "strip", 3: "strip", 4: "remove"}


@pytest.mark.parametrize(("kind", "write"), [("jsonl", write_jsonl), ("csv", write_csv), ("parquet", write_parquet)])
def test_a_file_is_redacted_in_place_and_reads_as_before(tmp_path, kind, write):
    path = tmp_path / f"rows.{kind}"
    actions, shop = write(path), source(kind)
    before = [batch for batch in read_batches(path, shop) if batch.lines]
    lines = [line for batch in before for line in batch.lines]
    landing.rewrite(path, shop, actions)
    after = list(read_batches(path, shop))
    assert [line for batch in after for line in batch.lines] == lines[:3], "lines keep their numbers"
    assert sum(batch.erased for batch in after) == 1
    assert not [r for batch in after for r in batch.rejected]
    values = {name: [v for batch in after for v in batch.columns[name]] for name in shop.columns}
    assert values["email"] == [None, "bob@x.org", None]
    assert values["note"][0] is None
    assert values["note"][2] is None
    assert values["sku"] == ["A", "B", "C"]
    raw = path.read_bytes()
    content = gzip.decompress(raw) if raw[:2] == b"\x1f\x8b" else raw
    assert b"ann@x.org" not in content
    assert b"10.0.0.1" not in content, "nor what no contract names"
    landing.rewrite(path, shop, actions)
    assert [line for batch in read_batches(path, shop) for line in batch.lines] == lines[:3], (
        "the same once more changes nothing"
    )


@pytest.mark.parametrize(
    ("text", "theirs"),
    [
        ('{"email": "Ann.Lee+shop@gmail.com", broken', True), ("call 07700 900 123 now", True), ("+44 (0)7700-900123", True),
        ("card 6226178853", True), ("card 62261788530", False), ("Lee, Ann; AB1 2CD", True), ("Ann Lee, no postcode", False),
        ("bob@example.org", False), ("李安 100-0001", False),
    ],
)  # fmt: skip
def test_a_line_that_is_no_sound_row_is_known_in_any_writing(text, theirs):
    who = People(
        [], alone={"annlee@gmail.com", "+447700900123", "6226178853"}, named={frozenset(("ann", "lee", "ab12cd"))}
    )
    assert finder(who, ("GB", "CN"))(text) is theirs


def test_a_timeline_ends_where_the_shortest_retention_does():
    rules = Retention(version="1", sources={"web": Kept(visits=30), "service": Kept(rows=90)})
    assert rules.timeline_ends(T0) == T0 - timedelta(days=30)
    assert Retention(version="1").timeline_ends(T0) is None


def test_a_damaged_or_absent_backup_is_refused(tmp_path):
    with pytest.raises(BackupError, match="holds no whole backup"):
        check(tmp_path)
    (tmp_path / "database.dump").write_bytes(b"x")
    (tmp_path / "manifest.json").write_text(
        json.dumps({"format": "cdp-backup-1", "made_at": T0.isoformat(), "files": {"database.dump": "0"}})
    )
    with pytest.raises(BackupError, match=r"database\.dump of the backup is missing or damaged"):
        check(tmp_path)


def test_rows_that_an_open_transaction_still_sees_are_waited_for(workspace):
    """An older snapshot (a long read, the server's own statistics) makes the server keep what was deleted since."""
    marker = "nobody-7d1f@example.org"
    with deleted_row(workspace, marker) as reader:
        ending = threading.Timer(2, reader.rollback)
        ending.start()
        assert purge.rewrite_store(workspace) == ""
        ending.join()
        assert not naming(workspace, marker)


@contextmanager
def deleted_row(workspace, marker):
    """A row that was deleted while somebody can still see it."""
    with connect(owner_address(workspace)) as store, connect(owner_address(workspace)) as reader:
        store.execute("create table probe (value text)")
        store.execute("insert into probe values (%s)", [marker])
        reader.execute("begin isolation level repeatable read")
        reader.execute("select 1")  # takes the snapshot and locks nothing
        store.execute("delete from probe")
        try:
            yield reader
        finally:
            reader.rollback()
            store.execute("drop table probe")


def naming(workspace, marker):
    """Files of the server with these bytes."""
    with connect(owner_address(workspace)) as store:
        store.execute("checkpoint")
    files = (path for path in workspace.path("pg").rglob("*") if path.is_file())
    return [path for path in files if marker.encode() in path.read_bytes()]


@pytest.mark.long
def test_dead_rows_that_the_server_had_to_keep_are_removed_in_another_try(workspace, monkeypatch):
    """Whoever was not seen to wait for: the server's own count of what it kept decides."""
    marker = "nobody-81be@example.org"
    monkeypatch.setattr(purge, "_wait_for_older", lambda store: None)
    with deleted_row(workspace, marker) as reader:
        monkeypatch.setattr(purge.time, "sleep", lambda seconds: None)
        assert purge.rewrite_store(workspace) == purge.YOUNG
        assert naming(workspace, marker)
        monkeypatch.setattr(purge.time, "sleep", lambda seconds: reader.rollback())
        assert purge.rewrite_store(workspace) == ""
        assert not naming(workspace, marker)


def test_statistics_of_a_table_that_was_emptied_keep_nothing(workspace):
    """`analyze` leaves the samples of an empty table as they were."""
    marker = "nobody-5c20@example.org"
    with connect(owner_address(workspace)) as store:
        store.execute("create table probe (value text)")
        store.execute("insert into probe select %s || n %% 3 from generate_series(1, 300) as n", [marker])
        store.execute("analyze probe")
        store.execute("delete from probe")
        assert store.execute("select 1 from pg_stats where tablename = 'probe'").fetchall()
        purge.rewrite_store(workspace)
        kept = naming(workspace, marker)
        store.execute("drop table probe")
    assert not kept


def test_a_transaction_that_does_not_end_is_named_and_the_erasure_stays_open(workspace, monkeypatch):
    monkeypatch.setattr(purge, "PATIENCE", 0.5)
    with connect(owner_address(workspace)) as store, connect(owner_address(workspace)) as reader:
        reader.execute("begin isolation level repeatable read")
        reader.execute("select 1")
        store.execute("select pg_current_xact_id()")
        with pytest.raises(Busy, match=str(reader.info.backend_pid)):
            purge.rewrite_store(workspace)
