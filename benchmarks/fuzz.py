"""Every endpoint against its own OpenAPI: schemathesis with examples, coverage, fuzzing and the stateful phase, over a real server.

    python -m benchmarks.fuzz [--cases 20000] [--people 250]

What must hold of every answer: no server error, no undeclared status, content type, header or body. That a request which fits the
schema may be refused for what it means (an unknown customer, a spent balance) is no fault: `positive_data_acceptance` is left out.
Writes results/fuzz.json.
"""

import argparse
import json
import os
import re
import subprocess
import sys
import tempfile
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from benchmarks.ledger import workspace
from benchmarks.serving import Served
from cdp.simulate.write import simulate
from cdp.store import keys
from cdp.store.connect import connect, owner_address
from cdp.workspace import Workspace

RESULT = Path(__file__).parent / "results" / "fuzz.json"
EXCLUDED = "positive_data_acceptance"
ROUND = 120  # seconds of one round


def prove(made: Workspace, cases: int, seconds: int = ROUND, examples: int = 20) -> dict[str, Any]:
    """Rounds of all phases with seeds of their own until there were so many cases; stops at the first that finds something."""
    with connect(owner_address(made)) as store:
        key = keys.create(
            store, made.secrets["pepper"], "fuzz", ["admin"], datetime.now(UTC), source="web", rate_limit=1_000_000_000
        )
    server, done, rounds, failures = Served(made), 0, 0, ""
    server.start()
    try:
        while done < cases and not failures:
            rounds += 1
            command = [
                str(Path(sys.executable).parent / "schemathesis"), "run", f"http://127.0.0.1:{server.port}/openapi.json", "--header", f"Authorization: Bearer {key}",
                "--header", "Purpose: service", "--phases", "examples,coverage,fuzzing,stateful", "--exclude-checks", EXCLUDED, "--max-examples", str(examples),
                "--max-time", str(seconds), "--seed", str(rounds), "--no-color", "--no-shrink", "--continue-on-failure", "--request-timeout", "35",
                "--generation-database", "none",
            ]  # fmt: skip
            said = subprocess.run(command, capture_output=True, text=True, check=False, cwd=tempfile.gettempdir())
            found = re.search(r"([\d,]+) generated", said.stdout)
            if found is None:
                failures = said.stdout + said.stderr
                break
            done += int(found[1].replace(",", ""))
            failures = said.stdout if said.returncode else ""
            print(f"round {rounds}: {done:,} cases", file=sys.stderr, flush=True)
    finally:
        server.kill()
    return {"cases": done, "rounds": rounds, "wrong": int(bool(failures)), "said": failures}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cases", type=int, default=20_000)
    parser.add_argument("--people", type=int, default=250)
    asked = parser.parse_args()
    with workspace() as made:
        simulate(asked.people, "5", made.home, datetime.now(UTC) - timedelta(days=1))
        subprocess.run([sys.executable, "-m", "cdp", "run"], env=os.environ | {"CDP_HOME": str(made.home)}, check=True)
        found = prove(made, asked.cases)
    RESULT.write_text(json.dumps({k: v for k, v in found.items() if k != "said"}, indent=1) + "\n")
    print(found["said"] or json.dumps(found))
    return found["wrong"]


if __name__ == "__main__":
    sys.exit(main())
