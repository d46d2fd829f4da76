"""Erasure that sticks: 100 people of the reference case are erased, and nothing brings them back or still names them."""

import csv
import gzip
import json
import shutil
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from cdp.lake.engine import open_lake
from cdp.privacy import requests
from cdp.settings import Settings
from cdp.standard import contact
from cdp.store import server
from cdp.store.connect import connect, database, owner_address
from cdp.workspace import Workspace, open_workspace
from tests.conftest import NOW, RETAIL_AS_OF, api_key, cdp, land

MANY = 100
REGIONS = ("GB", "CN")


@dataclass
class Erased:
    """A workspace after the erasure, and what it held before."""

    workspace: Workspace
    case: Path
    backup: Path
    customers: list[str]
    ledger: list
    values: set[str] = field(default_factory=set)
    names: set[tuple[str, str]] = field(default_factory=set)
    spouses: list[tuple[str, str]] = field(default_factory=list)
    lines: list = field(default_factory=list)


def ledger(store):
    return store.execute(
        "select (select sum(amount) from ledger_entries), (select count(*) from ledger_entries), "
        "(select sum(remaining) from ledger_lots), (select coalesce(sum(amount), 0) from ledger_deficits)"
    ).fetchall()


def chosen(store):
    """People with several records, contact points and points; among them members of households and partners."""
    rows = store.execute(
        "select a.customer_id::text from assignment a join profiles p using (customer_id) left join ledger_accounts l using (record_id) "
        "where p.kind = 'known' and p.profile -> 'email' ->> 'value' is not null "
        "group by 1 order by count(distinct l.account_id) > 0 desc, count(distinct a.record_id) between 2 and 40 desc, md5(a.customer_id::text) limit %s",
        [MANY],
    ).fetchall()
    return [row[0] for row in rows]


def gathered(store, erased, case):
    """What must not be found afterwards: identifiers and names that nobody living shares, as written in the landing files too."""
    mine = "select record_id from assignment where customer_id = any(%s::uuid[])"
    rows = store.execute(
        f"select distinct i.type, i.value, exists (select 1 from identifiers o where o.type = i.type and o.value = i.value and o.record_id not in ({mine})) "
        f"from identifiers i where i.record_id in ({mine}) and i.type in ('email', 'phone', 'card', 'account')",
        [erased.customers, erased.customers],
    ).fetchall()
    alone = {value for kind, value, shared in rows if not shared}
    shared = [(kind, value) for kind, value, is_shared in rows if is_shared]
    living = set(store.execute(
        f"select r.fields ->> 'full_key', lower(replace(r.fields ->> 'postal_code', ' ', '')) from contact_records r where record_id not in ({mine})",
        [erased.customers]).fetchall())  # fmt: skip
    named = store.execute(
        f"select distinct r.fields ->> 'full_name', r.fields ->> 'postal_code', r.fields ->> 'full_key', lower(replace(r.fields ->> 'postal_code', ' ', '')) "
        f"from contact_records r where record_id in ({mine}) and r.fields ->> 'full_name' is not null and r.fields ->> 'postal_code' is not null",
        [erased.customers],
    ).fetchall()
    erased.names = {(name, postcode) for name, postcode, key, place in named if (key, place) not in living}
    erased.values = alone | written(case, alone)
    for kind, value in shared:
        holders = store.execute(
            f"select i.record_id from identifiers i where i.type = %s and i.value = %s and i.record_id not in ({mine}) order by 1",
            [kind, value, erased.customers],
        ).fetchall()
        erased.spouses += [(record, value) for (record,) in holders]


def written(case, alone):
    """How those values are spelt in the files."""
    found = set()
    for path in case.joinpath("landing").rglob("*"):
        if path.is_file():
            raw = path.read_bytes()
            text = (gzip.decompress(raw) if raw[:2] == b"\x1f\x8b" else raw).decode("utf-8", "replace")
            for token in {t for line in text.splitlines() for t in tokens(line)}:
                if (contact.email(token) if "@" in token else contact.phone(token, REGIONS)) in alone:
                    found.add(token)
    return found


