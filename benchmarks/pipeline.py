"""A day's new data through the whole pipeline, against the full run over all that came before it.

    python -m benchmarks.pipeline [--people 230000] [--home FOLDER]

230,000 simulated people are about a million contact records. The last hundredth of the newest file of every channel, in the
order of its lines, is held back, so that about 1% is new: receipts, visits and tickets of people who are known and of people
who are not. Figures: seconds of both runs as their user sees them (`cdp run`), and what linking and clustering take of them.
"""

import argparse
import gzip
import json
import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

RESULT = Path(__file__).parent / "results" / "pipeline.json"
PEOPLE = 230_000
SHARE = 0.01
MEMORY = "6GB"  # of DuckDB: the default is for a machine with little
UNTIL = datetime(2026, 11, 1, tzinfo=UTC)
LINKING = ("dictionaries", "linking_keys", "identifier_sharing", "core__identifier_holders", "core__payloads", "core__identifier_edges",
           "core__model", "payload_pairs", "core__probabilistic_edges", "core__edges", "clusters")  # fmt: skip


def cdp(home: Path, *arguments: str) -> tuple[float, str]:
    """Type a command as a user would; returns seconds and what it said."""
    began = time.monotonic()
    done = subprocess.run(
        [sys.executable, "-m", "cdp", *arguments],
        env={"CDP_MEMORY_LIMIT": MEMORY} | os.environ | {"CDP_HOME": str(home)}, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False,
    )  # fmt: skip
    if done.returncode:
        raise SystemExit(done.stdout[-2000:])
    return time.monotonic() - began, done.stdout


def halves(landing: Path) -> Iterator[tuple[Path, bytes, bytes]]:
    """Every file as (path, lines that come first, lines that come last): the newest file of a channel gives its end."""
    for folder in sorted(path for path in landing.iterdir() if path.is_dir()):
        files = sorted(path for path in folder.iterdir() if path.is_file())
        sizes = {path: gzip.decompress(path.read_bytes()).splitlines(keepends=True) for path in files}
        newest = max((path for path in files if "late" not in path.name), default=None)
        held = round(SHARE * sum(map(len, sizes.values())))
        for path, lines in sizes.items():
            cut = len(lines) - held if path == newest else len(lines)
            header = lines[:1] if path.name.endswith(".csv.gz") else []
            yield path, b"".join(lines[:cut]), b"".join(header + lines[cut:]) if path == newest and held else b""


def timed_run(home: Path) -> dict[str, Any]:
    seconds, said = cdp(home, "run", "--as-of", f"{UNTIL + timedelta(days=1):%Y-%m-%d}")
    steps = {name: float(spent) for name, spent in re.findall(r"^\s+(\w+)\s+([\d.]+) s$", said, re.MULTILINE)}
    slowest = dict(sorted(steps.items(), key=lambda step: -step[1])[:15])
    return {"seconds": round(seconds, 1), "linking": round(sum(steps[name] for name in LINKING), 1), "slowest": slowest}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--people", type=int, default=PEOPLE)
    parser.add_argument("--home", type=Path, help="keep the workspace there")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        home, case = asked.home or Path(folder) / "home", Path(folder) / "case"
        cdp(home, "simulate", "--people", str(asked.people), "--until", f"{UNTIL:%Y-%m-%d}", "--out", str(case))
        cdp(home, "init")
        later = []
        for path, first, last in halves(case / "landing"):
            target = home / "landing" / path.parent.name / path.name
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(gzip.compress(first, 1))
            if last:
                later.append((target.with_name(f"next-{path.name}"), gzip.compress(last, 1)))
        result: dict[str, Any] = {"people": asked.people, "full": timed_run(home)}
        result["records"] = int(
            json.loads(cdp(home, "sql", "select count(*) as n from core__contact_records", "--format", "json")[1])[0][
                "n"
            ]
        )
        print(json.dumps(result, indent=1), flush=True)
        for target, content in later:
            target.write_bytes(content)
        result["next"] = timed_run(home)
        cdp(home, "stop")
    full, after = result["full"], result["next"]
    result["pipeline_share"] = round(after["seconds"] / full["seconds"], 4)
    result["linking_share"] = round(after["linking"] / full["linking"], 4)
    result["linking_share_of_the_run"] = round(after["linking"] / full["seconds"], 4)
    print(json.dumps(result, indent=1))
    kept = RESULT if asked.people >= PEOPLE else RESULT.with_name(f"pipeline_{asked.people}.json")
    kept.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
