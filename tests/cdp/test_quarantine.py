"""Rejected lines: corrected by rule or by hand, previewed, read again, and all of them accounted for."""

import io
import json
from datetime import timedelta

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from cdp.checks.quarantine import replays
from cdp.errors import ConfigError
from cdp.quarantine import replay, rows
from cdp.quarantine.rules import Rule, Rules
from cdp.sources.ingest import ingest
from cdp.sources.load import load_sources
from cdp.yamlfile import load_yaml
from tests.cdp.test_ingest import source
from tests.conftest import NOW, cdp, opened


def table(names, lines):
    out = io.BytesIO()
    pq.write_table(pa.table({n: pa.array([line.get(n) for line in lines], pa.string()) for n in names}), out)
    return out.getvalue()


LINES = [
    {"id": "1", "n": "7", "currency": "GBP"}, {"id": "2", "n": "many", "currency": "GBP"}, {"id": "3", "n": "5", "currency": "pound"},
    {"id": "4", "n": "many", "currency": "pound"}, {"id": "5", "n": "none", "currency": "GBP"},
]  # fmt: skip
FILES = {
    "csv": "id,n,currency\n" + "".join(f"{r['id']},{r['n']},{r['currency']}\n" for r in LINES),
    "jsonl": "".join(json.dumps(r | {"more": {"kept": "这里"}}, ensure_ascii=False) + "\n" for r in LINES),
    "parquet": table(["id", "n", "currency"], LINES),
}
RULES = [
    Rule(column="n", check="type_integer", replace={"many": "99"}),
    Rule(column="currency", match="(p)ound", put="GBP"),
]


def read(platform, definition):
    report = ingest(platform.lake, definition, platform.workspace.path("landing"), NOW, print)
    assert all(file.reconciles for file in report.files)
    return {file.file: file for file in report.files}


@pytest.mark.parametrize("form", ["csv", "jsonl", "parquet"])
def test_rules_correct_what_was_rejected_and_the_next_run_reads_it(platform, form):
    definition = source(f"mend_{form}", form, limits={"warn": 0.5, "block": 1.0})
    folder = platform.workspace.path("landing", definition.source)
    folder.mkdir()
    data = FILES[form]
    folder.joinpath(f"a.{form}").write_bytes(data if isinstance(data, bytes) else data.encode())
    assert read(platform, definition)[f"a.{form}"].quarantined == 4
    landing, change = platform.workspace.path("landing"), replay.by_rules(definition, RULES)
    corrected = replay.correct(platform.lake, landing, definition, change)
    assert (len(corrected.lines), corrected.untouched, corrected.unreadable) == (3, 1, 0)
    before = platform.lake.rows("select * from ops__rejected_rows order by all"), sorted(folder.iterdir())
    assert replay.preview(platform.lake, corrected)["accepted"] == 3
    assert (platform.lake.rows("select * from ops__rejected_rows order by all"), sorted(folder.iterdir())) == before
    path = replay.replay(platform.lake, landing, corrected)
    assert replays(platform.lake).facts["in files that wait for a run"] == 3
    assert read(platform, definition)[path.name].accepted == 3
    found = platform.lake.rows(f"select id, n, currency from {definition.raw_table} order by id")
    assert found == [("1", 7, "GBP"), ("2", 99, "GBP"), ("3", 5, "GBP"), ("4", 99, "GBP")]
    assert [row.line for row in rows.waiting(platform.lake, definition)] == [5 + (form == "csv")]
    checked = replays(platform.lake)
    assert checked.ok
    assert checked.facts["in files that wait for a run"] == 0
    with pytest.raises(replay.NothingToCorrect):
        replay.correct(platform.lake, landing, definition, change)