def tokens(line):
    if line.startswith("{"):
        try:
            yield from strings(json.loads(line))
        except ValueError:
            return
    else:
        yield from next(csv.reader([line]), [])


def strings(value):
    if isinstance(value, dict):
        for inner in value.values():
            yield from strings(inner)
    elif isinstance(value, str) and 6 < len(value) < 80 and ("@" in value or sum(c.isdigit() for c in value) > 6):
        yield value


@pytest.fixture(scope="module")
def erased(new_workspace, reference, tmp_path_factory):
    workspace, case = new_workspace(), reference / "retail_case"
    land(workspace, case)
    cdp(workspace, "run", "--as-of", RETAIL_AS_OF)
    backup = tmp_path_factory.mktemp("backup") / "before"
    cdp(workspace, "backup", "--out", str(backup))
    with connect(owner_address(workspace)) as store:
        found = Erased(workspace, case, backup, chosen(store), ledger(store))
        gathered(store, found, case)
        with store.transaction():
            from cdp.consent.policy import load_policy

            for customer in found.customers:
                request = requests.receive(store, load_policy(workspace), "erasure", customer, {}, "test", NOW)
                requests.verify(store, request, "in_person", "test", NOW)
    assert len(found.customers) == MANY
    assert len(found.values) > MANY
    cdp(workspace, "run", "--as-of", RETAIL_AS_OF)
    return found


def living_identifiers(workspace):
    with connect(owner_address(workspace)) as store:
        return {value for (value,) in store.execute("select value from identifiers").fetchall()}


def nobody_came_back(erased, workspace):
    """None of their values, none of their records, none of their names with postcode; the spouses are all there."""
    assert not erased.values & living_identifiers(workspace)
    with connect(owner_address(workspace)) as store:
        pairs = set(
            store.execute("select fields ->> 'full_name', fields ->> 'postal_code' from contact_records").fetchall()
        )
        assert not erased.names & pairs
        assert store.execute(
            "select count(*) from profiles where customer_id = any(%s::uuid[])", [erased.customers]
        ).fetchall() == [(0,)]
        assert ledger(store) == erased.ledger
        held = store.execute(
            "select record_id, i.value from identifiers i join assignment a using (record_id)"
        ).fetchall()
    assert set(erased.spouses) <= set(held), "one spouse erased must not suppress the other"


def everything_in(workspace):
    """(where, bytes) of the whole workspace: files, zipped ones unpacked, every lake table decoded, the database dumped."""
    with open_lake(workspace, read_only=True) as lake:
        for (table,) in lake.rows("select table_name from duckdb_tables() where database_name = 'lake'"):
            yield f"lake {table}", repr(lake.rows(f"select * from lake.main.{table}")).encode()
        snapshots = len(lake.rows("select snapshot_id from lake.snapshots()"))
    assert snapshots <= 2, "older versions of the lake are gone"
    done = server._run([str(server.binaries() / "pg_dump"), f"--dbname={owner_address(workspace).conninfo}"])
    assert done.returncode == 0, done.stdout[-300:]
    yield "dump", done.stdout.encode()
    with connect(owner_address(workspace)) as store:
        store.execute("checkpoint")
    for path in workspace.home.rglob("*"):
        if path.is_file():
            raw = path.read_bytes()
            yield str(path.relative_to(workspace.home)), gzip.decompress(raw) if raw[:2] == b"\x1f\x8b" else raw


def test_no_byte_of_them_is_left_in_the_whole_workspace(erased):
    needles = {v.encode() for v in erased.values} | {
        v.removeprefix("+").encode() for v in erased.values if v.startswith("+")
    }
    pairs = [(name.encode(), postcode.encode()) for name, postcode in erased.names]
    found = {}
    for where, content in everything_in(erased.workspace):
        hits = [needle for needle in needles if needle in content]
        hits += (
            [pair for pair in pairs if any(pair[0] in line and pair[1] in line for line in content.split(b"\n"))]
            if where.startswith("landing")
            else []
        )
        if hits:
            found[where] = hits
    assert not found


