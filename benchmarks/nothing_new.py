"""A run over nothing new on the reference case, as its user types it; and how long the sensor takes to see that there is nothing.

    python -m benchmarks.nothing_new --case ../shared/data/retail_case [--rounds 3]

Writes results/nothing_new.json. It must take under 10 s, and no run is launched by itself. Beside it: what going through
every step for nothing costs (`--force`), and how long the sensor looks.
"""

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path

import dagster as dg

from assets.arrivals import look
from assets.launch import prepare_home
from cdp.cli.pipeline import initialise
from cdp.settings import Settings
from cdp.store.connect import database

RESULT = Path(__file__).parent / "results" / "nothing_new.json"
AS_OF = "2011-12-31"
MOST = 10.0


def run(home: Path, *options: str) -> float:
    """Seconds of `cdp run`."""
    began = time.monotonic()
    command = [sys.executable, "-m", "cdp", "run", "--as-of", AS_OF, *options]
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    subprocess.run(command, env=environment | {"CDP_HOME": str(home)}, check=True, capture_output=True)
    return time.monotonic() - began


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--case", type=Path, required=True)
    parser.add_argument("--rounds", type=int, default=3)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder) / "home"
        workspace = initialise(Settings(home=home))
        shutil.copytree(asked.case / "landing", home / "landing", dirs_exist_ok=True)
        with database(workspace):
            first = run(home)
            again = [run(home) for _ in range(asked.rounds)]
            forced = [run(home, "--force") for _ in range(asked.rounds)]
            os.environ["CDP_HOME"] = str(home)
            with dg.DagsterInstance.from_config(str(prepare_home(workspace.path("dagster")))) as instance:
                began = time.monotonic()
                found = look(workspace, instance, datetime.fromisoformat(AS_OF).replace(tzinfo=UTC))
                looked = time.monotonic() - began
    assert not found.run_requests, "nothing new is found before a run is launched"
    told = {
        "first": round(first, 1),
        "nothing new": round(statistics.median(again), 2),
        "nothing new, forced": round(statistics.median(forced), 2),
        "look of the sensor": round(looked, 3),
    }
    RESULT.write_text(json.dumps(told, indent=1) + "\n")
    print(json.dumps(told))
    return int(told["nothing new"] >= MOST)


if __name__ == "__main__":
    sys.exit(main())
