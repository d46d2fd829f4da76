"""Consent lists, retention, decisions recorded online, transparency and damaged lines, through the whole pipeline."""

import gzip
import json
from datetime import UTC, datetime, timedelta

import pytest

from cdp.consent import customers
from cdp.consent.policy import load_policy
from cdp.lake.engine import open_lake
from cdp.privacy import requests
from cdp.privacy.suppression import Suppression
from cdp.store.connect import connect, owner_address
from tests.conftest import NOW, cdp

pytestmark = pytest.mark.long

LIST = """email,phone,full_name,country,purpose,status,captured_at,received_at,method,evidence,explicit
{0},,,,email_marketing,granted,,2020-01-01T00:00:00Z,old list,,
{1},,,,email_marketing,granted,2026-02-20T00:00:00Z,2026-02-20T00:00:00Z,form,page 7,
{2},,,,email_marketing,granted,2026-02-20T00:00:00Z,2026-02-20T00:00:00Z,form,,no
new@example.org,,Nora New,GB,email_marketing,granted,2026-02-20T00:00:00Z,,form,,
nobody,,,,email_marketing,granted,2026-02-20T00:00:00Z,,form,,
{0},,,,email_marketing,maybe,2026-02-20T00:00:00Z,,form,,
{0},,,,carrier_pigeon,granted,2026-02-20T00:00:00Z,,form,,
{0},,,,email_marketing,granted,2027-02-20T00:00:00Z,,form,,
"""
AS_OF = f"{NOW:%Y-%m-%d}"


def flags(workspace, address):
    with open_lake(workspace, read_only=True) as lake:
        query = "select allowed, status, reason, customer_id from core__customer_consents where contact_point = ? and purpose = 'email_marketing'"
        return lake.rows(query, [address])[0]


@pytest.fixture(scope="module")
def denied(town):
    """Three addresses whose people said no to e-mail, each a while ago."""
    with open_lake(town, read_only=True) as lake:
        rows = lake.rows(
            "select contact_point from core__customer_consents where purpose = 'email_marketing' and not allowed and decided_by in "
            "(select decision_id from core__consent_decisions where captured_at < '2026-02-15') order by 1 limit 3"
        )
    return [row[0] for row in rows]


def test_an_existing_list_is_imported_and_its_undated_grants_are_the_weakest(town, denied):
    town.path("landing", "consents", "list.csv").write_text(LIST.format(*denied), encoding="utf-8")
    cdp(town, "run", "--as-of", AS_OF)
    assert not flags(town, denied[0])[0], "a grant without a date does not beat a denial"
    assert flags(town, denied[1])[0], "a newer dated one does"
    assert not flags(town, denied[2])[0], "what a form had filled in does not beat what a person said"
    assert flags(town, "new@example.org")[:2] == (True, "granted")
    with open_lake(town, read_only=True) as lake:
        counts = lake.rows("select lines, accepted, quarantined from ops__reconciliation where source = 'consents'")
        assert counts == [(8, 7, 1)]
        named = [row for row in customers.unusable(lake, NOW) if row["source"] == "consents"]
        assert [(row["why"], row["purpose"], row["decisions"]) for row in named] == [
            ("dated in the future", "email_marketing", 1),
            ("purpose not in consent.yaml", "carrier_pigeon", 1),
        ]
        evidence = lake.rows(
            "select evidence from core__consent_decisions where source = 'consents' and evidence is not null"
        )
        assert evidence == [('"page 7"',)]
        conflicts = lake.rows(
            "select decided_source, opposing_source from core__consent_conflicts where contact_point = ?", [denied[1]]
        )
        assert conflicts
        assert {decided for decided, _ in conflicts} == {"consents"}


def test_what_is_recorded_online_reaches_the_lake(town, denied):
    with connect(owner_address(town)) as store, store.transaction():
        customer = flags(town, denied[1])[3]
        request = requests.receive(store, load_policy(town), "objection", customer, {}, "test", NOW)
        requests.verify(store, request, "called_back", "test", NOW)
        requests.carry_out(store, load_policy(town), request, "test", NOW)
    cdp(town, "run", "--as-of", f"{NOW + timedelta(days=1):%Y-%m-%d}")
    assert flags(town, denied[1])[:2] == (False, "denied")
    with open_lake(town, read_only=True) as lake:
        report = lake.rows("select measure, sum(count) from mart__transparency group by 1")
    assert ("requests: objection", 1) in report
    assert ("deadline kept", 1) in report


