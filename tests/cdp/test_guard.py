"""Erased people at ingest: their rows stay out, their lines leave the files that bring them back, and the sums hold."""

import gzip
import json
from datetime import timedelta

import pytest

from cdp.lake.engine import open_lake
from cdp.privacy.guard import guard
from cdp.privacy.suppression import Suppression
from cdp.sources.ingest import ingest
from cdp.sources.model import Source
from tests.conftest import NOW, opened

COLUMNS = {"id": {"required": True}, "email": {"pii": True}, "sku": {}, "quantity": {"type": "integer"}, "price": {"type": "decimal"},
           "sold_at": {"type": "timestamp", "required": True}}  # fmt: skip
ORDERS = {"key": "id", "at": "sold_at", "currency": "'GBP'", "line": "1", "sku": "sku", "quantity": "quantity", "unit_price": "price", "when": "sku is not null"}  # fmt: skip
GONE, STAYS = "gone@example.org", "stays@example.org"


def source(name, *, key):
    buyer = {"kind": "buyer", "key": "email", "fields": {"email": "email"}}
    return Source.model_validate(
        {"source": name, "table": "rows", "format": "jsonl", "seen_at": "sold_at", "columns": COLUMNS, "orders": ORDERS, "parties": {"buyer": buyer},
         "limits": {"block": 0.5}, **({"key": ["id"]} if key else {})}
    )  # fmt: skip


def line(number, email, **more):
    row = {"id": str(number), "email": email, "sku": "A", "quantity": 1, "price": 2, "sold_at": "2026-01-01T00:00:00Z"}
    return json.dumps({**row, **more}) + "\n"


FILE = line(1, GONE) + line(2, STAYS) + line(3, GONE, sku=None, quantity=None, price=None) + line(4, GONE, sold_at="soon") + line(5, STAYS, sold_at="soon")  # fmt: skip


@pytest.fixture(scope="module")
def erased(workspace):
    Suppression(workspace).add([("email", GONE, False)], NOW - timedelta(days=1))
    return workspace


def take(workspace, definition, files, *, checked=True):
    folder = workspace.path("landing", definition.source)
    folder.mkdir(exist_ok=True)
    for name, content in files.items():
        folder.joinpath(name).write_bytes(gzip.compress(content.encode(), mtime=0))
    with opened(workspace) as found:
        check = guard(workspace, NOW) if checked else None
        report = ingest(found.lake, definition, workspace.path("landing"), NOW, print, check)
    assert not report.unreconciled
    assert all(file.reconciles for file in report.files)
    return {file.file: file for file in report.files}


def text(workspace, definition, name):
    return gzip.decompress(workspace.path("landing", definition.source, name).read_bytes()).decode()


def rows(workspace, definition):
    with open_lake(workspace, read_only=True) as lake:
        return lake.rows(f"select id, email from {definition.raw_table} order by id")


KEPT = [("1", None), ("2", STAYS)]


@pytest.mark.parametrize("key", [True, False])
def test_what_names_an_erased_person_stays_out_and_leaves_its_file(erased, key):
    shop = source(f"shop_{key}".lower(), key=key)
    done = take(erased, shop, {"a.jsonl.gz": FILE})["a.jsonl.gz"]
    assert (done.lines, done.accepted, done.suppressed, done.quarantined) == (5, 2, 2, 1)
    assert rows(erased, shop) == KEPT, "an order stays without its person"
    assert GONE not in text(erased, shop, "a.jsonl.gz")
    assert STAYS in text(erased, shop, "a.jsonl.gz")
    with open_lake(erased, read_only=True) as lake:
        payloads = lake.rows("select payload from ops__rejected_rows where source = ?", [shop.source])
    assert GONE not in str(payloads)
    assert take(erased, shop, {}) == {}, "a redacted file is the one that was read"

    copied = take(erased, shop, {"copy.jsonl.gz": FILE})["copy.jsonl.gz"]
    assert (copied.accepted, copied.duplicates, copied.suppressed, copied.quarantined) == (0, 2, 2, 1)
    assert GONE not in text(erased, shop, "copy.jsonl.gz")

    assert take(erased, shop, {"a.jsonl.gz": FILE}) == {}, "put back over the redacted file"
    assert GONE not in text(erased, shop, "a.jsonl.gz")
    assert rows(erased, shop) == KEPT


@pytest.mark.parametrize("moment", ["redacted", "counted"])
def test_a_crash_between_file_and_lake_counts_nothing_twice(erased, monkeypatch, moment):
    shop = source(f"crash_{moment}", key=False)

    def dies(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("cdp.sources.ingest._commit" if moment == "counted" else "cdp.sources.stage.judge", dies)
        with pytest.raises(KeyboardInterrupt):
            take(erased, shop, {"a.jsonl.gz": FILE})
    done = take(erased, shop, {})["a.jsonl.gz"]
    assert (done.lines, done.accepted, done.suppressed, done.quarantined) == (5, 2, 2, 1)
    assert rows(erased, shop) == KEPT


def test_a_file_that_is_left_out_loses_them_too(erased):
    shop = source("broken", key=True)
    content = FILE + line(6, STAYS, sold_at="soon") * 4
    done = take(erased, shop, {"a.jsonl.gz": content})["a.jsonl.gz"]
    assert done.blocked
    assert GONE not in text(erased, shop, "a.jsonl.gz")
    assert take(erased, shop, {}) == {}, "and is not tried again until it changes"
    folder = erased.path("landing", "broken")
    folder.joinpath("cut.jsonl.gz").write_bytes(gzip.compress(FILE.encode() * 900)[:-9])
    assert "cut.jsonl.gz" in take(erased, shop, {}), "a damaged archive is named, not rewritten"


def test_every_line_of_an_erased_persons_order_names_nobody_also_once_it_was_redacted(erased):
    """A redacted line read again would name a guest of its order; the order itself is on the list."""
    from cdp.sources.canonical import canonical_selects

    shop = source("guests", key=True)
    guest = {"kind": "order", "key": "id", "when": "email is null", "fields": {}}
    shop = Source.model_validate(
        {**shop.model_dump(exclude_unset=True), "parties": {**shop.model_dump()["parties"], "guest": guest}}
    )
    Suppression(erased).add([("order", "guests:1", False)], NOW - timedelta(days=1))
    take(erased, shop, {"a.jsonl.gz": line(1, None) + line(2, None)})
    mentions = next(select for select in canonical_selects([shop]) if select.table == "core__party_mentions")
    with open_lake(erased, read_only=True) as lake:
        assert {row[0] for row in lake.rows(f"select record_id from ({mentions.sql})")} == {"guests:order:2"}
