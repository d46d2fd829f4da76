"""What the platform's own graph costs over empty input, against an empty Dagster graph of the same size in the same run.

    python -m benchmarks.overhead [--rounds 3]

Both run in one process each and start alike, definitions and instance included, each on its own instance of the same
storage that has runs before it. Writes results/overhead.json.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

from cdp.cli.pipeline import initialise
from cdp.settings import Settings

RESULT = Path(__file__).parent / "results" / "overhead.json"
OURS = """
import time
from assets import launch
from assets.definitions import defs
from cdp.settings import Settings
from cdp.store.connect import database
from cdp.workspace import open_workspace
workspace = open_workspace(Settings())
defs().resolve_job_def("cdp_run")  # so that imports count for neither
with database(workspace):
    began = time.monotonic()
    assert launch.run_job(workspace.path("dagster"), as_of="2026-03-01")[0]
    print(time.monotonic() - began)
"""
EMPTY = """
import time, os
from pathlib import Path
import dagster as dg
from assets import launch
from assets.definitions import defs
from assets.progress import progress
ours = defs().resolve_asset_graph()
nodes = [(key, list(ours.get(key).parent_keys)) for key in ours.materializable_asset_keys]
checks = list(ours.asset_check_keys)
def empty(key, parents):
    @dg.asset(key=key, deps=parents)
    def made(): return dg.MaterializeResult()
    return made
def check(key):
    @dg.asset_check(asset=key.asset_key, name=key.name)
    def made(): return dg.AssetCheckResult(passed=True)
    return made
def job():
    # a table of a multi-asset is a step here too: the empty graph has at least as many
    graph = dg.Definitions(assets=[empty(*node) for node in nodes], asset_checks=[check(key) for key in checks],
                           jobs=[dg.define_asset_job("empty", executor_def=dg.in_process_executor)], loggers={"progress": progress})
    return graph.resolve_job_def("empty")
job()
began = time.monotonic()
assert launch.execute(job(), Path(os.environ["CDP_HOME"]) / "empty", {})[0]
print(time.monotonic() - began)
"""


def measured(home: Path, code: str) -> float:
    done = subprocess.run(
        [sys.executable, "-c", code],
        env=os.environ | {"CDP_HOME": str(home)},
        capture_output=True,
        text=True,
        check=True,
    )
    return float(done.stdout.splitlines()[-1])


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder) / "home"
        initialise(Settings(home=home))
        first = measured(home, OURS)
        pairs = [(measured(home, OURS), measured(home, EMPTY)) for _ in range(asked.rounds)]
        subprocess.run([sys.executable, "-m", "cdp", "stop"], env=os.environ | {"CDP_HOME": str(home)}, check=False)
    ours, empty = (statistics.median(values) for values in zip(*pairs, strict=True))
    found = {"seconds over empty input": round(ours, 2), "the very first": round(first, 2), "empty graph": round(empty, 2), "ratio": round(ours / empty, 2)}  # fmt: skip
    RESULT.write_text(json.dumps(found, indent=1) + "\n")
    print(json.dumps(found))
    return int(found["ratio"] > 1.5)


if __name__ == "__main__":
    sys.exit(main())
