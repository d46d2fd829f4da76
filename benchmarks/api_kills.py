"""`kill -9` of the API under load: no acknowledged operation is lost, none is applied twice.

    python -m benchmarks.api_kills [--kills 100] [--clients 6]

Clients spend one point at a time, each operation under an Idempotency-Key of its own, and repeat it until it is answered. In the
end the ledger must hold exactly one transaction for every operation.
"""

import argparse
import json
import random
import sys
import threading
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx2 as httpx

from benchmarks.ledger import customer, give, workspace
from benchmarks.serving import Served
from cdp.clock import system_now
from cdp.loyalty.programme import load_programme
from cdp.store import keys
from cdp.store.connect import connect, owner_address
from cdp.workspace import Workspace

RESULT = Path(__file__).parent / "results" / "api_kills.json"
POINTS = 10_000_000


class Client(threading.Thread):
    """Spends point by point until it is told to stop; repeats every operation until it is answered."""

    def __init__(self, port: int, headers: dict[str, str], customer_id: str, stop: threading.Event) -> None:
        """One of many."""
        super().__init__(daemon=True)
        self.url, self.headers, self.stop = (
            f"http://127.0.0.1:{port}/v1/customers/{customer_id}/loyalty/redeem",
            headers,
            stop,
        )
        self.acknowledged: list[str] = []
        self.repeated = 0
        self.refused: list[str] = []

    def run(self) -> None:
        while not self.stop.is_set():
            name = str(uuid4())
            while True:
                try:
                    answer = httpx.post(
                        self.url, json={"points": 1}, headers={**self.headers, "Idempotency-Key": name}, timeout=10
                    )
                except httpx.HTTPError:
                    self.repeated += 1
                    time.sleep(0.05)
                    continue
                if answer.status_code == 201:
                    self.acknowledged.append(answer.json()["transaction_id"])
                    break
                if answer.status_code not in (409, 503):
                    self.refused.append(answer.text[:200])
                    break
                self.repeated += 1


def prove(made: Workspace, kills: int, clients: int, seed: int = 1) -> dict[str, Any]:
    """Kill and restart while clients spend; count what was answered against what the ledger holds."""
    chosen = random.Random(seed)
    with connect(owner_address(made)) as store:
        records = customer(store, 2)
        give(store, load_programme(made), records[0], POINTS, datetime.now(UTC))
        name = str(
            store.execute("select customer_id from assignment where record_id = %s", [records[0]]).fetchall()[0][0]
        )
        store.execute("insert into profiles values (%s, 'known', '{}', '')", [name])
        text = keys.create(
            store,
            made.secrets["pepper"],
            f"till{uuid4().hex[:4]}",
            ["loyalty:write"],
            system_now(),
            purposes=("service",),
        )
    served, stop = Served(made), threading.Event()
    served.start()
    racing = [Client(served.port, {"Authorization": f"Bearer {text}"}, name, stop) for _ in range(clients)]
    for client in racing:
        client.start()
    for number in range(kills):
        time.sleep(chosen.uniform(0.2, 1.2))
        served.kill()
        served.start()
        if number % 10 == 9:
            print(
                f"{number + 1} kills, {sum(len(c.acknowledged) for c in racing)} acknowledged",
                file=sys.stderr,
                flush=True,
            )
    time.sleep(1)
    stop.set()
    for client in racing:
        client.join(60)
    served.kill()
    acknowledged = [transaction for client in racing for transaction in client.acknowledged]
    with connect(owner_address(made)) as store:
        rows = store.execute("select transaction_id::text, sum(amount)::bigint from ledger_entries where kind = 'redeem' and account_id in "
                             "(select account_id from ledger_accounts where record_id = any(%s)) group by 1", [records]).fetchall()  # fmt: skip
        left = store.execute(
            "select sum(balance)::bigint from ledger_accounts where record_id = any(%s)", [records]
        ).fetchall()[0][0]
    held = dict(rows)
    return {
        "kills": kills, "acknowledged": len(acknowledged), "repeated": sum(c.repeated for c in racing), "refused": [r for c in racing for r in c.refused],
        "lost": len([t for t in acknowledged if t not in held]), "twice": len(acknowledged) - len(set(acknowledged)) + sum(n != -1 for n in held.values()),
        "never answered": len(held) - len(set(acknowledged)), "balance is right": left == POINTS - len(held),
    }  # fmt: skip


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--clients", type=int, default=6)
    asked = parser.parse_args()
    with workspace() as made:
        found = prove(made, asked.kills, asked.clients)
    RESULT.write_text(json.dumps(found, indent=1) + "\n")
    print(json.dumps(found))
    return int(bool(found["lost"] or found["twice"] or found["refused"] or not found["balance is right"]))


if __name__ == "__main__":
    sys.exit(main())
