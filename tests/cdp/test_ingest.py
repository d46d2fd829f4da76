"""Ingest: every line is accounted for, whatever a channel sends."""

import gzip
import io
import json
from datetime import UTC, datetime

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from cdp.errors import ConfigError, UnreadableFile
from cdp.sources.contract import compile_contract
from cdp.sources.ingest import ingest
from cdp.sources.model import Source
from cdp.sources.read import Batch, read_batches
from cdp.yamlfile import load_yaml
from tests.conftest import NOW

COLUMNS = {
    "id": {"required": True},
    "n": {"type": "integer"},
    "price": {"type": "decimal"},
    "at": {"type": "timestamp"},
    "local": {"type": "timestamp", "format": "%d/%m/%Y %H:%M:%S", "timezone": "Europe/London"},
    "day": {"type": "date"},
    "yes": {"type": "boolean"},
    "currency": {"matches": "^[A-Z]{3}$"},
    "kind": {"one_of": ["a", "b"]},
    "score": {"type": "integer", "minimum": 0, "maximum": 10},
}


def source(name, form="jsonl", **more):
    return Source.model_validate(
        {"source": name, "table": "rows", "format": form, "seen_at": "_landed_at", "key": ["id"], "columns": COLUMNS}
        | more
    )


@pytest.fixture
def take(platform):
    """Write files of a source and ingest them; returns the reports by file name."""

    def run(definition, files):
        folder = platform.workspace.path("landing", definition.source)
        folder.mkdir(exist_ok=True)
        for name, content in files.items():
            data = content if isinstance(content, bytes) else content.encode()
            folder.joinpath(name).write_bytes(data)
        report = ingest(platform.lake, definition, platform.workspace.path("landing"), NOW, print)
        assert all(file.reconciles for file in report.files)
        return {file.file: file for file in report.files}

    return run


