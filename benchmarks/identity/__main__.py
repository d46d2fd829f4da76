"""Ours, a bare Splink recipe and GoldenMatch on the same files in one go.

    python -m benchmarks.identity [--file FILE --id ID --truth TRUTH] [--goldenmatch PYTHON]

Every system gets the file without its truth, at its own default threshold; the best threshold that the truth could have
chosen is printed beside the baselines. GoldenMatch needs a Python that has it; without one, a virtual environment is made.
"""

import argparse
import csv
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
import venv
from pathlib import Path
from typing import Any

import polars as pl
import psutil

from cdp.scores import Scores, score
from cdp.texttable import table

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
REFERENCE = Path(os.environ.get("CDP_REFERENCE_DATA", ROOT.parent / "shared" / "data"))
RESULT = HERE.parent / "results" / "identity.json"
LEAST = {"historical_50k.parquet": (0.89, 0.91, 0.05), "fake_1000.csv": (0.93, 0.0, 0.0)}  # F1, B-cubed, F1 ahead of both
CASES = (("historical_50k.parquet", "unique_id", "cluster"), ("fake_1000.csv", "unique_id", "cluster"))
HEADERS = [
    "file",
    "system",
    "precision",
    "recall",
    "F1",
    "B-cubed",
    "largest",
    "seconds",
    "MB",
    "best F1 with the truth",
]


def measured(command: list[str]) -> tuple[float, float]:
    """Run a command; seconds and peak resident megabytes of its process and of those that it starts."""
    began = time.monotonic()
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    peak = 0.0

    def watch() -> None:
        nonlocal peak
        while process.poll() is None:
            try:
                own = psutil.Process(process.pid)
                peak = max(peak, sum(each.memory_info().rss for each in (own, *own.children(recursive=True))) / 1e6)
            except psutil.NoSuchProcess:  # one of them has just ended
                pass
            time.sleep(0.02)

    watcher = threading.Thread(target=watch)
    watcher.start()
    _, errors = process.communicate()
    watcher.join()
    if process.returncode:
        raise RuntimeError(f"{' '.join(command[:4])} failed:\n{errors[-2000:]}")
    return time.monotonic() - began, peak


def goldenmatch_python(folder: Path, given: str | None) -> str:
    """A Python that has GoldenMatch."""
    if given:
        return given
    home = folder / "goldenmatch"
    venv.create(home, with_pip=True)
    python = str(home / "bin" / "python")
    subprocess.run([python, "-m", "pip", "install", "--quiet", "goldenmatch", "polars"], check=True)
    return python


def run(file: Path, id_column: str, truth_column: str, folder: Path, golden: str) -> list[dict[str, Any]]:
    """All three on one file."""
    frame = pl.read_parquet(file) if file.suffix == ".parquet" else pl.read_csv(file, infer_schema_length=0)
    truth = [(str(a), str(b)) for a, b in frame.select(id_column, truth_column).iter_rows()]
    systems = {
        "ours": [
            sys.executable,
            "-m",
            "cdp",
            "resolve",
            str(file),
            "--id",
            id_column,
            "--truth",
            truth_column,
            "--out",
        ],
        "Splink, bare": [sys.executable, str(HERE / "splink_bare.py"), str(file), id_column, truth_column],
        "GoldenMatch": [golden, str(HERE / "goldenmatch_zero.py"), str(file), id_column, truth_column],
    }
    rows = []
    for name, command in systems.items():
        out = folder / f"{file.stem}-{name.split(',')[0]}.csv"
        print(f"{file.name}: {name} ...", file=sys.stderr, flush=True)
        seconds, megabytes = measured([*command, str(out)])
        with out.open(encoding="utf-8") as read:
            found = score({r["record_id"]: r["customer_id"] for r in csv.DictReader(read)}, truth)
        rows.append(_row(file.name, name, found, seconds, megabytes, _best(out, truth, found)))
    return rows


def _best(out: Path, truth: list[tuple[str, str]], default: Scores) -> dict[str, Any] | None:
    """The best threshold of the sweep; the default where none of its plain components does better."""
    sweep = Path(f"{out}.sweep.json")
    if not sweep.exists():
        return None
    tried = {threshold: score(dict(found), truth) for threshold, found in json.loads(sweep.read_text()).items()}
    if default.f1 >= max(found.f1 for found in tried.values()):
        return {"threshold": "default", "f1": round(default.f1, 4), "b_cubed": round(default.b_cubed, 4)}
    best = max(tried, key=lambda threshold: tried[threshold].f1)
    return {"threshold": float(best), "f1": round(tried[best].f1, 4), "b_cubed": round(tried[best].b_cubed, 4)}


def _row(
    file: str, system: str, found: Scores, seconds: float, megabytes: float, best: dict[str, Any] | None
) -> dict[str, Any]:
    measures = {"seconds": round(seconds, 1), "megabytes": round(megabytes), "best": best}
    return {"file": file, "system": system, **found.figures(), **measures}


def missed(rows: list[dict[str, Any]]) -> list[str]:
    """What ours should have reached and did not."""
    found = []
    for file, (f1, b_cubed, ahead) in LEAST.items():
        ours, *others = [row for row in rows if row["file"] == file]
        largest, true_largest = map(int, ours["largest"].split("/"))
        checks = {
            f"F1 {f1}": ours["f1"] >= f1, f"B-cubed {b_cubed}": ours["b_cubed"] >= b_cubed, "largest": largest <= 2 * true_largest,
            f"{ahead} ahead": all(ours["f1"] >= other["f1"] + ahead for other in others),
        }  # fmt: skip
        found += [f"{file}: {name}" for name, held in checks.items() if not held]
    return found


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--file", type=Path)
    parser.add_argument("--id", default="unique_id")
    parser.add_argument("--truth", default="cluster")
    parser.add_argument("--goldenmatch", help="a Python that has GoldenMatch")
    asked = parser.parse_args()
    cases = [(asked.file, asked.id, asked.truth)] if asked.file else [(REFERENCE / f, i, t) for f, i, t in CASES]
    if missing := [str(file) for file, _, _ in cases if not file.is_file()]:
        parser.error(f"{', '.join(missing)}: no such file; set CDP_REFERENCE_DATA, or give a file of your own with --file")
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        golden = goldenmatch_python(Path(folder), asked.goldenmatch)
        for file, id_column, truth in cases:
            rows += run(file.resolve(), id_column, truth, Path(folder), golden)
    shown = [
        (r["file"], r["system"], r["precision"], r["recall"], r["f1"], r["b_cubed"], r["largest"], r["seconds"], r["megabytes"],
         f"{r['best']['f1']} at {r['best']['threshold']}" if r["best"] else "")
        for r in rows
    ]  # fmt: skip
    print(table(HEADERS, shown))
    if asked.file:
        return 0
    RESULT.write_text(json.dumps(rows, indent=1) + "\n")
    print("\n".join(f"missed: {each}" for each in missed(rows)))
    return int(bool(missed(rows)))


if __name__ == "__main__":
    sys.exit(main())
