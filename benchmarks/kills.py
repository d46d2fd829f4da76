"""`kill -9` at moments spread over a run, three of them inside publish; the next run ends as if nothing had happened.

    python -m benchmarks.kills [--case DIR] [--kills 10]

The end state is compared up to the names of ids: partition, profiles, consent decisions, ledger and served rows.
"""

import argparse
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from cdp.cli.pipeline import initialise
from cdp.lake.engine import open_lake
from cdp.lake.register import NEWEST
from cdp.settings import Settings
from cdp.store.connect import connect, database, owner_address
from cdp.workspace import Workspace

RESULT = Path(__file__).parent / "results" / "kills.json"
AS_OF = "2026-02-01"
STEP = re.compile(r"\s+(\w+__\w+) ")


def prepare(home: Path, case: Path) -> Workspace:
    """A new workspace with the case's landing files."""
    workspace = initialise(Settings(home=home))
    shutil.copytree(case / "landing", workspace.path("landing"), dirs_exist_ok=True)
    return workspace


def start(workspace: Workspace, as_of: str) -> subprocess.Popen[str]:
    """`cdp run` in a process of its own."""
    command = [sys.executable, "-m", "cdp", "run", "--as-of", as_of]
    return subprocess.Popen(
        command, env=os.environ | {"CDP_HOME": str(workspace.home)}, stderr=subprocess.PIPE, text=True
    )


def measured(workspace: Workspace, as_of: str) -> tuple[float, float, float, str]:
    """Run undisturbed; returns its length, when publish began and ended (seconds after the start), and the step before it."""
    began = time.monotonic()
    process = start(workspace, as_of)
    publish, before, last = (0.0, 0.0), "", ""
    assert process.stderr is not None
    for line in process.stderr:
        if found := re.match(r"\s+ops__published\s+([\d.]+) s", line):
            now = time.monotonic() - began
            publish, before = (now - float(found[1]), now), last
        if step := STEP.match(line):
            last = step[1]
    if process.wait() != 0:
        raise RuntimeError("the undisturbed run failed")
    return time.monotonic() - began, *publish, before


def moments(length: float, kills: int, inside: int) -> list[tuple[str, float]]:
    """When to kill: `after` the start of the run in seconds, or `inside` publish when a share of the profiles is there."""
    spread = kills - inside
    after = [("after", length * (number + 1) / (spread + 1)) for number in range(spread)]
    return after + [("inside", (number + 0.7) / (inside + 0.4)) for number in range(inside)]


def killed(workspace: Workspace, as_of: str, when: tuple[str, float], profiles: int, before: str) -> str:
    """Start a run, kill it, run again; returns the last step done before the kill.

    Inside publish it is killed after the step `before` it, by what is published, not by the clock: a busy machine moves that.
    """
    process = start(workspace, as_of)
    lines: list[str] = []
    assert process.stderr is not None
    if when[0] == "inside":
        for line in process.stderr:
            lines.append(line)
            if (step := STEP.match(line)) and step[1] == before:
                break
        _wait_for(workspace, max(1, int(when[1] * profiles)))
    else:
        time.sleep(when[1])
    process.send_signal(signal.SIGKILL)
    lines += process.communicate()[1].splitlines()
    again = start(workspace, as_of)
    _, errors = again.communicate()
    if again.returncode != 0:
        raise RuntimeError(f"the run after the kill failed:\n{errors}")
    done = [step[1] for line in lines if (step := STEP.match(line))]
    return done[-1] if done else "start"


def _wait_for(workspace: Workspace, profiles: int) -> None:
    with connect(owner_address(workspace)) as store:
        until = time.monotonic() + 120
        while time.monotonic() < until:
            if store.execute("select count(*) from profiles").fetchall()[0][0] >= profiles:
                return
            time.sleep(0.002)
    raise RuntimeError("publish does not begin")


def state(workspace: Workspace) -> dict[str, Any]:
    """The end state, with customers named by their first record."""
    with database(workspace), connect(owner_address(workspace)) as store:
        rows = store.execute("select record_id, customer_id::text from assignment order by record_id").fetchall()
        first: dict[str, str] = {}
        for record, customer in rows:
            first.setdefault(customer, record)
        queries = {
            "contact_records": "select record_id, row_hash from contact_records",
            "identifiers": "select record_id, type, value, row_hash from identifiers",
            "edges": "select left_id, right_id, type, row_hash from edges",
            "orders": "select order_id, row_hash, md5(details::text) from orders",
            "interactions": "select interaction_id, row_hash from interactions",
            "consents": "select decision_id, status, subject from consent_decisions",
            "entries": "select entry_id::text, account_id, amount, kind, occurred_at::text from ledger_entries",
            "lots": "select lot_id::text, remaining from ledger_lots",
            "deficits": "select transaction_id::text, account_id, amount from ledger_deficits",
        }
        found: dict[str, Any] = {name: sorted(store.execute(query).fetchall()) for name, query in queries.items()}
        profiles = store.execute("select customer_id::text, kind, profile::text from profiles").fetchall()
        waiting = store.execute("select count(*) from changes where position is null").fetchall()
        living = store.execute("select count(*) from customers where retired_at is null").fetchall()
        with open_lake(workspace, read_only=True) as lake:
            counted = lake.rows(
                "select source, file, lines, accepted, duplicates, quarantined from ops__reconciliation"
            )
            held = lake.rows(f"select table_name, rows from (select * from ops__builds {NEWEST}) where table_name not like '%#%'")
    found["partition"] = [(record, first[customer]) for record, customer in rows]
    found["profiles"] = sorted((first[customer], kind, profile) for customer, kind, profile in profiles)
    found["unsequenced changes"] = waiting
    found["reconciliation"], found["rows of the lake"] = sorted(counted), sorted(held)
    found["living customers"] = living
    return found


def prove(case: Path, kills: int, inside: int, as_of: str, folder: Path) -> dict[str, Any]:
    """Measure, kill, compare; every kill in a workspace of its own."""
    alone = prepare(folder / "alone", case)
    length, began, ended, before = measured(alone, as_of)
    wanted = state(alone)
    result: dict[str, Any] = {
        "seconds": round(length, 1),
        "publish": [round(began, 1), round(ended, 1)],
        "before publish": before,
        "kills": [],
    }
    for number, moment in enumerate(moments(length, kills, inside)):
        workspace = prepare(folder / f"kill{number}", case)
        last = killed(workspace, as_of, moment, len(wanted["profiles"]), before)
        got = state(workspace)
        differs = [name for name in wanted if got[name] != wanted[name]]
        result["kills"].append({moment[0]: round(moment[1], 2), "last step done": last, "differs": differs})
        print(json.dumps(result["kills"][-1]), file=sys.stderr, flush=True)
        subprocess.run(
            [sys.executable, "-m", "cdp", "stop"], env=os.environ | {"CDP_HOME": str(workspace.home)}, check=True
        )
    return result


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--case", type=Path, required=True)
    parser.add_argument("--kills", type=int, default=10)
    parser.add_argument("--inside", type=int, default=3, help="how many of them inside publish")
    parser.add_argument("--as-of", default="2011-12-31")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        result = prove(arguments.case, arguments.kills, arguments.inside, arguments.as_of, Path(folder))
    RESULT.write_text(json.dumps(result, indent=1) + "\n")
    print(json.dumps(result))
    sys.exit(any(kill["differs"] for kill in result["kills"]))


if __name__ == "__main__":
    main()