def _flipped() -> bytes:
    data = bytearray(gzip.compress(b"".join(b'{"id": "%d"}\n' % n for n in range(20_000))))
    data[len(data) // 2] ^= 0xFF
    return bytes(data)


def _twins() -> bytes:
    buffer = io.BytesIO()
    pq.write_table(pa.Table.from_arrays([pa.array(["1"]), pa.array(["2"])], names=["id", "id"]), buffer)
    return buffer.getvalue()


FLIPPED, TWINS = _flipped(), _twins()


def counts(file):
    return file.lines, file.accepted, file.duplicates, file.quarantined


def reasons(platform, name):
    return platform.lake.rows(
        'select file, line, "column", "check", payload from ops__rejected_rows where source = ? order by all', [name]
    )


VECTORS = [
    ("n", ["1", "-7", "6.0", "1e3"], ["x", "1.5", "0x1"]),
    ("price", ["1.85", "0", "-3", "1e2"], ["free", "nan", "inf", "1e30"]),
    (
        "at",
        ["2026-01-01T00:00:00Z", "2026-01-01T00:00:00.123+08:00"],
        ["2026-01-01", "2026-02-30T00:00:00Z", "yesterday"],
    ),
    ("local", ["01/12/2010 08:26:07"], ["31/02/2011 10:00:00", "27/03/2011 01:30:00", "2010-12-01 08:26:07"]),
    ("day", ["2026-02-28"], ["2026-02-30", "28/02/2026"]),
    ("yes", ["Y", "no", "true", "0"], ["maybe"]),
    ("currency", ["GBP"], ["POUNDS", "gbp"]),
    ("kind", ["a"], ["teleport"]),
    ("score", ["0", "10"], ["-1", "11"]),
]


@pytest.mark.parametrize(
    ("column", "value", "sound"),
    [(c, v, s) for c, good, bad in VECTORS for vs, s in ((good, True), (bad, False)) for v in vs],
)
def test_contract_vectors(column, value, sound):
    definition = source("vectors")
    batch = Batch(list(COLUMNS))
    batch.add(1, "payload", ["x" if name == "id" else value if name == column else None for name in COLUMNS])
    accepted, rejected = compile_contract(definition).apply(batch)
    assert (len(accepted) == 1) is sound
    assert {r.column for r in rejected} == (set() if sound else {column})


def test_a_missing_required_value_is_quarantined_with_line_column_check_and_payload(platform, take):
    files = take(
        source("missing"),
        {"a.jsonl": '{"id": "1"}\n{"n": 3}\n\n' + '{"id": "2"}\n' * 1 + '{"id": "3"}\n{"id": "4"}\n{"id": "5"}\n'},
    )
    assert counts(files["a.jsonl"]) == (6, 5, 0, 1)
    assert reasons(platform, "missing") == [("a.jsonl", 2, "id", "not_nullable", '{"n": 3}')]


def test_duplicates_within_and_across_files_and_runs(take):
    definition = source("twice")
    first = take(
        definition,
        {"a.jsonl": '{"id": "1", "n": 1}\n{"id": "1", "n": 1}\n', "b.jsonl": '{"id": "1", "n": 1}\n{"id": "2"}\n'},
    )
    assert counts(first["a.jsonl"]) == (2, 1, 1, 0)
    assert counts(first["b.jsonl"]) == (2, 1, 1, 0)
    assert take(definition, {}) == {}
    assert counts(take(definition, {"c.jsonl": '{"id": "2"}\n'})["c.jsonl"]) == (1, 0, 1, 0)


def test_the_same_key_with_other_content_is_a_conflict(platform, take):
    done = take(source("conflict", limits={"block": 1}), {"a.jsonl": '{"id": "1", "n": 1}\n{"id": "1", "n": 2}\n'})
    assert counts(done["a.jsonl"]) == (2, 1, 0, 1)
    assert reasons(platform, "conflict")[0][3] == "key_conflict"


def test_a_newer_version_is_an_update_and_the_same_version_a_duplicate(take):
    definition = source("versions", version="at")
    lines = [
        '{"id": "1", "n": 1, "at": "2026-01-01T00:00:00Z"}',
        '{"id": "1", "n": 2, "at": "2026-01-02T00:00:00Z"}',
        '{"id": "1", "n": 2, "at": "2026-01-02T00:00:00Z"}',
    ]
    assert counts(take(definition, {"a.jsonl": "\n".join(lines)})["a.jsonl"]) == (3, 2, 1, 0)


def test_without_a_key_equal_rows_are_all_accepted_and_reading_again_changes_nothing(take):
    definition = source("keyless", key=())
    files = {"a.jsonl": '{"id": "1"}\n{"id": "1"}\n'}
    assert counts(take(definition, files)["a.jsonl"]) == (2, 2, 0, 0)
    assert take(definition, files) == {}
    assert counts(take(definition, {"copy.jsonl": files["a.jsonl"]})["copy.jsonl"]) == (2, 0, 2, 0)
    grown = files["a.jsonl"] + '{"id": "1"}\n'
    assert counts(take(definition, {"a.jsonl": grown})["a.jsonl"]) == (3, 1, 2, 0)


def test_csv_with_quotes_line_breaks_and_stray_quotes(platform, take):
    text = (
        'id,n,kind\n1,1,a\n"2\nand more",2,b\n3,3,a\n4" wide,4,b\n5,5,a,extra\n"6,6,a\n7,7,b\n8,8,a\n9,9,b\n10,10,a\n'
    )
    done = take(source("quotes", "csv", limits={"block": 1}), {"a.csv": text})
    assert counts(done["a.csv"]) == (10, 8, 0, 2)
    assert [(line, check) for _, line, _, check, _ in reasons(platform, "quotes")] == [(7, "field_count"), (8, "csv")]
    assert platform.lake.rows("select id from raw_quotes__rows where n = 2") == [("2\nand more",)]


def test_gzip_and_parquet_hold_the_same_rows(platform, take):
    lines = '{"id": "1", "n": 5, "at": "2026-01-01T00:00:00Z"}\n'
    take(source("zipped"), {"a.jsonl.gz": gzip.compress(lines.encode())})
    frame = pl.DataFrame({"id": ["1"], "n": [5], "at": [datetime(2026, 1, 1, tzinfo=UTC)]})
    path = platform.workspace.path("p.parquet")
    frame.write_parquet(path)
    take(source("columnar", "parquet"), {"a.parquet": path.read_bytes()})
    query = 'select id, n, "at" from raw_{}__rows'
    assert platform.lake.rows(query.format("zipped")) == platform.lake.rows(query.format("columnar"))


@pytest.mark.parametrize(
    ("name", "form", "content", "words"),
    [
        ("flipped", "jsonl", FLIPPED, "cannot be read"),
        ("twins", "parquet", TWINS, "cannot be read"),
        ("empty", "jsonl", b"", "empty"),
        ("noheader", "csv", b"1,2,3\n4,5,6\n", "header"),
        ("renamed", "csv", b"identifier,n\n1,2\n", "column id is missing"),
        ("cutzip", "jsonl", gzip.compress(b'{"id": "1"}\n' * 5000)[:-20], "cannot be read"),
        ("notparquet", "parquet", b"PAR1 nonsense", "cannot be read"),
        ("utf16", "jsonl", '{"id": "é"}\n'.encode("utf-16"), "break the contract"),
        ("latin", "csv", b"id,n\n" + "é,1\n".encode("latin-1") * 9, "break the contract"),
    ],
)
def test_a_file_that_cannot_be_used_is_left_out_with_a_reason_and_nothing_is_lost(
    platform, take, name, form, content, words
):
    done = take(source(name, form), {"a": content})["a"]
    assert words in done.blocked
    assert "→" in done.blocked or name == "empty"
    assert done.accepted == 0
    status = platform.lake.rows("select status, reason from ops__files where source = ?", [name])
    assert status == [("blocked", done.blocked)]
    assert take(source(name, form), {}) == {}


def test_a_blocked_file_is_read_once_its_definition_is_mended(take):
    text = "id;n\n1;1\n"
    assert take(source("mended", "csv"), {"a.csv": text})["a.csv"].blocked
    assert counts(take(source("mended", "csv", delimiter=";"), {})["a.csv"]) == (1, 1, 0, 0)


def test_another_encoding_is_a_setting(take):
    done = take(source("gb", "csv", encoding="gb18030"), {"a.csv": "id,n\n郑磊华,1\n".encode("gb18030")})
    assert counts(done["a.csv"]) == (1, 1, 0, 0)


def test_too_many_bad_rows_block_the_file_and_keep_its_quarantine(platform, take):
    text = "".join(json.dumps({"id": str(n), "n": "x" if n % 3 == 0 else n}) + "\n" for n in range(30))
    done = take(source("mostly"), {"a.jsonl": text})["a.jsonl"]
    assert "10 of 30 lines" in done.blocked
    assert counts(done) == (30, 0, 0, 30)
    assert len(reasons(platform, "mostly")) == 11  # ten bad rows and the file itself
    assert platform.lake.rows("select count(*) from raw_mostly__rows") == [(0,)]


def test_an_overlong_line_is_quarantined_by_its_start_and_the_rest_is_read(platform, take):
    text = '{"id": "1"}\n{"id": "2", "pad": "' + "x" * 50_000 + '"}\n{"id": "3"}\n'
    done = take(source("long", max_line_bytes=10_000, limits={"block": 1}), {"a.jsonl": text})
    assert counts(done["a.jsonl"]) == (3, 2, 0, 1)
    found = reasons(platform, "long")
    assert found[0][1:4] == (2, None, "line_length")
    assert len(found[0][4]) <= 10_000


def test_reading_is_streamed_in_bounded_batches(tmp_path):
    path = tmp_path / "a.jsonl"
    path.write_text('{"id": "1"}\n' * 45_000, encoding="utf-8")
    sizes = [len(batch.lines) for batch in read_batches(path, source("stream"))]
    assert sizes == [20_000, 20_000, 5_000]


def test_lists_are_judged_item_by_item(platform, take):
    items = {"products": {"type": "list", "items": {"sku": {"required": True}, "price": {"type": "decimal"}}}}
    lines = [
        {"id": "1", "products": [{"sku": "A", "price": 1.5}, {"sku": "B"}]},
        {"id": "2", "products": [{"sku": "A", "price": "free"}]},
        {"id": "3", "products": "none"},
        {"id": "4"},
    ]
    done = take(
        source("lists", columns=COLUMNS | items, limits={"block": 1}), {"a.jsonl": "\n".join(map(json.dumps, lines))}
    )
    assert counts(done["a.jsonl"]) == (4, 2, 0, 2)
    assert [(line, column) for _, line, column, _, _ in reasons(platform, "lists")] == [
        (2, "products.price"),
        (3, "products"),
    ]
    stored = platform.lake.rows("select products from raw_lists__rows where id = '1'")[0][0]
    assert [(p["item_no"], p["sku"], str(p["price"])) for p in stored] == [(1, "A", "1.5000"), (2, "B", "None")]


def test_broken_yaml_is_named_by_file_line_and_expectation(tmp_path):
    path = tmp_path / "x.yaml"
    path.write_text(
        "source: x\ntable: rows\nformat: csv\nseen_at: _landed_at\nkey: [id]\ncolumns:\n  id: {type: text}\n  n: {type: numbre}\n",
        encoding="utf-8",
    )
    with pytest.raises(ConfigError, match=r"x\.yaml:8: columns\.n\.type: Input should be 'text'"):
        load_yaml(path, Source)
    path.write_text("source: [x\n", encoding="utf-8")
    with pytest.raises(ConfigError, match=r"x\.yaml:2: not valid YAML"):
        load_yaml(path, Source)
    path.write_text("on: x\n", encoding="utf-8")
    with pytest.raises(ConfigError, match="reads the key 'on' as true or false"):
        load_yaml(path, Source)


def test_no_line_break_but_lf_ends_a_csv_row_and_none_swallows_the_next(platform, take):
    text = "id,kind\n1,a\r2,b\n3,a\n4\vx,a\n5\u2028y,b\n" + "".join(f"{n},a\n" for n in range(10, 20))
    done = take(source("breaks", "csv"), {"a.csv": text})
    assert counts(done["a.csv"]) == (14, 13, 0, 1)
    assert platform.lake.rows("select id from raw_breaks__rows where id like '4%' or id like '5%' order by id") == [
        ("4\vx",),
        ("5\u2028y",),
    ]


def test_a_wide_field_is_no_damage(take):
    done = take(
        source("wide", "csv", columns=COLUMNS | {"kind": {"max_length": 500_000}}),
        {"a.csv": "id,kind\n1," + "x" * 200_000 + "\n"},
    )
    assert counts(done["a.csv"]) == (1, 1, 0, 0)


def test_long_ids_keep_their_digits_and_whole_floats_their_form(platform, take):
    take(
        source("digits"),
        {"a.jsonl": '{"id": 12345678901234567890123}\n{"id": 12345678901234567890124}\n{"id": 17850.0}\n'},
    )
    assert platform.lake.rows("select id from raw_digits__rows order by 1") == [
        ("12345678901234567890123",),
        ("12345678901234567890124",),
        ("17850",),
    ]


def test_long_numbers_inside_objects_and_deep_nesting_break_nothing(platform, take):
    deep = '{"id": "2", "kind": ' + "[" * 900 + "1234567890123456" + "]" * 900 + "}"
    lines = '{"id": "1", "kind": {"n": 123456789012345678901234}}\n' + deep + "\n"
    done = take(source("nested", columns=COLUMNS | {"kind": {}}), {"a.jsonl": lines})
    assert counts(done["a.jsonl"]) == (2, 2, 0, 0)
    assert platform.lake.rows("select kind from raw_nested__rows where id = '1'") == [
        ('{"n":123456789012345678901234}',)
    ]


def test_a_pattern_is_judged_by_the_engine_that_applies_it():
    assert source("letters", columns=COLUMNS | {"kind": {"matches": r"^\p{L}+$"}}).columns["kind"].matches
    assert source("bom", encoding="utf-8-sig").encoding == "utf-8-sig"


def test_a_key_must_be_required():
    with pytest.raises(ValueError, match="key column n must be 'required: true'"):
        source("halfkey", key=["id", "n"])


@pytest.mark.parametrize(
    "more",
    [
        {"encoding": "utf-16"},
        {"encoding": "klingon"},
        {"columns": COLUMNS | {"n": {"timezone": "Mars/Base"}}},
        {"columns": COLUMNS | {"n": {"matches": "("}}},
    ],
)
def test_what_cannot_work_is_refused_when_the_yaml_is_read(more):
    with pytest.raises(ValueError, match=r"lines|encoding|cannot be used"):
        source("wrong", **more)


def test_a_column_that_changes_its_type_is_refused_by_name(take):
    take(source("typed"), {"a.jsonl": '{"id": "1", "n": 1}\n'})
    with pytest.raises(ConfigError, match="column n is now"):
        take(source("typed", columns=COLUMNS | {"n": {"type": "decimal"}}), {"b.jsonl": '{"id": "2", "n": 1.5}\n'})


def test_the_quarantine_of_an_earlier_file_of_the_same_name_stays(platform, take):
    for number in (1, 2):
        good = "".join(f'{{"id": "{number}-{n}"}}\n' for n in range(9))
        take(source("daily"), {"export.jsonl": good + f'{{"bad": {number}}}\n'})
    assert [row[4] for row in reasons(platform, "daily")] == ['{"bad": 1}', '{"bad": 2}']
    assert platform.lake.rows(
        "select sum(lines), sum(accepted), sum(quarantined) from ops__reconciliation where source = 'daily'"
    ) == [(20, 18, 2)]


def test_a_blocked_file_is_named_by_every_run_until_it_is_mended_or_gone(platform, take):
    """A later run over nothing new must not look as if all were well again."""
    landing = platform.workspace.path("landing")

    def left_out():
        return ingest(platform.lake, source("named"), landing, NOW, print).left_out

    done = take(source("named"), {"a.jsonl": '{"x": 1}\n', "b.jsonl": '{"id": "1"}\n', "c.jsonl": '{"x": 1}\n'})
    assert left_out() == {name: done[name].blocked for name in ("a.jsonl", "c.jsonl")}
    take(source("named"), {"b.jsonl": '{"x": 2}\n'})  # one that was read, damaged by its sender
    landing.joinpath("named", "c.jsonl").unlink()
    assert set(left_out()) == {"a.jsonl", "b.jsonl"}
    take(source("named"), {"a.jsonl": '{"id": "2"}\n', "b.jsonl": '{"id": "1"}\n'})
    assert left_out() == {}


def test_a_mended_file_takes_the_place_of_the_blocked_one(platform, take):
    take(source("again"), {"a.jsonl": '{"x": 1}\n'})
    assert counts(take(source("again"), {"a.jsonl": '{"id": "1"}\n'})["a.jsonl"]) == (1, 1, 0, 0)
    assert platform.lake.rows(
        "select lines, accepted, quarantined from ops__reconciliation where source = 'again'"
    ) == [(1, 1, 0)]
    assert reasons(platform, "again") == []


def test_a_mended_file_takes_the_place_of_the_one_that_could_not_be_opened(platform, take, monkeypatch):
    """Such a file has no fingerprint: it is in the reconciliation and in the quarantine, not in the register of files."""

    def closed(path):  # root may open every file
        raise UnreadableFile("cannot be read: Permission denied", "mend the file's rights")

    with monkeypatch.context() as patch:
        patch.setattr("cdp.sources.ingest.fingerprint", closed)
        for _ in range(2):  # each run says it again, once
            take(source("opened"), {"a.jsonl": '{"id": "1"}\n'})
            assert [row[3] for row in reasons(platform, "opened")] == ["file_blocked"]
            assert platform.lake.rows("select lines from ops__reconciliation where source = 'opened'") == [(0,)]
    assert counts(take(source("opened"), {})["a.jsonl"]) == (1, 1, 0, 0)
    assert platform.lake.rows("select lines, accepted from ops__reconciliation where source = 'opened'") == [(1, 1)]
    assert reasons(platform, "opened") == []
    with monkeypatch.context() as patch:  # closed for a while, and the same again
        patch.setattr("cdp.sources.ingest.fingerprint", closed)
        take(source("opened"), {})
        assert [row[3] for row in reasons(platform, "opened")] == ["file_blocked"]
    take(source("opened"), {})
    assert platform.lake.rows("select lines, accepted from ops__reconciliation where source = 'opened'") == [(1, 1)]
    assert reasons(platform, "opened") == []