def test_a_file_of_which_much_waits_is_warned_of_by_later_runs_too_until_it_is_read_again_or_is_old(platform):
    definition = source("waits", "csv", limits={"warn": 0.5, "block": 1.0})
    folder = platform.workspace.path("landing", "waits")
    folder.mkdir(parents=True)
    folder.joinpath("much.csv").write_bytes(FILES["csv"].encode())
    folder.joinpath("little.csv").write_bytes(b"id,n,currency\n10,1,GBP\n11,1,GBP\n12,x,GBP\n")
    read(platform, definition)
    assert read(platform, definition) == {}
    assert rows.over_limit(platform.lake, definition, NOW) == ["much.csv"]
    assert rows.over_limit(platform.lake, source("other", "csv"), NOW) == []
    assert rows.over_limit(platform.lake, definition, NOW + timedelta(days=31)) == []
    landing = platform.workspace.path("landing")
    replay.replay(
        platform.lake, landing, replay.correct(platform.lake, landing, definition, replay.by_rules(definition, RULES))
    )
    read(platform, definition)
    assert rows.over_limit(platform.lake, definition, NOW) == []


def test_a_line_that_is_lost_on_the_way_back_is_found(platform):
    definition = source("lost", limits={"warn": 0.5, "block": 1.0})
    folder = platform.workspace.path("landing", "lost")
    folder.mkdir()
    folder.joinpath("a.jsonl").write_text(FILES["jsonl"])
    read(platform, definition)
    corrected = replay.correct(
        platform.lake, platform.workspace.path("landing"), definition, replay.by_rules(definition, RULES)
    )
    path = replay.replay(platform.lake, platform.workspace.path("landing"), corrected)
    path.write_text("".join(path.read_text().splitlines(keepends=True)[1:]))
    read(platform, definition)
    found = replays(platform.lake)
    assert not found.ok
    assert [(row["lines"], row["came"]) for row in found.rows] == [(3, 2)]


def test_a_correction_that_is_wrong_too_waits_again_and_says_so_before(platform):
    definition = source("again", limits={"warn": 0.5, "block": 1.0})
    landing = platform.workspace.path("landing")
    landing.joinpath("again").mkdir()
    landing.joinpath("again", "a.jsonl").write_text(FILES["jsonl"])
    read(platform, definition)
    wrong = replay.by_rules(definition, [Rule(column="n", replace={"many": "very many"})])
    corrected = replay.correct(platform.lake, landing, definition, wrong)
    assert replay.preview(platform.lake, corrected)["rejected again"] == 2
    name = replay.replay(platform.lake, landing, corrected).name
    read(platform, definition)
    waiting = {(row.file, row.line) for row in rows.waiting(platform.lake, definition)}
    assert {("a.jsonl", 3), ("a.jsonl", 5), (name, 1), (name, 2)} == waiting


def test_lines_that_cannot_be_read_by_column_and_conflicts_are_left_to_people(platform):
    definition = source("broken", limits={"warn": 0.5, "block": 1.0})
    landing = platform.workspace.path("landing")
    landing.joinpath("broken").mkdir()
    landing.joinpath("broken", "a.jsonl").write_text(
        '{"id": "1", "n": "1"}\n{"id": "1", "n": "2"}\n{"id": "2", "n"\n{"id": "3", "n": "x"}\n'
    )
    read(platform, definition)
    corrected = replay.correct(
        platform.lake, landing, definition, replay.by_rules(definition, [Rule(column="n", put="4")])
    )
    assert (len(corrected.lines), corrected.unreadable) == (1, 2)
    (broken,) = rows.waiting(platform.lake, definition, ("a.jsonl", 3))
    whole = replay.written(definition, [broken], [json.loads('{"id": "2", "n": "2"}')])
    assert replay.preview(platform.lake, whole)["accepted"] == 1


