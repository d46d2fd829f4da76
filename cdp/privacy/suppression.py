"""Who must not come back: keyed hashes of every identifier of erased people, kept in `CDP_HOME/privacy/`.

A hash is an HMAC-SHA256 of `type|value in standard form` under a key that only this workspace has. An identifier that a
living customer held too at the erasure never suppresses a row alone; together with the name it does. The list only grows:
lifting is an entry of its own.
"""

import hashlib
import hmac
import json
import os
import secrets
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from datetime import datetime
from functools import cached_property

from cdp.workspace import Workspace, write_whole

LIST, KEY = "suppressed.jsonl", "suppression.key"
BLOCK = 64  # bytes of a SHA-256 block


@dataclass(frozen=True)
class Entry:
    """One hash: of an identifier that suppresses alone or not (`shared`), or the lifting of one."""

    hash: str
    kind: str
    shared: bool
    at: str
    lifted: bool = False


@dataclass(frozen=True)
class Suppression:
    """The list of a workspace."""

    workspace: Workspace

    @cached_property
    def key(self) -> bytes:
        """The key, made at the first use."""
        path = self.workspace.path("privacy", KEY)
        if not path.exists():
            write_whole(path, secrets.token_hex(32))
        return bytes.fromhex(path.read_text(encoding="utf-8").strip())

    @cached_property
    def pads(self) -> tuple[bytes, bytes]:
        """The inner and outer pad of HMAC, so that SQL can hash a column: see `HASH`."""
        padded = self.key.ljust(BLOCK, b"\0")
        return bytes(b ^ 0x36 for b in padded), bytes(b ^ 0x5C for b in padded)

    def hash(self, kind: str, value: str) -> str:
        """The hash of one identifier."""
        return hmac.new(self.key, f"{kind}|{value}".encode(), hashlib.sha256).hexdigest()

    def entries(self) -> dict[str, Entry]:
        """What stands for each hash: the newest entry, of several at one moment the one that suppresses alone."""
        path = self.workspace.path("privacy", LIST)
        found: dict[str, Entry] = {}
        for line in (
            path.read_text(encoding="utf-8").split("\n")[:-1] if path.exists() else []
        ):  # a torn last line was never written
            entry = Entry(**json.loads(line))
            before = found.get(entry.hash)
            if before is None or (entry.at, entry.lifted, not entry.shared) > (
                before.at,
                before.lifted,
                not before.shared,
            ):
                found[entry.hash] = entry
        return {name: entry for name, entry in found.items() if not entry.lifted}

    def add(self, identifiers: Iterable[tuple[str, str, bool]], now: datetime) -> int:
        """Suppress identifiers (type, value in standard form, whether a living customer holds it too); returns how many are new."""
        known = self.entries()
        made = [Entry(self.hash(kind, value), kind, shared, now.isoformat()) for kind, value, shared in identifiers]
        new = [e for e in made if e.hash not in known or (known[e.hash].shared and not e.shared)]
        self._append(new)
        return len(new)

    def lift(self, hashes: Iterable[str], now: datetime) -> int:
        """End the suppression of these hashes: the person came back of their own will."""
        known = self.entries()
        lifted = [
            Entry(h, known[h].kind, known[h].shared, now.isoformat(), lifted=True)
            for h in sorted(set(hashes))
            if h in known
        ]
        self._append(lifted)
        return len(lifted)

    def _append(self, entries: list[Entry]) -> None:
        """On disk before anything is erased: a crash after it must not let the person come back."""
        if not entries:
            return
        descriptor = os.open(self.workspace.path("privacy", LIST), os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.writelines(json.dumps(asdict(entry)) + "\n" for entry in entries)
            file.flush()
            os.fsync(file.fileno())


# HMAC-SHA256 of a text column in DuckDB; `inner` and `outer` are bound to `Suppression.pads`.
HASH = "sha256($outer::blob || unhex(sha256($inner::blob || encode({text}))))"


def composites(kind: str, value: str, name: str | None) -> list[tuple[str, str]]:
    """An identifier together with the name of the person: what a shared one suppresses by."""
    return [(f"name+{kind}", f"{name}|{value}")] if name else []
