"""Live resolution decides as the batch does: what is said is read as a record is, and the same pairs are held for one person."""

from types import SimpleNamespace

import pytest

from api.context import Context
from cdp.lake.engine import open_lake
from cdp.store.connect import connect, owner_address
from identity import artefact, blocking, live
from identity.guards import two_people
from identity.person import Described, values
from identity.scorer import Scorer, complete
from tests.conftest import RetailCase

REGIONS = ("GB", "CN")
SAID = ("given_name", "family_name", "full_name", "birth_date", "email", "phone", "postal_code", "city")


@pytest.fixture(scope="module")
def records(retail_case: RetailCase):
    """Contact records with what the pipeline made of them for linking."""
    said = ", ".join(f"r.{name}::varchar as said_{name}" for name in SAID)
    with open_lake(retail_case.workspace, read_only=True) as lake:
        return lake.records(f"select {said}, p.* from core__payloads p join core__contact_records r using (record_id) order by record_id")  # fmt: skip


def described(record, *without):
    return Described(**{name: record[f"said_{name}"] for name in SAID if name not in without})


def test_a_person_described_is_read_as_the_pipeline_reads_a_record(retail_case, records):
    trained = artefact.load(retail_case.workspace.path("models"))
    assert len(records) > 3_000
    assert sum(any("一" <= letter <= "鿿" for letter in r["said_full_name"] or "") for r in records) > 100
    for record in records:
        read = values(described(record), REGIONS)
        for column in (*trained.columns, "given_key"):
            assert read[column] == record[column], (column, record["record_id"])
    unknown_days = [r for r in records if str(r["birth_date"])[5:] == "01-01"]
    assert all(record["birth_full"] is None for record in unknown_days)


@pytest.mark.long
def test_people_asked_for_by_their_values_are_strong_where_the_batch_would_join_them(retail_case, records):
    """Brute force over all published payloads that share a key: no index, no limit, the guard on given names applied by hand."""
    trained = artefact.load(retail_case.workspace.path("models"))
    scorer, asked = Scorer(trained), records[:: len(records) // 60]
    with connect(owner_address(retail_case.workspace)) as store:
        held = store.execute("select compared, keys, customer_id::text from payloads join assignment using (record_id)").fetchall()  # fmt: skip
        found_strong = guarded = possible = 0
        for record in asked:
            read = values(described(record, "email", "phone"), REGIONS)
            own, keys = complete(read, trained), set(blocking.keys(trained.plan, read))
            strong, likely = set(), set()
            for compared, theirs, customer in held:
                if keys.isdisjoint(theirs):
                    continue
                weight = scorer.weight(own, complete(compared, trained))
                if weight < live.POSSIBLE:
                    continue
                if two_people(read, compared):
                    guarded += 1
                    continue
                likely.add(customer)
                if weight >= trained.threshold:
                    strong.add(customer)
            found = live.resolve(store, scorer, read, [])
            assert {c.customer_id for c in found} == likely
            assert {c.customer_id for c in found if c.tier == "strong"} == strong
            assert not [c for c in found if c.tier == "exact"]
            found_strong += len(strong)
            possible += len(likely - strong)
    assert found_strong > 30
    assert guarded > 0, "otherwise nothing shows that the guard is there"
    assert possible > 0


def test_a_customer_of_many_records_hides_no_other_holder_of_an_identifier(retail_case, monkeypatch):
    """Two hold the phone, one of them with more records than are read: nobody is proved by it, and whoever else is asked for is found."""
    one, two, three = (
        "00000000-0000-7000-8000-00000000000a",
        "00000000-0000-7000-8000-00000000000b",
        "00000000-0000-7000-8000-00000000000c",
    )
    phone, mail = ("phone", "+447700900990"), ("email", "only@post.cn")
    with connect(owner_address(retail_case.workspace)) as store, store.transaction(force_rollback=True):
        for customer in (one, two, three):
            store.execute("insert into customers (customer_id, created_at) values (%s, now())", [customer])
        held = [
            *((f"pos:sale:y{n:04}", one, phone) for n in range(600)),
            ("web:account:zz", two, phone),
            ("web:account:zy", three, mail),
        ]
        for record, customer, (kind, value) in held:
            store.execute("insert into contact_records (record_id, source, kind, source_key, first_seen, last_seen, link_weight, fields, row_hash) "
                          "values (%s, 'pos', 'sale', %s, now(), now(), 1, '{}', '')", [record, record])  # fmt: skip
            store.execute(
                "insert into assignment (record_id, customer_id, position) values (%s, %s, 1)", [record, customer]
            )
            store.execute(
                "insert into identifiers (record_id, type, value, first_seen, last_seen, row_hash) values (%s, %s, %s, now(), now(), '')",
                [record, kind, value],
            )
        found = {c.customer_id: c.tier for c in live.resolve(store, None, {}, [phone, mail])}
        assert found == {one: "possible", two: "possible", three: "exact"}
        monkeypatch.setattr(live, "MOST_HOLDERS", 100)  # fewer than one of them has
        found = {c.customer_id: c.tier for c in live.resolve(store, None, {}, [phone, mail])}
        assert (found[one], found[three]) == ("possible", "exact")


def test_of_too_many_candidates_those_with_most_in_common_are_compared(retail_case, records, monkeypatch):
    """Each asked for as it stands, with one candidate allowed: itself or one that is just as near, whatever its id."""
    scorer = Scorer(artefact.load(retail_case.workspace.path("models")))
    monkeypatch.setattr(live, "MOST_CANDIDATES", 1)
    with connect(owner_address(retail_case.workspace)) as store:
        held = dict(store.execute("select record_id, customer_id::text from payloads join assignment using (record_id)").fetchall())  # fmt: skip
        asked = [record for record in records if record["record_id"] in held and record["phone"] and record["email"]]
        asked = asked[:: len(asked) // 60]
        found = [live.resolve(store, scorer, values(described(record), REGIONS), []) for record in asked]
    assert all(len(candidates) <= 1 for candidates in found)
    right = [held[r["record_id"]] == c[0].customer_id for r, c in zip(asked, found, strict=True) if c]
    assert sum(right) >= 0.95 * len(asked)


def test_candidates_are_found_by_an_index_on_their_keys(retail_case):
    with connect(owner_address(retail_case.workspace)) as store, store.transaction(force_rollback=True):
        store.execute("set local enable_seqscan = off")
        plan = store.execute(f"explain {live.CANDIDATES}", {"keys": [1, 2], "most": 9}).fetchall()
    assert any("Bitmap Index Scan on payloads_keys" in line for (line,) in plan), plan


def test_the_model_that_the_published_keys_were_made_with_answers(tmp_path):
    (tmp_path / "used").write_text("before")
    (tmp_path / "current").write_text("promoted")
    asked = []
    app = SimpleNamespace(workspace=SimpleNamespace(path=lambda _: tmp_path))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("api.context._scorer", lambda folder, version: asked.append(version))
        Context.scorer(app)
        (tmp_path / "used").unlink()
        Context.scorer(app)
    assert asked == ["before", "promoted"]
