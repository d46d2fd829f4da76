"""`make prove`: every long proof, one after the other; those whose result is there are left out (delete it to repeat)."""

import os
import subprocess
import sys
from pathlib import Path

RESULTS = Path(__file__).parent / "results"
REFERENCE = Path(os.environ.get("CDP_REFERENCE_DATA", Path(__file__).resolve().parents[1].parent / "shared" / "data"))
PROOFS = {
    "big_file": ["big_file"], "identity": ["identity"], "kills": ["kills", "--case", str(REFERENCE / "retail_case")],
    "ledger_race": ["ledger", "race"], "ledger_life": ["ledger", "life"], "ledger_speed": ["ledger", "speed"],
    "offers_preview": ["offers", "preview"], "offers_race": ["offers", "race"], "api_kills": ["api_kills"], "intake": ["intake"], "fuzz": ["fuzz"],
    "feed": ["feed"], "api": ["api"], "scale": ["scale"], "scale_3000000": ["scale", "--records", "3000000", "--no-increment", "--no-live"],
    "cases": ["cases"], "pipeline": ["pipeline"], "overhead": ["overhead"], "nothing_new": ["nothing_new", "--case", str(REFERENCE / "retail_case")],
}  # fmt: skip


def main() -> int:
    failed = 0
    for name, (module, *arguments) in PROOFS.items():
        if (RESULTS / f"{name}.json").exists():
            print(f"{name}: done before")
            continue
        print(f"{name} ...", flush=True)
        if subprocess.run([sys.executable, "-m", f"benchmarks.{module}", *arguments], check=False).returncode:
            failed += 1
            (RESULTS / f"{name}.json").unlink(missing_ok=True)  # else it would be "done before" the next time
    return failed


if __name__ == "__main__":
    sys.exit(main())