def test_the_books_still_add_up_and_orders_stay_without_a_person(erased):
    with connect(owner_address(erased.workspace)) as store:
        assert ledger(store) == erased.ledger
        closed = store.execute(
            "select count(*), count(*) filter (where record_id like 'erased:%%') from ledger_accounts where closed_at is not null"
        ).fetchall()[0]
        assert closed[0] == closed[1] > 0
        nobody = store.execute("select count(*) from orders where record_id is null").fetchall()[0][0]
        assert nobody > MANY
        told = store.execute("select count(*) from changes where type = 'customer.erased'").fetchall()
        assert told == [(MANY,)]
        statuses = store.execute("select distinct status, outcome from privacy_requests").fetchall()
        assert statuses == [("done", "erased")]
        steps = store.execute("select distinct system, status from privacy_steps").fetchall()
        assert {status for _, status in steps} == {"done"}
        assert {system for system, _ in steps} == set(requests.ERASED_SYSTEMS)
    with open_lake(erased.workspace, read_only=True) as lake:
        sums = lake.rows(
            "select count(*) from ops__reconciliation where lines <> accepted + duplicates + quarantined + suppressed"
        )
        assert sums == [(0,)]
        assert lake.scalar("select sum(suppressed) from ops__reconciliation") > MANY


def test_a_second_erasure_of_somebody_erased_gets_a_clear_answer(erased):
    from fastapi.testclient import TestClient

    from api.app import create_app

    with TestClient(create_app(erased.workspace.settings)) as client:
        headers = api_key(erased.workspace, "privacy:write", "profiles:read")
        asked = {"kind": "erasure", "customer_id": erased.customers[0]}
        answer = client.post("/v1/privacy/requests", json=asked, headers=headers)
        assert answer.status_code == 409
        assert "was erased" in answer.json()["detail"]
        assert client.get(f"/v1/customers/{erased.customers[0]}", headers=headers).status_code == 404


def test_nobody_comes_back_by_replaying_the_original_files(erased):
    for path in sorted(erased.case.joinpath("landing").rglob("*")):
        if path.is_file():
            target = erased.workspace.path("landing", path.parent.name, f"again-{path.name}")
            shutil.copy(path, target)
            target.chmod(0o644)
    cdp(erased.workspace, "run", "--as-of", RETAIL_AS_OF)
    nobody_came_back(erased, erased.workspace)
    with open_lake(erased.workspace, read_only=True) as lake:
        again = lake.rows(
            "select sum(suppressed), sum(lines - accepted - duplicates - quarantined - suppressed) from ops__reconciliation where file like 'again-%'"
        )
    assert again[0][0] > MANY
    assert again[0][1] == 0


def test_nobody_comes_back_by_a_rebuild_from_scratch(erased):
    """The lake is made again from the landing files alone, the originals among them."""
    with database(erased.workspace), open_lake(erased.workspace) as lake:
        for (table,) in lake.rows("select table_name from duckdb_tables() where database_name = 'lake'"):
            lake.write(lambda table=table: lake.connection.execute(f"drop table lake.main.{table}"), "drop")
    cdp(erased.workspace, "run", "--full", "--as-of", RETAIL_AS_OF)
    nobody_came_back(erased, erased.workspace)


def test_nobody_comes_back_by_restoring_a_backup_from_before(erased, tmp_path_factory):
    """On another machine that has the list: restored, whoever was erased since is erased again before anything opens."""
    home = tmp_path_factory.mktemp("restored") / "home"
    (home / "privacy").mkdir(parents=True)
    for name in ("suppressed.jsonl", "suppression.key"):
        shutil.copy(erased.workspace.path("privacy", name), home / "privacy" / name)
    workspace = Workspace(Settings(home=home))
    done = cdp(workspace, "restore", str(erased.backup))
    assert "erased again" in done.stderr
    with database(workspace):
        nobody_came_back(erased, workspace)
        cdp(workspace, "run", "--as-of", RETAIL_AS_OF)
        nobody_came_back(erased, workspace)
        assert cdp(workspace, "audit", "verify").returncode == 0
    server.stop(open_workspace(Settings(home=home)))
