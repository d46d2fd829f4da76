"""A file of 2 GB with one line of 200 MB in it goes through the whole pipeline in under 1 GB of memory.

python -m benchmarks.big_file [--gigabytes 2]
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import psutil

RESULT = Path(__file__).parent / "results" / "big_file.json"


def write(path: Path, size: int) -> int:
    """Write a web landing file of about `size` bytes; returns its lines."""
    lines = 0
    with path.open("wb") as file:
        while file.tell() < size:
            for _ in range(10_000):
                visitor = f"{lines % 50_021:016x}"
                event = {
                    "messageId": f"big-{lines:09d}", "type": "page", "name": "Home", "anonymousId": visitor,
                    "context": {"ip": "10.0.0.1", "locale": "en-GB", "page": {"path": "/" + "x" * 400, "referrer": ""}},
                    "timestamp": f"2026-01-{1 + lines % 28:02d}T{lines % 24:02d}:00:00.000Z",
                }  # fmt: skip
                file.write(json.dumps(event).encode() + b"\n")
                lines += 1
            if lines == 1_000_000:
                file.write(b'{"messageId": "huge", "type": "page", "name": "' + b"y" * 200_000_000 + b'"}\n')
                lines += 1
    return lines


def measure(home: Path) -> tuple[int, int, float]:
    """Run the pipeline; returns its exit code, peak resident bytes of the pipeline process, and seconds."""
    started = time.monotonic()
    process = subprocess.Popen(
        [sys.executable, "-m", "cdp", "run"],
        env=os.environ | {"CDP_HOME": str(home)},
        stderr=subprocess.PIPE,
        text=True,
    )
    peak = 0

    def watch() -> None:
        nonlocal peak
        while process.poll() is None:
            try:
                peak = max(peak, psutil.Process(process.pid).memory_info().rss)
            except psutil.NoSuchProcess:
                return
            time.sleep(0.05)

    watcher = threading.Thread(target=watch)
    watcher.start()
    _, messages = process.communicate()
    watcher.join()
    print(messages, file=sys.stderr)
    return process.returncode, peak, time.monotonic() - started


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--gigabytes", type=float, default=2.0)
    size = int(parser.parse_args().gigabytes * 1e9)
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder) / "home"
        subprocess.run([sys.executable, "-m", "cdp", "init"], env=os.environ | {"CDP_HOME": str(home)}, check=True)
        lines = write(home / "landing" / "web" / "big.jsonl", size)
        code, peak, seconds = measure(home)
    result = {"bytes": size, "lines": lines, "exit": code, "peak_rss_bytes": peak, "seconds": round(seconds, 1)}
    RESULT.parent.mkdir(exist_ok=True)
    RESULT.write_text(json.dumps(result, indent=1) + "\n")
    print(json.dumps(result))
    sys.exit(code or peak > 1_000_000_000)


if __name__ == "__main__":
    main()
