"""Checks over what is stored: each fails on data that is wrong in its way, and only then."""

import os
from datetime import timedelta

import pytest
from dagster import AssetCheckSeverity

from assets.checking import result
from cdp.checks import Finding, arrivals, books, people, quarantine
from cdp.loyalty.programme import load_programme
from cdp.sources.ingest import ingest
from tests.cdp.test_ingest import source
from tests.conftest import NOW, opened

DAY = timedelta(days=1)


def land(platform, definition, days, rows=lambda day: 20, line=lambda day, n: f'{{"id": "{day}-{n}", "n": "1"}}'):
    folder = platform.workspace.path("landing", definition.source)
    folder.mkdir(exist_ok=True)
    for day in days:
        folder.joinpath(f"{day:02}.jsonl").write_text("".join(line(day, n) + "\n" for n in range(rows(day))))
        ingest(platform.lake, definition, platform.workspace.path("landing"), NOW + day * DAY, print)


def test_volume_tells_a_day_that_brought_too_little_too_much_or_nothing(platform):
    steady = source("steady")
    land(platform, steady, range(8))
    assert arrivals.volume(platform.lake, steady, NOW + 8 * DAY).ok
    assert not arrivals.volume(platform.lake, steady, NOW + 14 * DAY).ok
    few, many = source("few"), source("many")
    land(platform, few, range(8), rows=lambda day: 20 if day < 7 else 2)
    assert not arrivals.volume(platform.lake, few, NOW + 8 * DAY).ok
    land(platform, many, range(8), rows=lambda day: 20 if day < 7 else 200)
    assert not arrivals.volume(platform.lake, many, NOW + 8 * DAY).ok
    new = source("new")
    land(platform, new, range(2))
    assert "judged" in arrivals.volume(platform.lake, new, NOW + 2 * DAY).facts


def test_null_rate_names_the_column_that_reads_empty_since_today(platform):
    def line(day, n):
        price = "" if day == 1 else ', "price": "2"'
        return f'{{"id": "{day}-{n}", "n": "1"{price}}}'

    renamed = source("renamed")
    land(platform, renamed, range(2), rows=lambda day: 150, line=line)
    found = arrivals.nulls(platform.lake, renamed)
    assert not found.ok
    assert [row["column"] for row in found.rows] == ["price"]
    steady = source("full")
    land(platform, steady, range(2), rows=lambda day: 150)
    assert arrivals.nulls(platform.lake, steady).ok


@pytest.mark.parametrize(
    ("form", "before", "after", "changed", "same"),
    [
        ("csv", "id,n\n1,2\n", "id,n\n3,4\n", [], True),
        ("csv", "id,n\n1,2\n", "id,m\n3,4\n", ["n"], False),
        ("csv", "id,n\n1,2\n", "id,n,jo@example.org\n3,4,5\n", [], False),
        ("jsonl", '{"id": "1", "n": "2"}\n', '{"id": "3", "num": "4"}\n', ["n"], False),
        ("jsonl", '{"id": "1"}\n' * 9, '{"id": "3"}\n' * 9 + '{"id": "4", "rare": 1}\n', [], True),
    ],
)
def test_schema_drift_compares_the_newest_file_with_the_one_before(tmp_path, form, before, after, changed, same):
    drifting = source("drifting", form)
    folder = tmp_path / "drifting"
    folder.mkdir()
    folder.joinpath(f"b.{form}").write_text(before)
    folder.joinpath(f"a.{form}").write_text(after)
    os.utime(folder / f"b.{form}", (1, 1))
    found = arrivals.drift(tmp_path, drifting)
    assert sorted(row["column"] for row in found.rows) == changed
    assert found.ok == same
    assert "jo@" not in repr(found)


def test_a_file_that_cannot_be_read_is_not_judged_for_its_columns(tmp_path):
    folder = tmp_path / "drifting"
    folder.mkdir()
    folder.joinpath("a.parquet").write_bytes(b"no parquet")
    folder.joinpath("b.parquet").write_bytes(b"no parquet")
    assert "judged" in arrivals.drift(tmp_path, source("drifting", "parquet")).facts


@pytest.fixture(scope="module")
def wrong(town):
    """A town whose stored data can be made wrong, with what puts it right again."""
    with opened(town) as found:
        yield found


def altered(found, statement, back):
    found.lake.write(lambda: found.lake.connection.execute(statement), "made wrong")
    return lambda: found.lake.write(lambda: found.lake.connection.execute(back), "put right")


def test_consent_ledger_and_assignment_of_a_sound_town_hold(wrong):
    programme = load_programme(wrong.workspace)
    assert books.consents(wrong.lake).ok
    assert books.ledger(wrong.store, programme).ok
    assert books.holders(wrong.lake, wrong.store).ok
    assert people.sizes(wrong.lake).ok
    evidence = people.evidence(wrong.lake)
    assert evidence.ok
    shares = [float(said.split("(")[1].rstrip("%)")) for name, said in evidence.facts.items() if name.endswith(" edges")]
    assert len(shares) > 1
    assert sum(shares) == pytest.approx(100, abs=0.2), "the share of each kind"
    assert quarantine.replays(wrong.lake).ok


