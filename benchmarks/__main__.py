"""`make prove`: every long proof, one after the other; those whose result is there are left out (delete it to repeat)."""

import os
import subprocess
import sys
from pathlib import Path

RESULTS = Path(__file__).parent / "results"
REFERENCE = Path(os.environ.get("CDP_REFERENCE_DATA", Path(__file__).resolve().parents[1].parent / "shared" / "data"))
PROOFS = {"big_file": [], "identity": [], "kills": ["--case", str(REFERENCE / "retail_case")]}


def main() -> int:
    failed = 0
    for name, arguments in PROOFS.items():
        if (RESULTS / f"{name}.json").exists():
            print(f"{name}: done before")
            continue
        print(f"{name} ...", flush=True)
        failed += subprocess.run([sys.executable, "-m", f"benchmarks.{name}", *arguments], check=False).returncode != 0
    return failed


if __name__ == "__main__":
    sys.exit(main())
