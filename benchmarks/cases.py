"""How well people are told apart in simulated cases of several seeds, through the pipeline, against their truth.

    python -m benchmarks.cases [--people 2000] [--seeds 1 2 3]

Simulated people prove that nothing depends on one case; the quality of matching is told by real files (benchmarks.identity, the
reference case). Writes results/cases.json.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from cdp.cli.pipeline import initialise
from cdp.lake.engine import open_lake
from cdp.scores import linkable, score
from cdp.settings import Settings
from cdp.simulate.write import simulate
from cdp.store.connect import database

RESULT = Path(__file__).parent / "results" / "cases.json"
UNTIL = datetime(2026, 2, 28, tzinfo=UTC)


def measured(seed: str, people: int, folder: Path) -> dict[str, Any]:
    """One case through the pipeline: seconds of the run, and the scores of its customers."""
    workspace = initialise(Settings(home=folder / "home"))
    simulate(people, seed, folder / "case", UNTIL)
    shutil.copytree(folder / "case" / "landing", workspace.path("landing"), dirs_exist_ok=True)
    with database(workspace):
        began = time.monotonic()
        command = [sys.executable, "-m", "cdp", "run", "--as-of", "2026-03-01"]
        done = subprocess.run(
            command, env=os.environ | {"CDP_HOME": str(workspace.home)}, check=False, capture_output=True, text=True
        )
        seconds = time.monotonic() - began
        if done.returncode:
            raise RuntimeError(done.stderr[-2000:])
        with open_lake(workspace, read_only=True) as lake:
            predicted = dict(lake.rows("select record_id, customer_id from core__record_customers"))
    found = score(predicted, linkable(folder / "case" / "truth" / "records.csv"))
    return {"seed": seed, "records": len(predicted), **found.figures(), "seconds": round(seconds, 1)}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--people", type=int, default=2000)
    parser.add_argument("--seeds", nargs="+", default=["1", "2", "3"])
    asked = parser.parse_args()
    rows = []
    for seed in asked.seeds:
        with tempfile.TemporaryDirectory() as folder:
            rows.append(measured(seed, asked.people, Path(folder)))
        print(json.dumps(rows[-1]), flush=True)
    RESULT.write_text(json.dumps(rows, indent=1) + "\n")
    return int(any(row["precision"] < 0.99 for row in rows))


if __name__ == "__main__":
    sys.exit(main())
