"""Live resolution over a published workspace: latency on one worker, and agreement with the batch on held-out pairs.

    CDP_HOME=... python -m benchmarks.live [--calls 2000]

Asks for people who are there, typed with errors, through the API in this process; and weighs pairs that the batch weighed.
"""

import argparse
import io
import json
import random
import time
from pathlib import Path

import psycopg
import structlog
from fastapi.testclient import TestClient

from api.app import create_app
from cdp.clock import system_now
from cdp.lake.build import sql_file
from cdp.lake.engine import Lake, open_lake
from cdp.settings import Settings
from cdp.store import keys
from cdp.store.connect import connect, database, owner_address
from cdp.workspace import Workspace, open_workspace
from identity import artefact
from identity.scorer import Scorer, complete

RESULT = Path(__file__).parent / "results" / "live.json"


def asked(workspace: Workspace, calls: int, rng: random.Random) -> list[tuple[dict[str, str], str]]:
    """Partial people with a slip in the name, and the customer each is."""
    with connect(owner_address(workspace)) as store:
        rows = store.execute(
            "select p.compared, a.customer_id::text from payloads p join assignment a using (record_id) order by md5(p.record_id) limit %s",
            [calls],
        ).fetchall()
    people = []
    for compared, customer in rows:
        family = compared["family"] or ""
        typed = family[:-1] + rng.choice("aeiou") if len(family) > 4 and rng.random() < 0.3 else family
        said = {"given_name": compared["given_key"], "family_name": typed}
        said |= {
            k: compared[k]
            for k in ("birth_date", "postal_code", "phone", "email")
            if compared.get(k) and rng.random() < 0.6
        }
        people.append(({k: v for k, v in said.items() if v}, customer))
    return people


def agreement(lake: Lake, workspace: Workspace, since: str = "") -> dict[str, float]:
    """Pairs that the batch weighed, and the share on which the compiled scorer makes the same decision.

    Args:
        lake: Holds the pairs.
        workspace: Holds the model.
        since: Only pairs of a payload whose first record is this one or later: held out where the model was learnt before.
    """
    trained = artefact.load(workspace.path("models"))
    if trained is None:
        return {}
    scorer, columns = Scorer(trained), ", ".join(trained.columns)
    lake.rows(
        "create or replace temp table chosen as with late as (select node from core__payloads group by node having min(record_id) >= $since) "
        "select * from core__scored_pairs where (l in (from late) or r in (from late)) and hash(l, r) % 97 < 10 order by l, r limit 20000",
        {"since": since},
    )
    pairs = lake.rows("select l, r, weight from chosen")
    rows = lake.records(
        f"select node, {columns} from core__payloads where node in (select l from chosen union select r from chosen)"
    )
    values = {row["node"]: complete(row, trained) for row in rows}
    same = sum(scorer.matches(values[a], values[b]) == (w >= trained.threshold) for a, b, w in pairs)
    return {"pairs_compared": len(pairs), "decisions_agree": round(same / max(len(pairs), 1), 6)}


EMPTY = "{'value': null, 'record_id': null}"
SERVE = {
    "customers": "select distinct md5(cluster_id)::uuid::varchar as customer_id, timestamptz '2026-01-01' as created_at from core__clusters",
    "assignment": "select record_id, md5(cluster_id)::uuid::varchar as customer_id, 1 as position from core__clusters",
    "contact_records": "select record_id, source, kind, source_key, first_seen, last_seen, 99.0 as link_weight, "
    "to_json({'given_key': given_key}) as fields, '' as row_hash from core__contact_records",
    "identifiers": "select distinct on (record_id, type, value) record_id, type, value, first_seen, last_seen, '' as row_hash from core__record_identifiers",
    "profiles": "select distinct on (md5(cluster_id)) md5(cluster_id)::uuid::varchar as customer_id, 'known' as kind, to_json({'name': "
    "{'given_name': r.given_name, 'family_name': r.family_name, 'full_name': r.full_name, 'record_id': record_id}, "
    + ", ".join(
        f"'{field}': {EMPTY}"
        for field in ("birth_date", "email", "phone", "postal_code", "city", "country", "language")
    )
    + "}) as profile, '' as row_hash from core__clusters join core__contact_records r using (record_id)",
}


def serve(lake: Lake, store: psycopg.Connection, folder: Path) -> None:
    """Put what live resolution reads into the store, as publish would, in bulk."""
    payloads = sql_file("publish", "payloads").sql
    queries = SERVE | {
        "payloads": f"select record_id, compared, '{{' || array_to_string(keys, ',') || '}}' as keys, '' as row_hash from ({payloads})"
    }
    for table, query in queries.items():
        path = folder / f"{table}.csv"
        lake.rows(f"copy ({query}) to '{path}' (format csv, header)")
        columns = path.open(encoding="utf-8").readline().strip()
        with (
            store.cursor() as cursor,
            cursor.copy(f"copy {table} ({columns}) from stdin (format csv, header)") as copy,  # type: ignore[arg-type]
            path.open("rb") as file,
        ):
            while chunk := file.read(1 << 20):
                copy.write(chunk)
        path.unlink()
    store.execute("vacuum analyze")


def measure(workspace: Workspace, calls: int) -> dict[str, float]:
    """Latency of calls through the API in this process, one after the other, and agreement with the batch."""
    # what the service logs goes beside its own output, not among the benchmark's; it is made up all the same
    structlog.configure(logger_factory=structlog.WriteLoggerFactory(io.StringIO()))
    with TestClient(create_app(workspace.settings)) as client, connect(owner_address(workspace)) as store:
        text = keys.create(
            store, workspace.secrets["pepper"], f"live-{time.time_ns()}", ["profiles:read"], system_now()
        )
        spent, right = [], 0
        for person, customer in asked(workspace, calls, random.Random(5)):
            began = time.perf_counter()
            answer = client.post("/v1/customers/resolve", json=person, headers={"Authorization": f"Bearer {text}"})
            spent.append(1000 * (time.perf_counter() - began))
            found = answer.json()["candidates"]
            right += bool(found) and found[0]["customer_id"] == customer
        records = store.execute("select count(*) from contact_records").fetchall()[0][0]
    spent = sorted(spent[20:])  # the first calls load the model
    return {
        "contact_records": records, "calls": len(spent), "p50_ms": round(spent[len(spent) // 2], 1), "p95_ms": round(spent[int(len(spent) * 0.95)], 1),
        "p99_ms": round(spent[int(len(spent) * 0.99)], 1), "first_is_the_customer": round(right / (len(spent) + 20), 4),
    }  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--calls", type=int, default=2_000)
    calls = parser.parse_args().calls
    workspace = open_workspace(Settings())
    with database(workspace), open_lake(workspace, read_only=True) as lake:
        result = measure(workspace, calls) | agreement(lake, workspace)
    RESULT.write_text(json.dumps(result, indent=1) + "\n")
    print(json.dumps(result, indent=1))


if __name__ == "__main__":
    main()