def test_a_file_whose_lines_are_not_all_accounted_for_is_found(wrong):
    assert quarantine.files(wrong.lake).ok
    undo = altered(wrong, "update lake.main.ops__reconciliation set lines = lines + 1 where source = 'pos'",
                   "update lake.main.ops__reconciliation set lines = lines - 1 where source = 'pos'")  # fmt: skip
    found = quarantine.files(wrong.lake)
    assert not found.ok
    assert {row["source"] for row in found.rows} == {"pos"}
    assert found.facts["files"] > len(found.rows)
    undo()
    assert quarantine.files(wrong.lake).ok


@pytest.mark.parametrize("blocking", [True, False])
def test_only_a_failed_check_says_what_to_do_next_and_only_a_blocking_one_is_an_error(blocking):
    failed = result(Finding(False, {"seen": 1}, [{"source": "pos"}]), "mend it", blocking=blocking)
    assert (failed.passed, failed.metadata["what to do"].value) == (False, "mend it")
    assert failed.severity is (AssetCheckSeverity.ERROR if blocking else AssetCheckSeverity.WARN)
    assert "what to do" not in result(Finding(True), "mend it", blocking=blocking).metadata


def test_a_flag_that_is_allowed_though_denied_is_found(wrong):
    wrong.lake.write(lambda: wrong.lake.connection.execute("create table lake.main.kept as from lake.main.core__customer_consents"), "keep")  # fmt: skip
    for change, name in (
        ("status = 'withdrawn', allowed = true", "allowed though denied"),
        ("decided_by = 'nobody'", "decided by a decision that is not there"),
        ("allowed = true, status = 'granted', decided_by = null", "granted by nobody"),
        ("allowed = true, status = 'granted', decided_by = (select min(decision_id) from core__consent_decisions where status <> 'granted')", "granted by what is no grant"),
        ("customer_id = 'nobody'", "of a customer that is not there"),
    ):
        wrong.lake.write(lambda c=change: wrong.lake.connection.execute(f"update lake.main.core__customer_consents set {c} where customer_id = (select min(customer_id) from core__customer_consents)"), "made wrong")  # fmt: skip
        found = books.consents(wrong.lake)
        assert not found.ok
        assert found.facts[name] > 0
        wrong.lake.write(lambda: wrong.lake.connection.execute("create or replace table lake.main.core__customer_consents as from lake.main.kept"), "put right")  # fmt: skip
    assert books.consents(wrong.lake).ok


def test_an_account_that_does_not_add_up_is_found(wrong):
    programme = load_programme(wrong.workspace)
    with wrong.store.transaction(force_rollback=True):
        wrong.store.execute("update ledger_accounts set balance = balance + 1 where account_id = (select account_id from ledger_accounts limit 1)")  # fmt: skip
        assert not books.ledger(wrong.store, programme).ok


def test_a_record_that_the_lake_gives_to_somebody_else_is_found(wrong):
    with wrong.store.transaction(force_rollback=True):
        wrong.store.execute("delete from assignment where record_id = (select min(record_id) from assignment)")
        assert books.holders(wrong.lake, wrong.store).facts["only in the lake"] == 1


def test_a_customer_of_too_many_records_and_customers_held_by_likeness_alone_are_found(wrong, monkeypatch):
    monkeypatch.setattr(people, "LARGEST", 1)
    assert not people.sizes(wrong.lake).ok
    monkeypatch.setattr(people, "WEAK", -1.0)
    assert not people.evidence(wrong.lake).ok


def test_unlinkable_payloads_are_those_below_the_threshold(wrong):
    wrong.lake.rows("create table memory.main.core__payload_worth as select range as node, cast(range as double) as weight from range(100)")  # fmt: skip
    assert people.unlinkable(wrong.lake, None).ok
    assert people.unlinkable(wrong.lake, 5.0).facts == {"payloads with a full name": 100, "that say too little": 5}
    assert people.unlinkable(wrong.lake, 5.0).ok
    assert not people.unlinkable(wrong.lake, 50.0).ok
    wrong.lake.rows("drop table memory.main.core__payload_worth")


@pytest.mark.parametrize(
    ("labels", "joined", "wrong", "ok"),
    [(0, 0, 0, True), (90, 19, 19, True), (20, 20, 1, True), (90, 20, 2, False), (200, 100, 5, True), (200, 100, 6, False), (200, 0, 0, True)],
)  # fmt: skip
def test_a_model_that_joins_what_stewards_told_apart_is_found_once_there_are_labels(labels, joined, wrong, ok):
    assert people.precision(labels, joined, wrong).ok is ok


def test_records_that_moved_since_the_last_release_are_counted(wrong):
    assert people.churn(wrong.store, None, NOW).ok
    with wrong.store.transaction(force_rollback=True):
        wrong.store.execute(
            "set local cdp.erasing = 'yes'"
        )  # the one way in which history is changed; taken back below
        wrong.store.execute("update assignment_history set previous_customer_id = gen_random_uuid(), at = %s", [NOW])
        found = people.churn(wrong.store, NOW - DAY, NOW)
        assert not found.ok
        assert people.churn(wrong.store, NOW, NOW + DAY).ok
