"""The change feed under fire: writers and readers that are killed with -9 again and again; nothing missed, order kept.

    python -m benchmarks.feed [--changes 500000] [--kills 200]

Eight writers, each a process that changes its own customers, some rows a transaction, each row numbered by what is
committed. Three readers, each a process that follows `GET /v1/changes` over HTTP, keeps what it read in a file and its cursor
beside it. Whoever is killed starts again from what it kept. In the end every reader must hold every change of every customer
once, in the order in which it was written. Writes results/feed.json.
"""

import argparse
import json
import os
import random
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path
from typing import Any
from uuid import UUID

import httpx2 as httpx

from benchmarks.ledger import workspace
from benchmarks.serving import Served
from cdp.settings import Settings
from cdp.store import changes, keys
from cdp.store.connect import connect, owner_address
from cdp.workspace import Workspace, open_workspace

RESULTS = Path(__file__).parent / "results"
WRITERS, READERS, CUSTOMERS = 8, 3, 5


def customer(writer: int, nth: int) -> str:
    """One of a writer's customers."""
    return str(UUID(int=(0x018F << 112) | (7 << 76) | (0b10 << 62) | writer << 8 | nth))


def write(home: str, writer: int, share: int) -> None:
    """Write until so many changes of this writer are committed, beginning after those that are."""
    made, chosen = open_workspace(Settings(home=Path(home))), random.Random(f"{writer}-{time.monotonic_ns()}")
    with connect(owner_address(made)) as store:
        counts = {customer(writer, n): 0 for n in range(CUSTOMERS)}
        found = store.execute(
            "select customer_id::text, count(*) from changes where customer_id = any(%s::uuid[]) group by 1",
            [list(counts)],
        )
        counts |= dict(found.fetchall())
        while (left := share - sum(counts.values())) > 0:
            taken, rows = dict(counts), []
            for _ in range(min(left, chosen.randint(1, 50))):
                one = chosen.choice(list(taken))
                taken[one] += 1
                rows.append(("balance.changed", one, {"n": taken[one]}))
            with store.transaction(force_rollback=chosen.random() < 0.05) as block:
                changes.add(store, rows, datetime.now(UTC))
                time.sleep(chosen.random() / 300)  # others commit before
            if not block.force_rollback:
                counts = taken


def read(url: str, key: str, folder: str) -> None:
    """Follow for ever: what was read is kept first, then the cursor with the length of what was kept."""
    log, mark = Path(folder, "log"), Path(folder, "mark")
    kept = json.loads(mark.read_text()) if mark.exists() else {"cursor": None, "length": 0}
    with (
        httpx.Client(base_url=url, headers={"Authorization": f"Bearer {key}"}, timeout=60) as api,
        log.open("ab") as file,
    ):
        file.truncate(kept["length"])
        while True:
            known = {"cursor": kept["cursor"]} if kept["cursor"] else {}
            page = (
                api.get("/v1/changes", params={**known, "wait": 2, "limit": 1000, "types": "balance.changed"})
                .raise_for_status()
                .json()
            )
            for change in page["changes"]:
                file.write(f"{change['position']} {change['customer_id']} {change['details']['n']}\n".encode())
            file.flush()
            kept = {"cursor": page["next"], "length": file.tell()}
            mark.with_suffix(".new").write_text(json.dumps(kept))
            mark.with_suffix(".new").replace(mark)


def lines(folder: Path) -> int:
    """How far a reader is, by what it noted."""
    mark = folder / "mark"
    if not mark.exists():
        return 0
    return (folder / "log").read_bytes()[: json.loads(mark.read_text())["length"]].count(b"\n")


def judge(folder: Path, written: dict[str, int]) -> dict[str, int]:
    """What a reader missed, read twice, or read out of order."""
    length = json.loads((folder / "mark").read_text())["length"]
    seen, last, backwards = defaultdict[str, list[int]](list), 0, 0
    for line in (folder / "log").read_bytes()[:length].decode().splitlines():
        position, who, number = line.split()
        backwards += int(position) <= last
        last = int(position)
        seen[who].append(int(number))
    return {
        "read": sum(map(len, seen.values())),
        "missed": sum(len(set(range(1, count + 1)) - set(seen[who])) for who, count in written.items()),
        "twice": sum(len(numbers) - len(set(numbers)) for numbers in seen.values()),
        "out of order": sum(b <= a for numbers in seen.values() for a, b in pairwise(numbers)) + backwards,
    }


def prove(made: Workspace, total: int, kills: int, seed: int = 1, most: float = 3_600) -> dict[str, Any]:
    """Run it; what every reader came to. Raises `TimeoutError` if it does not end within so many seconds."""
    chosen, began = random.Random(seed), time.monotonic()
    with connect(owner_address(made)) as store, tempfile.TemporaryDirectory() as place:
        key = keys.create(
            store, made.secrets["pepper"], "feed", ["changes:read"], datetime.now(UTC), rate_limit=10_000_000
        )
        server = Served(made)
        server.start()
        folders = [Path(place, str(n)) for n in range(READERS)]
        for folder in folders:
            folder.mkdir()
        commands = {("writer", n): ["write", str(made.home), str(n), str(total // WRITERS)] for n in range(WRITERS)}
        commands |= {
            ("reader", n): ["read", f"http://127.0.0.1:{server.port}", key, str(folders[n])] for n in range(READERS)
        }
        start = {name: [sys.executable, "-m", "benchmarks.feed", *command] for name, command in commands.items()}
        running = {name: subprocess.Popen(command, env=os.environ) for name, command in start.items()}
        done, wanted, failed = 0, total // WRITERS * WRITERS, 0
        try:
            while min(lines(folder) for folder in folders) < wanted:
                if time.monotonic() - began > most:
                    raise TimeoutError("the readers do not come to the end")
                time.sleep(chosen.random() * 0.6)
                alive = [name for name, process in running.items() if process.poll() is None]
                if done < kills and alive:
                    name = chosen.choice(alive)
                    running[name].kill()
                    running[name].wait()
                    done += 1
                for name, process in running.items():
                    if process.poll() not in (None, 0):
                        failed += (
                            process.returncode != -9
                        )  # its connection broke, or it is wrong: it starts again either way
                        running[name] = subprocess.Popen(start[name], env=os.environ)
        finally:
            for process in running.values():
                process.kill()
                process.wait()
            server.kill()
        query = "select customer_id::text, count(*) from changes where type = 'balance.changed' group by 1"
        written = dict(store.execute(query).fetchall())
        judged = [judge(folder, written) for folder in folders]
    return {
        "changes": sum(written.values()), "kills": done, "other ends": failed, "seconds": round(time.monotonic() - began), "readers": judged,
        "wrong": sum(one["missed"] + one["twice"] + one["out of order"] for one in judged),
    }  # fmt: skip


def main() -> int:
    if sys.argv[1:2] == ["write"]:
        write(sys.argv[2], int(sys.argv[3]), int(sys.argv[4]))
        return 0
    if sys.argv[1:2] == ["read"]:
        read(*sys.argv[2:5])
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--changes", type=int, default=500_000)
    parser.add_argument("--kills", type=int, default=200)
    asked = parser.parse_args()
    with workspace() as made:
        found = prove(made, asked.changes, asked.kills)
    RESULTS.joinpath("feed.json").write_text(json.dumps(found, indent=1) + "\n")
    print(json.dumps(found))
    return int(found["wrong"] > 0)


if __name__ == "__main__":
    sys.exit(main())
