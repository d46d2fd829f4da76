"""Erasure that sticks: 100 people of the reference case are erased, and nothing brings them back or still names them."""

import csv
import gzip
import json
import shutil
import subprocess
from collections import defaultdict
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from cdp.consent.policy import load_policy
from cdp.lake import delta
from cdp.lake.engine import open_lake
from cdp.privacy import requests
from cdp.settings import Settings
from cdp.standard import contact
from cdp.store import server
from cdp.store.connect import connect, database, owner_address
from cdp.workspace import Workspace, open_workspace
from tests.conftest import NOW, RETAIL_AS_OF, api_key, cdp

pytestmark = pytest.mark.long

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
    living = store.execute(
        f"select lower(r.fields ->> 'full_name'), r.fields ->> 'full_key', lower(replace(r.fields ->> 'postal_code', ' ', '')) "
        f"from contact_records r where record_id not in ({mine}) and r.fields ->> 'full_name' is not null",
        [erased.customers],
    ).fetchall()
    at_place = defaultdict(set)  # place: names of the living there
    for name, key, place in living:
        at_place[place] |= {name, key}
    named = store.execute(
        f"select distinct r.fields ->> 'full_name', r.fields ->> 'postal_code', r.fields ->> 'full_key', lower(replace(r.fields ->> 'postal_code', ' ', '')) "
        f"from contact_records r where record_id in ({mine}) and r.fields ->> 'full_name' is not null and r.fields ->> 'postal_code' is not null",
        [erased.customers],
    ).fetchall()
    # A surname alone is also said by the name of the spouse who stays.
    erased.names = {
        (name, postcode)
        for name, postcode, key, place in named
        if not any(name.lower() in other or key in other for other in at_place[place] if other)
    }
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
def erased(retail_case, reference, tmp_path_factory):
    """In a copy of the reference case made by backup and restore, because other tests read the case itself."""
    case = reference / "retail_case"
    backup = tmp_path_factory.mktemp("backup") / "before"
    cdp(retail_case.workspace, "backup", "--out", str(backup))
    workspace = Workspace(Settings(home=tmp_path_factory.mktemp("copy") / "home"))
    cdp(workspace, "restore", str(backup))
    workspace = open_workspace(workspace.settings)
    with database(workspace):
        yield erase_many(workspace, case, backup)


def erase_many(workspace, case, backup):
    with connect(owner_address(workspace)) as store:
        found = Erased(workspace, case, backup, chosen(store), ledger(store))
        gathered(store, found, case)
        with store.transaction():
            for customer in found.customers:
                request = requests.receive(store, load_policy(workspace), "erasure", customer, {}, "test", NOW)
                requests.verify(store, request, "in_person", "test", NOW)
    assert len(found.customers) == MANY
    assert len(found.values) > MANY
    told = f"select value from (values ('{min(found.values)}'), ('{max(found.values)}')) as v (value)"
    with open_lake(workspace) as lake:  # the catalog remembers the least and greatest value of a column for ever
        lake.write(lambda: delta.tell(lake, "ops__files", {"value": told}), "told values of theirs")
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


def laid_open(workspace, folder):
    """Beside the workspace's own files: every lake table decoded, the database dumped, zipped files unpacked."""
    with database(workspace), open_lake(workspace, read_only=True) as lake:
        for (table,) in lake.rows("select table_name from duckdb_tables() where database_name = 'lake'"):
            rows = "\n".join(map(repr, lake.rows(f"select * from lake.main.{table}")))
            folder.joinpath(f"lake-{table}").write_text(rows, encoding="utf-8")
    done = server._run([str(server.binaries() / "pg_dump"), f"--dbname={owner_address(workspace).conninfo}"])
    assert done.returncode == 0, done.stderr
    folder.joinpath("dump").write_text(done.stdout, encoding="utf-8")
    with connect(owner_address(workspace)) as store:
        store.execute("checkpoint")
    for path in workspace.home.rglob("*.gz"):
        (folder / f"{path.parent.name}-{path.name}.txt").write_bytes(gzip.decompress(path.read_bytes()))


def searched(patterns, *places):
    """What grep finds of these literal strings in every byte of those places: (file, string)."""
    done = subprocess.run(
        ["grep", "-raoF", "-f", "-", *map(str, places)],
        input=b"\n".join(p.encode() for p in sorted(patterns)), capture_output=True, check=False, env={"LC_ALL": "C"},
    )  # fmt: skip
    assert done.returncode in (0, 1), done.stderr
    return [tuple(line.split(":", 1)) for line in done.stdout.decode("utf-8", "replace").splitlines()]


def described(workspace, found):
    """Of each find, the table whose file that is, and what stands around it."""
    with connect(owner_address(workspace)) as store:
        names = dict(store.execute("select pg_relation_filenode(oid)::text, relname from pg_class").fetchall())
    return [
        (path, names.get(Path(path).name), value, subprocess.run(
            ["grep", "-aoE", f".{{0,200}}{value.replace('+', '[+]')}.{{0,200}}", path], capture_output=True, check=False, env={"LC_ALL": "C"}
        ).stdout[:1000]) for path, value in found
    ]  # fmt: skip


def nothing_names_them(erased, folder):
    needles = erased.values | {v.removeprefix("+") for v in erased.values if v.startswith("+")}
    laid_open(erased.workspace, folder)
    living = next(iter(living_identifiers(erased.workspace)))
    assert searched({living}, folder, erased.workspace.home), "the search finds what is there"
    assert not described(erased.workspace, searched(needles, folder, erased.workspace.home))
    assert not list(rows_naming(erased, folder))


def test_no_byte_of_them_is_left_in_the_whole_workspace(erased, tmp_path):
    with open_lake(erased.workspace, read_only=True) as lake:
        assert len(lake.rows("select snapshot_id from lake.snapshots()")) <= 2, "older versions of the lake are gone"
    nothing_names_them(erased, tmp_path)


def rows_naming(erased, folder):
    """Rows (of landing files, lake tables and the dump) in which a name stands with its postcode."""
    texts = [*folder.iterdir(), *(p for p in erased.workspace.path("landing").rglob("*") if p.is_file())]
    for path in texts:
        content = path.read_bytes()
        if content[:2] == b"\x1f\x8b" or not any(name.encode() in content for name, _ in erased.names):
            continue
        for line in content.decode("utf-8", "replace").splitlines():
            if any(name in line and postcode in line for name, postcode in erased.names):
                yield path.name, line


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


def landed_again(erased, prefix):
    for path in sorted(erased.case.joinpath("landing").rglob("*")):
        if path.is_file():
            target = erased.workspace.path("landing", path.parent.name, f"{prefix}{path.name}")
            shutil.copyfile(path, target)


def test_nobody_comes_back_by_replaying_the_original_files(erased, tmp_path):
    landed_again(erased, "again-")
    cdp(erased.workspace, "run", "--as-of", RETAIL_AS_OF)
    nobody_came_back(erased, erased.workspace)
    with open_lake(erased.workspace, read_only=True) as lake:
        again = lake.rows(
            "select sum(suppressed), sum(lines - accepted - duplicates - quarantined - suppressed) from ops__reconciliation where file like 'again-%'"
        )
    assert again[0][0] > MANY
    assert again[0][1] == 0
    nothing_names_them(erased, tmp_path)


def test_nobody_comes_back_by_a_rebuild_from_scratch(erased):
    """The lake is made again from the landing files alone, over which the originals were put back."""
    landed_again(erased, "")
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