def test_an_older_lake_gains_the_column_that_says_what_was_replayed(platform):
    from cdp.lake.tables import create_registers

    platform.lake.write(lambda: platform.lake.connection.execute("alter table lake.main.ops__rejected_rows drop column replayed_as"), "older")  # fmt: skip
    create_registers(platform.lake)
    assert platform.lake.rows("select replayed_as from ops__rejected_rows limit 0") == []


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("source: x\nrules: []\n", "at least 1 item"),
        ("source: x\nrules:\n  - {column: n}\n", "either 'replace' or 'put'"),
        ("source: x\nrules:\n  - {column: n, put: a, replace: {b: c}}\n", "either 'replace' or 'put'"),
        ("source: x\nrules:\n  - {column: n, match: '(', put: a}\n", "cannot be used"),
        ("source: x\nrules:\n  - {colum: n, put: a}\n", "colum"),
    ],
)
def test_rules_that_cannot_be_meant_are_refused_by_line(tmp_path, text, says):
    path = tmp_path / "mend.yaml"
    path.write_text(text)
    with pytest.raises(ConfigError, match=says):
        load_yaml(path, Rules)


@pytest.mark.long
def test_a_data_engineer_lists_shows_corrects_and_replays_from_the_shell(new_workspace, tmp_path):
    workspace = new_workspace()
    folder = workspace.path("landing", "consents")
    folder.mkdir(exist_ok=True)
    lines = ["email,purpose,status", *(f"p{n}@example.com,email_marketing,granted" for n in range(40)),
             "ann@example.com,email_marketing,yes", "bob@example.com,email_marketing,perhaps", "cat@example.com,email_marketing,yes",
             "dan@example.com"]  # fmt: skip
    folder.joinpath("list.csv").write_text("".join(f"{line}\n" for line in lines))
    assert "nothing was rejected" in cdp(workspace, "quarantine", "list").stdout
    with opened(workspace) as found:
        consents = next(each for each in load_sources(workspace) if each.source == "consents")
        read(found, consents)
    listed = json.loads(cdp(workspace, "quarantine", "list", "--json").stdout)
    assert sorted((row["column"] or "", row["check"], row["waiting"]) for row in listed) == [("", "field_count", 1), ("status", "one_of", 3)]
    assert "list.csv:43: status: one_of" in cdp(workspace, "quarantine", "show", "consents").stdout
    rules = tmp_path / "mend.yaml"
    rules.write_text('source: consents\nrules:\n  - {column: status, replace: {"yes": granted}}\n')
    before = sorted(folder.iterdir())
    assert "2" in cdp(workspace, "quarantine", "replay", "consents", str(rules), "--preview").stdout
    assert sorted(folder.iterdir()) == before, "a preview writes nothing"
    assert "'cdp run' reads it" in cdp(workspace, "quarantine", "replay", "consents", str(rules)).stderr
    cdp(workspace, "quarantine", "mend", "consents", "list.csv", "43", "--set", "status=unknown")
    whole = ("quarantine", "mend", "consents", "list.csv", "45", "--line")
    assert "this is no line of that file" in cdp(workspace, *whole, "dan@example.com,email_marketing", check=False).stderr
    cdp(workspace, *whole, "dan@example.com,email_marketing,denied")
    with opened(workspace) as found:
        assert sum(file.accepted for file in read(found, consents).values()) == 4
        asked = "select action, count(*) from audit_log where action like 'quarantine%%' group by 1 order by 1"
        assert found.store.execute(asked).fetchall() == [("quarantine.mend", 3), ("quarantine.replay", 2), ("quarantine.show", 1)]  # fmt: skip
    assert [row["waiting"] for row in json.loads(cdp(workspace, "quarantine", "list", "--json").stdout)] == [0, 0]
    for wrong, says in (
        (("mend", "consents", "list.csv", "43", "--set", "status=unknown"), "does not wait"),
        (("mend", "consents", "list.csv", "42", "--set", "stat=unknown"), "does not wait"),
        (("show", "nowhere"), "there is no source nowhere"),
    ):
        done = cdp(workspace, "quarantine", *wrong, check=False)
        assert done.returncode != 0
        assert says in done.stderr
