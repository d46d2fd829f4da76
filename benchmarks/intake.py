"""Events a second that the intake makes durable: batches of 100 over real sockets, against the disk's own rate.

    python -m benchmarks.intake [--seconds 20] [--clients 4]

The API runs in a process of its own with one worker, the clients in another, on the same machine. The baseline is a bare
psycopg connection that inserts the same batches, one transaction each, with fsync on. Writes results/intake.json.
"""

import argparse
import http.client
import json
import multiprocessing
import statistics
import sys
import threading
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import uuid4

from benchmarks.ledger import workspace
from benchmarks.serving import Served
from cdp.store import inbox, keys
from cdp.store.connect import connect, owner_address
from cdp.workspace import Workspace

RESULTS = Path(__file__).parent / "results"
BATCH = 100


def batch() -> list[dict[str, object]]:
    """Events such as a shop sends."""
    return [
        {"type": "track", "event": "Product Viewed", "messageId": str(uuid4()), "userId": f"u{n}", "timestamp": "2026-11-26T10:00:00.000Z",
         "properties": {"product_id": f"SKU-{n}", "price": 12.5, "currency": "EUR"}, "context": {"library": {"name": "benchmark", "version": "1"}}}
        for n in range(BATCH)
    ]  # fmt: skip


def send(port: int, key: str, until: float, done: list[float]) -> None:
    """One client: a connection that is kept, a batch after the other."""
    line = http.client.HTTPConnection("127.0.0.1", port)
    while time.monotonic() < until:
        body, began = json.dumps({"batch": batch(), "writeKey": key}), time.monotonic()
        line.request("POST", "/v1/batch", body, {"Content-Type": "application/json"})
        answer = line.getresponse()
        answer.read()
        if answer.status != 200:
            raise SystemExit(f"refused: {answer.status}")
        done.append(time.monotonic() - began)


def clients(port: int, key: str, seconds: float, number: int, answers: Any) -> None:
    """So many clients in this process; hands over the time of every batch."""
    done: list[float] = []
    until = time.monotonic() + seconds
    threads = [threading.Thread(target=send, args=[port, key, until, done]) for _ in range(number)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    answers.put(done)


def bare(made: Workspace, seconds: float) -> float:
    """Batches a second of a connection that does nothing but insert them."""
    done, until = 0, time.monotonic() + seconds
    with connect(owner_address(made)) as store:
        while time.monotonic() < until:
            rows = [(str(event["messageId"]), json.dumps(event)) for event in batch()]
            with store.transaction():
                inbox.add(store, "bare", rows, datetime.now(UTC))
            done += 1
    return done / seconds


def measure(made: Workspace, seconds: float, number: int) -> dict[str, Any]:
    """Events a second through the API and without it."""
    with connect(owner_address(made)) as store:
        key = keys.create(
            store,
            made.secrets["pepper"],
            "intake",
            ["events:write"],
            datetime.now(UTC),
            source="web",
            rate_limit=1_000_000,
        )
    server, context = Served(made), multiprocessing.get_context("spawn")
    server.start()
    try:
        answers = context.Queue()
        sending = context.Process(target=clients, args=[server.port, key, seconds, number, answers])
        sending.start()
        took = sorted(answers.get())
        sending.join()
    finally:
        server.kill()
    with connect(owner_address(made)) as store:
        kept = store.execute("select count(*) from inbox where source = 'web'").fetchall()[0][0]
    alone = bare(made, seconds / 2) * BATCH
    rate = kept / seconds
    return {
        "clients": number, "batches": len(took), "events kept": kept, "acknowledged": len(took) * BATCH, "events a second": round(rate),
        "bare events a second": round(alone), "of bare": round(rate / alone, 2),
        "batch median ms": round(1000 * statistics.median(took), 1), "batch p99 ms": round(1000 * took[int(len(took) * 0.99)], 1),
    }  # fmt: skip


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=20)
    parser.add_argument("--clients", type=int, default=4)
    asked = parser.parse_args()
    with workspace() as made:
        found = measure(made, asked.seconds, asked.clients)
    RESULTS.joinpath("intake.json").write_text(json.dumps(found, indent=1) + "\n")
    print(json.dumps(found))
    return int(found["events kept"] < found["acknowledged"])


if __name__ == "__main__":
    sys.exit(main())
