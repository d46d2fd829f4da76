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
from cdp.settings import Settings
from cdp.store.connect import connect, database, owner_address
from cdp.workspace import Workspace

RESULT = Path(__file__).parent / "results" / "kills.json"
AS_OF = "2026-02-01"


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


def measured(workspace: Workspace, as_of: str) -> tuple[float, float, float]:
    """Run undisturbed; returns its length and when publish began and ended, in seconds after the start."""
    began = time.monotonic()
    process = start(workspace, as_of)
    publish = (0.0, 0.0)
    assert process.stderr is not None
    for line in process.stderr:
        if found := re.match(r"\s+ops__published\s+([\d.]+) s", line):
            now = time.monotonic() - began
            publish = (now - float(found[1]), now)
    if process.wait() != 0:
        raise RuntimeError("the undisturbed run failed")
    return time.monotonic() - began, *publish


def moments(length: float, publish: tuple[float, float], kills: int) -> list[float]:
    """Kill times: three inside publish, the others spread over the rest of the run."""
    inside = [publish[0] + share * (publish[1] - publish[0]) for share in (0.25, 0.55, 0.85)][: max(1, kills // 3)]
    rest = kills - len(inside)
    return sorted(inside + [length * (number + 1) / (rest + 1) for number in range(rest)])


def killed(workspace: Workspace, as_of: str, after: float) -> str:
    """Start a run, kill it after this many seconds, run again; returns the last line before the kill."""
    process = start(workspace, as_of)
    time.sleep(after)
    process.send_signal(signal.SIGKILL)
    _, messages = process.communicate()
    again = start(workspace, as_of)
    _, errors = again.communicate()
    if again.returncode != 0:
        raise RuntimeError(f"the run after the kill failed:\n{errors}")
    lines = [line.strip() for line in messages.splitlines() if re.match(r"\s+\w+__?\w+ ", line)]
    return lines[-1].split()[0] if lines else "start"


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
            "lots": "select entry_id::text, remaining from ledger_lots",
            "deficits": "select debit_id::text, amount from ledger_deficits",
        }
        found: dict[str, Any] = {name: sorted(store.execute(query).fetchall()) for name, query in queries.items()}
        profiles = store.execute("select customer_id::text, kind, profile::text from profiles").fetchall()
        waiting = store.execute("select count(*) from changes where position is null").fetchall()
        living = store.execute("select count(*) from customers where retired_at is null").fetchall()
    found["partition"] = [(record, first[customer]) for record, customer in rows]
    found["profiles"] = sorted((first[customer], kind, profile) for customer, kind, profile in profiles)
    found["unsequenced changes"] = waiting
    found["living customers"] = living
    return found


def prove(case: Path, kills: int, as_of: str, folder: Path) -> dict[str, Any]:
    """Measure, kill, compare; every kill in a workspace of its own."""
    alone = prepare(folder / "alone", case)
    length, began, ended = measured(alone, as_of)
    wanted = state(alone)
    result: dict[str, Any] = {"seconds": round(length, 1), "publish": [round(began, 1), round(ended, 1)], "kills": []}
    for number, moment in enumerate(moments(length, (began, ended), kills)):
        workspace = prepare(folder / f"kill{number}", case)
        last = killed(workspace, as_of, moment)
        got = state(workspace)
        differs = [name for name in wanted if got[name] != wanted[name]]
        result["kills"].append({"after": round(moment, 1), "last step done": last, "differs": differs})
        print(json.dumps(result["kills"][-1]), file=sys.stderr, flush=True)
        subprocess.run(
            [sys.executable, "-m", "cdp", "stop"], env=os.environ | {"CDP_HOME": str(workspace.home)}, check=True
        )
    return result


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--case", type=Path, required=True)
    parser.add_argument("--kills", type=int, default=10)
    parser.add_argument("--as-of", default="2011-12-10")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        result = prove(arguments.case, arguments.kills, arguments.as_of, Path(folder))
    RESULT.write_text(json.dumps(result, indent=1) + "\n")
    print(json.dumps(result))
    sys.exit(any(kill["differs"] for kill in result["kills"]))


if __name__ == "__main__":
    main()
