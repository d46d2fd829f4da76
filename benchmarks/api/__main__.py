"""Lookup by identifier with consents and loyalty, against a bare FastAPI handler with psycopg.

    python -m benchmarks.api [--profiles 1000000] [--seconds 20] [--rate 200] [--home FOLDER]

One API worker, its clients in another process, PostgreSQL beside them. Peak: eight clients that ask again at once, our
lookup and the bare handler in turns. Latency: so many requests a second, timed from when each was due. The bare handler
returns documents that are our own answers. Writes results/api.json.
"""

import argparse
import json
import multiprocessing
import os
import statistics
import subprocess
import sys
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from psycopg.types.json import Jsonb

from benchmarks.api import load, population
from benchmarks.api.load import Question
from benchmarks.serving import Served
from cdp.cli.pipeline import initialise
from cdp.settings import Settings
from cdp.store import keys
from cdp.store.connect import connect, database, owner_address
from cdp.workspace import Workspace

RESULTS = Path(__file__).parents[1] / "results"
ASKED = 2_000  # different identifiers


def prepared(home: Path, profiles: int) -> Workspace:
    """The workspace, made where it is not there yet."""
    made = initialise(Settings(home=home))
    with database(made):
        with connect(owner_address(made)) as store:
            there = int(store.execute("select count(*) from profiles").fetchall()[0][0])
        if not there:
            population.town(made)
        if there < profiles:
            population.multiply(made, profiles)
    return made


def questions(made: Workspace) -> tuple[str, list[bytes]]:
    """A key, and lookups of e-mails and cards of customers all over the store."""
    with connect(owner_address(made)) as store:
        name = f"benchmark-{datetime.now(UTC).timestamp()}"
        key = keys.create(
            store,
            made.secrets["pepper"],
            name,
            ["profiles:read", "loyalty:read"],
            datetime.now(UTC),
            rate_limit=10_000_000,
        )
        share = 100 * 4 * ASKED / int(store.execute("select count(*) from identifiers").fetchall()[0][0])
        rows = store.execute(
            f"select type, value from identifiers tablesample system ({min(100, max(share, 0.5))}) repeatable (7) join assignment using (record_id) "
            "where type in ('email', 'card') order by md5(value) limit %s",
            [ASKED],
        ).fetchall()
    return key, [json.dumps({"type": kind, "value": value, "include": ["loyalty"]}).encode() for kind, value in rows]


def bare(made: Workspace, ours: Question) -> tuple[Question, subprocess.Popen[bytes]]:
    """The baseline, with our own answers as its documents."""
    with connect(owner_address(made)) as store:
        store.execute("drop table if exists bare_documents")
        store.execute("create table bare_documents (type text, value text, document jsonb, primary key (type, value))")
        for body in ours.bodies:
            asked = json.loads(body)
            document = json.loads(load.once(ours, body))
            assert document["customers"], "nobody was found"
            store.execute(
                "insert into bare_documents values (%s, %s, %s) on conflict do nothing",
                [asked["type"], asked["value"], Jsonb(document)],
            )
        store.execute("vacuum analyze bare_documents")
    port = Served(made).port
    command = [
        sys.executable,
        "-m",
        "uvicorn",
        "--factory",
        "benchmarks.api.bare:app",
        "--port",
        str(port),
        "--log-level",
        "error",
        "--no-access-log",
    ]
    process = subprocess.Popen(command, env=os.environ | {"BARE_DATABASE": owner_address(made).conninfo})
    question = Question(port, "/lookup", "none", ours.bodies)
    for _ in range(100):
        try:
            load.once(question, ours.bodies[0])
            break
        except OSError:
            time.sleep(0.1)
    return question, process


def measure(made: Workspace, seconds: float, rate: float) -> dict[str, Any]:
    """Peak of both in turns, then latency of ours at a rate."""
    key, bodies = questions(made)
    server = Served(made)
    server.start()
    ours = Question(server.port, "/v1/customers/lookup", key, bodies)
    other, process = bare(made, ours)
    found: dict[str, list[dict[str, float]]] = {"ours": [], "bare": []}
    with multiprocessing.get_context("spawn").Pool(1) as clients:
        for question in (ours, other):  # warm
            clients.apply(load.closed, [question, 2.0])
        for _ in range(3):
            for name, question in (("ours", ours), ("bare", other)):
                found[name].append(clients.apply(load.closed, [question, seconds / 3]))
                print(name, found[name][-1], file=sys.stderr, flush=True)
        at_rate = clients.apply(load.paced, [ours, seconds, rate])
        bare_at_rate = clients.apply(load.paced, [other, seconds, rate])
    server.kill()
    process.kill()
    peak = {name: statistics.median(one["a second"] for one in runs) for name, runs in found.items()}
    sizes = [len(load_one) for load_one in bodies]
    return {
        "identifiers asked": len(bodies), "request bytes": round(statistics.mean(sizes)), "peak a second": peak,
        "of bare": round(peak["ours"] / peak["bare"], 3), f"at {rate:.0f} a second": at_rate, f"bare at {rate:.0f} a second": bare_at_rate,
    }  # fmt: skip


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--profiles", type=int, default=1_000_000)
    parser.add_argument("--seconds", type=float, default=20)
    parser.add_argument("--rate", type=float, default=200)
    parser.add_argument("--home", type=Path, help="A workspace to keep, so that the next measurement need not make it.")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        made = prepared(asked.home or Path(folder) / "home", asked.profiles)
        with database(made):
            with connect(owner_address(made)) as store:
                count = int(store.execute("select count(*) from profiles").fetchall()[0][0])
            result = {"profiles": count, **measure(made, asked.seconds, asked.rate)}
    RESULTS.joinpath("api.json").write_text(json.dumps(result, indent=1) + "\n")
    print(json.dumps(result))
    return 0


if __name__ == "__main__":
    sys.exit(main())
