"""Write a simulated case: landing files of four channels, the truth, and the counts an ingest must find."""

import csv
import gzip
import io
import json
import random
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import orjson

from cdp.simulate.lines import DAYS, Line
from cdp.simulate.people import household
from cdp.simulate.story import tell

HEADER = (
    "transaction_id,line_no,store_id,till,sold_at,loyalty_card,phone,email,customer_name,marketing_opt_in,sku,description,"
    "quantity,unit_price,discount,currency,tender,points_redeemed,original_transaction_id"
)
FILES = {
    "web": ("events-1", "events-2", "events-3", "events-4-late"),
    "app": ("events-1", "events-2", "events-3", "events-4-late"),
    "pos": ("sales-1", "sales-2"),
    "service": ("tickets-1", "tickets-2"),
}
DAMAGED, DAMAGED_COPY, SENT_TWICE, LATE = 0.005, 0.005, 0.004, 0.01
COLUMN = {name: at for at, name in enumerate(HEADER.split(","))}


@dataclass
class Counts:
    """What an ingest must find in one channel."""

    lines: int = 0
    accepted: int = 0
    duplicates: int = 0
    quarantined: int = 0


class Case:
    """The open files of one case; memory does not grow with the number of people."""

    def __init__(self, folder: Path, stack: ExitStack, until: datetime) -> None:
        self.counts = {channel: Counts() for channel in FILES}
        self.start = until - timedelta(days=DAYS)
        self.files = {
            (channel, name): _open(
                stack, folder / "landing" / channel / f"{name}.{'csv' if channel == 'pos' else 'jsonl'}.gz"
            )
            for channel, names in FILES.items()
            for name in names
        }
        for name in FILES["pos"]:
            self.files["pos", name].write(HEADER.encode() + b"\n")
        self.truth = stack.enter_context((folder / "truth" / "records.csv").open("w", encoding="utf-8", newline="\n"))
        self.truth.write("record_id,person_id,linkable\n")

    def add(self, lines: list[Line], rng: random.Random) -> None:
        """Write the lines of one household, damaged and repeated here and there, and its truth."""
        seen: dict[str, str | None] = {}
        linked: set[str] = set()
        for line in lines:
            count, data = self.counts[line.channel], _encode(line.channel, line.body)
            file = self._file(line, rng)
            fate = rng.random()
            if fate < DAMAGED + DAMAGED_COPY:
                broken = _damaged(line, data, rng)
                file.write(broken)
                count.lines += 1
                count.quarantined += 1
                if fate < DAMAGED:
                    continue
            file.write(data)
            count.lines += 1
            count.accepted += 1
            if rng.random() < SENT_TWICE:
                self.files[line.channel, FILES[line.channel][-1]].write(data)
                count.lines += 1
                count.duplicates += 1
            seen.update(line.records)
            linked.update(line.links)
        for record, person in seen.items():
            if person is not None:
                alone = ":anon:" in record and record not in linked
                self.truth.write(f"{record},{person},{0 if alone else 1}\n")

    def _file(self, line: Line, rng: random.Random) -> Any:
        names = FILES[line.channel]
        if line.channel in ("web", "app") and rng.random() < LATE:
            return self.files[line.channel, names[-1]]
        parts = 3 if line.channel in ("web", "app") else 2
        share = (line.at - self.start) / timedelta(days=DAYS)
        at = min(parts - 1, max(0, int(share * parts)))
        if line.channel == "pos" and rng.random() < 0.01:
            at = rng.randrange(parts)  # a transaction split across files
        return self.files[line.channel, names[at]]


def simulate(
    people: int, seed: str, folder: Path, until: datetime, log: Callable[[str], None] | None = None
) -> dict[str, Any]:
    """Write a case of about this many people (households are not cut).

    Args:
        people: How many.
        seed: The same seed, people and `until` write the same bytes.
        folder: Where `landing/` and `truth/` go.
        until: Last day of the year that is told.
        log: Told the progress.

    Returns:
        What `truth/expected.json` holds.
    """
    until = until.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    for channel in FILES:
        (folder / "landing" / channel).mkdir(parents=True, exist_ok=True)
    (folder / "truth").mkdir(parents=True, exist_ok=True)
    made = number = 0
    with ExitStack() as stack:
        case = Case(folder, stack, until)
        while made < people:
            members = household(seed, number, made)
            case.add(tell(seed, number, members, until), random.Random(f"{seed}:damage:{number}"))
            made += len(members)
            number += 1
            if log and number % 10_000 == 0:
                log(f"{made:,} of {people:,} people")
    expected = {"rows": {channel: asdict(count) for channel, count in case.counts.items()}, "people": made}
    (folder / "truth" / "expected.json").write_text(json.dumps(expected, indent=1) + "\n", encoding="utf-8")
    return expected


def _open(stack: ExitStack, path: Path) -> Any:
    raw = stack.enter_context(path.open("wb"))
    zipped = stack.enter_context(gzip.GzipFile(filename="", mode="wb", fileobj=raw, compresslevel=1, mtime=0))
    return stack.enter_context(io.BufferedWriter(zipped, 1 << 16))


def _encode(channel: str, body: Any) -> bytes:
    if channel != "pos":
        return orjson.dumps(body, option=orjson.OPT_APPEND_NEWLINE)
    if not any("," in str(cell) or '"' in str(cell) for cell in body):
        return (",".join(map(str, body)) + "\n").encode()
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerow(body)
    return text.getvalue().encode()


def _damaged(line: Line, data: bytes, rng: random.Random) -> bytes:
    """One of the ways in which channels break a line."""
    if line.channel == "pos":
        row = list(line.body)
        how = rng.randrange(4)
        name, value = (
            ("sold_at", "31/02/2011 10:00:00"),
            ("unit_price", "free"),
            ("currency", "POUNDS"),
            ("transaction_id", ""),
        )[how]
        row[COLUMN[name]] = value
        return _encode("pos", row)
    if line.channel == "service":
        return _encode("service", dict(line.body) | {"requester": None})
    how = rng.randrange(3)
    body = dict(line.body)
    if how == 0:
        return data[: max(2, int(len(data) * (0.3 + 0.6 * rng.random())))].rstrip(b"}\n") + b"\n"
    if how == 1:
        body.pop("timestamp")
    else:
        body["type"] = "teleport"
    return _encode(line.channel, body)