def test_retention_takes_old_visits_out_of_landing_lake_and_store(town, denied):
    def served():
        with connect(owner_address(town)) as store:
            return {i for (i,) in store.execute("select interaction_id from interactions").fetchall()}

    def moves():
        with open_lake(town, read_only=True) as lake:
            return lake.rows(
                "select table_id from ducklake_table_info('lake') where table_name = 'mart__journey_moves'"
            )

    before, table = served(), moves()
    assert before
    town.path("retention.yaml").write_text(
        'version: "1"\nsources: {web: {visits: 60}, app: {visits: 60}, service: {rows: 60}}\n', encoding="utf-8"
    )
    cdp(town, "run", "--as-of", AS_OF)
    cutoff = NOW.replace(hour=0, minute=0) - timedelta(days=60)
    with open_lake(town, read_only=True) as lake:
        kept = lake.rows("select min(occurred_at), count(*) from core__interactions where kind in ('page', 'screen')")[
            0
        ]
        assert kept[0].astimezone(UTC) >= cutoff
        assert kept[1] > 0
        wrong = lake.rows(
            "select * from ops__reconciliation where lines <> accepted + duplicates + quarantined + suppressed"
        )
        assert not wrong
        identified = lake.scalar("select count(*) from core__record_identifiers where type = 'email'")
        assert identified > 100, "rows that say who somebody is stay"
    assert served() < before
    assert moves() != table, "what follows from visits is replaced: the catalog kept the extremes of those that went"
    markers = sum(
        line == b'{"_erased":true}\n' for p in town.path("landing", "web").glob("*.gz") for line in gzip.open(p)
    )
    assert markers > 0
    again = served()
    cdp(town, "run", "--full", "--as-of", AS_OF)
    assert served() == again
    assert flags(town, denied[1])[:2] == (False, "denied"), "and what was recorded online stays through a rebuild"


def test_a_timeline_says_where_it_ends(town):
    from fastapi.testclient import TestClient

    from api.app import create_app
    from tests.conftest import api_key

    with TestClient(create_app(town.settings, clock=lambda: NOW)) as client, connect(owner_address(town)) as store:
        customer = store.execute("select customer_id::text from profiles where kind = 'known' limit 1").fetchall()[0][0]
        shown = client.get(f"/v1/customers/{customer}/timeline", headers=api_key(town, "profiles:read")).json()
    assert datetime.fromisoformat(shown["ends_at"]) == NOW - timedelta(days=60)


def test_an_erasure_that_dies_in_the_middle_is_caught_up_by_the_next_run(town, monkeypatch):
    """Killed after landing and lake, before the store: the next run does the rest, and a damaged line goes too."""
    from cdp.privacy import erase
    from cdp.privacy.erase import Job
    from cdp.sources.load import load_sources
    from tests.conftest import opened

    with connect(owner_address(town)) as store:
        (customer, address), other = store.execute(
            "select a.customer_id::text, min(i.value) from identifiers i join assignment a using (record_id) where i.type = 'email' "
            "group by 1 having count(distinct i.value) = 1 order by 1 limit 2"
        ).fetchall()
        with store.transaction():
            for erased in (customer, other[0]):
                request = requests.receive(store, load_policy(town), "erasure", erased, {}, "test", NOW)
                requests.verify(store, request, "in_person", "test", NOW)
    damaged = town.path("landing", "web", "damaged.jsonl")
    broken = json.dumps({"messageId": "x", "type": "identify", "traits": {"email": address}})
    damaged.write_text(broken + "\n", encoding="utf-8")  # no timestamp: no sound row

    def dies(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, opened(town) as found:
        patch.setattr(erase.erasure, "erase", dies)
        job = Job(town, found.lake, found.store, load_sources(town), NOW, print)
        with pytest.raises(KeyboardInterrupt):
            erase.carry_out(job)
    cdp(town, "run", "--as-of", AS_OF)
    with connect(owner_address(town)) as store:
        assert store.execute(
            "select count(*) from privacy_requests where kind = 'erasure' and status <> 'done'"
        ).fetchall() == [(0,)]
        left = store.execute("select count(*) from identifiers where value = any(%s)", [[address, other[1]]]).fetchall()
        assert left == [(0,)]
    assert address not in damaged.read_text(encoding="utf-8")
    came_back_of_their_own_will(town, address)


def came_back_of_their_own_will(town, address):
    """A new row of an erased person stays away; a grant captured after the erasure lifts the suppression."""
    suppression = Suppression(town)
    assert suppression.hash("email", address) in suppression.entries()
    event = {
        "messageId": "back-{0}", "type": "identify", "userId": "w-back-{0}", "anonymousId": "back-{0}", "timestamp": "2026-03-0{0}T10:00:00Z",
        "traits": {"firstName": "Back", "lastName": "Again", "email": address},
    }  # fmt: skip
    answer = {"categoryPreferences": {"email_marketing": True}, "capturedAt": "2026-03-03T10:00:00Z", "source": "form"}
    for number, more in ((2, {}), (3, {"context": {"consent": answer}})):
        line = json.dumps({**event, **more}).replace("{0}", str(number))
        town.path("landing", "web", f"back-{number}.jsonl").write_text(line + "\n", encoding="utf-8")
        cdp(town, "run", "--as-of", f"2026-03-0{number + 1}")
        with connect(owner_address(town)) as store:
            held = store.execute("select count(*) from identifiers where value = %s", [address]).fetchall()[0][0]
        assert (held > 0) == bool(more)
    assert suppression.hash("email", address) not in suppression.entries()
