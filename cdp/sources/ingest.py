"""Bring the new files of one source into the lake: read, judge, reconcile, commit as one transaction."""

import contextlib
import hashlib
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

from cdp.errors import UnreadableFile
from cdp.lake import build, register
from cdp.lake.engine import Lake
from cdp.sources import stage
from cdp.sources.contract import Contract, compile_contract
from cdp.sources.landing import landing_files
from cdp.sources.model import Source
from cdp.sources.read import Rejected, fingerprint, read_batches

KNOWN = """
    select file, sha256, status from ops__files where source = $source
    union all select file, sha256, 'blocked' from ops__reconciliation where source = $source and sha256 = ''
"""  # a file that could not be opened has no fingerprint, and is in no register of files
READ = "select count(*) from ops__files where source = ? and file = ? and sha256 = ? and status = 'read'"
RECONCILED = ("source", "file", "lines", "accepted", "duplicates", "quarantined", "suppressed")
READ_FILES = f"""
    select count(*),
        coalesce(list(({", ".join(RECONCILED)}) order by source, file) filter (where lines <> accepted + duplicates + quarantined + suppressed), []),
        coalesce(list((source, file) order by source, file) filter (where sha256 = ''), [])
    from ops__reconciliation
"""  # noqa: S608 - constants
PROGRESS_SECONDS = 5.0
READING_MEMORY = "160MB"  # batches of text live beside the engine while files are read
SENT = "inbox-"  # how files of what was sent begin
CORRECTED = "corrected-"  # and files of rejected lines that are read again
Row = tuple[Any, ...]


@dataclass
class FileReport:
    """What became of one landing file; the numbers always add up to `lines`."""

    file: str
    sha256: str
    size: int
    identity: str
    lines: int = 0
    accepted: int = 0
    duplicates: int = 0
    quarantined: int = 0
    suppressed: int = 0
    bad: int = 0
    landed_at: datetime | None = None
    blocked: str = ""
    original: str = ""

    @property
    def reconciles(self) -> bool:
        """Whether every line is accounted for."""
        return self.lines == self.accepted + self.duplicates + self.quarantined + self.suppressed


@dataclass
class IngestReport:
    """What one run did to one source; `left_out` are files that earlier runs blocked, with the reason, which still lie there."""

    source: str
    files: list[FileReport] = field(default_factory=list)
    rows: int = 0
    seconds: float = 0.0
    bytes: int = 0
    unreconciled: list[str] = field(default_factory=list)
    left_out: dict[str, str] = field(default_factory=dict)

    @property
    def blocked(self) -> list[FileReport]:
        """The files that were left out."""
        return [file for file in self.files if file.blocked]

    @property
    def unopened(self) -> list[str]:
        """Those that could not be opened: their rights may be mended at any time, and the file looks as it did."""
        return [file.file for file in self.files if not file.sha256]


@dataclass(frozen=True)
class ReadFiles:
    """Files of the reconciliation: how many; those whose lines do not add up (`RECONCILED`); (source, file) that could not be opened."""

    number: int
    unreconciled: list[Row]
    unopened: list[Row]


def read_files(lake: Lake) -> ReadFiles:
    """What every ingest and the check of all files want to know, asked once between two writes."""
    return ReadFiles(*lake.remembered(READ_FILES)[0])


Suppress = Callable[[Lake, Source], list[str]]


def ingest(
    lake: Lake,
    source: Source,
    landing: Path,
    now: datetime,
    log: Callable[[str], None],
    suppress: Suppress | None = None,
    landed: Mapping[str, datetime] | None = None,
) -> IngestReport:
    """Read what is new under `landing/<source>`; re-reading a file changes nothing.

    Args:
        lake: Open for writing.
        source: What to read and how.
        landing: The landing folder of the workspace.
        now: When the files are registered.
        log: Told the progress of anything that takes more than five seconds.
        suppress: Takes the rows of erased people out of the stage and out of the landing files, where there are any;
            returns the files that are other ones now.
        landed: The files to read and when each landed, which is also their order; all, as landed now, where it is None.
    """
    columns_mark, mark_table = (
        hashlib.sha256(repr(stage.raw_columns(source)).encode()).hexdigest(),
        f"{source.raw_table}#columns",
    )
    if register.recorded(lake, mark_table) != columns_mark:

        def prepare() -> None:
            stage.create_raw_table(lake, source)
            register.record(lake, mark_table, columns_mark)
            register.record(lake, source.raw_table, f"columns {columns_mark}")

        lake.write(prepare, f"raw table of {source.source}")
    report, started = IngestReport(source.source), time.monotonic()
    new, report.left_out, lying = _new_files(lake, source, landing, now, landed)
    if mended := [(file, "") for of, file in read_files(lake).unopened if of == source.source and file in lying]:
        lake.write(lambda: _take_out(lake, source, mended), f"files of {source.source} that can be opened again")
    if new:
        stage.open_stage(lake, source)
        contract = compile_contract(source)
        with lake.memory(READING_MEMORY):
            for order, item in enumerate(new):
                report.files.append(item)
                _read_file(lake, contract, landing / source.source / item.file, item, order, log)
        if suppress is not None:
            _suppress(lake, source, landing, report, suppress)
        for item in report.files:
            _block(lake, source, item)
        stage.judge(lake, source)
        lake.write(lambda: _commit(lake, source, report, now), f"ingest {source.source}")
    report.seconds = time.monotonic() - started
    report.bytes = lake.written(source.raw_table, time.time() - report.seconds)
    report.rows = build.rows(lake, source.raw_table)
    report.unreconciled = [str(file) for of, file, *_ in read_files(lake).unreconciled if of == source.source]
    return report


def tried(lake: Lake, source: Source, path: Path) -> FileReport:
    """What would become of the lines of one file, wherever it lies. Nothing is kept."""
    item = FileReport(path.name, fingerprint(path), path.stat().st_size, path.name)
    stage.open_stage(lake, source)
    with lake.memory(READING_MEMORY):
        _read_file(lake, compile_contract(source), path, item, 0, lambda text: None)
    stage.judge(lake, source)
    report = IngestReport(source.source, [item])
    _count(lake, report)
    return item


def _suppress(lake: Lake, source: Source, landing: Path, report: IngestReport, suppress: Suppress) -> None:
    """Count per file what is taken out before anything is judged, and know the redacted files by what they are now."""
    count = (
        "select file, count(*) from (select _file as file, _line as line from memory.main.stage_rows "
        "union select file, line from memory.main.stage_rejected) group by all"
    )
    rejected = "select file, count(distinct line) from memory.main.stage_rejected group by all"
    before, bad_before = dict(lake.rows(count)), dict(lake.rows(rejected))
    rewritten = set(suppress(lake, source))
    after, bad_after = dict(lake.rows(count)), dict(lake.rows(rejected))
    for item in [item for item in report.files if item.file in rewritten]:
        item.suppressed += before.get(item.file, 0) - after.get(item.file, 0)
        item.bad -= bad_before.get(item.file, 0) - bad_after.get(item.file, 0)
        path = landing / source.source / item.file
        item.original, item.sha256, item.size = item.sha256, fingerprint(path), path.stat().st_size
        if lake.scalar(READ, [source.source, item.file, item.sha256]):  # put back over what had been redacted
            stage.forget(lake, item.file, rejected=True)
            report.files.remove(item)


def contract_mark(source: Source) -> str:
    """Fingerprint of a source's definition: a blocked file is tried again when it changes."""
    return hashlib.sha256(source.model_dump_json().encode()).hexdigest()


def _new_files(
    lake: Lake, source: Source, landing: Path, now: datetime, landed: Mapping[str, datetime] | None
) -> tuple[list[FileReport], dict[str, str], dict[str, str]]:
    """The files to read; those that earlier runs blocked, with the reason; the fingerprint of each that can be opened."""
    paths = list(landing_files(landing, source))
    if not paths:
        return [], {}, {}
    query = "select file, sha256, status, contract, identity, reason from ops__files where source = ? order by identity desc"
    registered = lake.rows(query, [source.source])
    known = {
        (file, sha)
        for file, sha, status, mark, *_ in registered
        if status == "read" or (status == "blocked" and mark == contract_mark(source))
    }
    identities = {sha: name for _, sha, _, _, name, _ in registered if name}  # the least, which comes last
    found, lying = [], dict[str, str]()
    for path in paths:
        name = path.relative_to(landing / source.source).as_posix()
        at = now if landed is None else landed.get(name)
        if at is None:
            continue
        try:
            sha = lying[name] = fingerprint(path)
        except UnreadableFile as error:
            found.append(FileReport(name, "", 0, name, landed_at=at, blocked=error.message))
            continue
        if (name, sha) not in known:
            found.append(FileReport(name, sha, path.stat().st_size, identities.setdefault(sha, name), landed_at=at))
    new = {item.file for item in found}
    left_out = {
        file: reason
        for file, sha, status, _, _, reason in registered
        if status == "blocked" and file not in new and (lying.get(file) or _of(landing / source.source / file)) == sha
    }
    return sorted(found, key=lambda item: (item.landed_at, item.file)), left_out, lying


def _of(path: Path) -> str:
    with contextlib.suppress(UnreadableFile, OSError):
        return fingerprint(path)
    return ""


def _read_file(
    lake: Lake, contract: Contract, path: Path, report: FileReport, order: int, log: Callable[[str], None]
) -> None:
    started = told = time.monotonic()
    if report.blocked:
        return
    try:
        for batch in read_batches(path, contract.source):
            sound, rejected = contract.apply(batch)
            stage.stage_rows(lake, contract.source, report.file, order, report.identity, sound)
            stage.stage_rejected(lake, report.file, [*batch.rejected, *rejected])
            report.lines += len(batch.lines) + len(batch.rejected) + batch.erased
            report.suppressed += batch.erased
            report.bad += len(batch.lines) + len(batch.rejected) - len(sound)
            if time.monotonic() - told > PROGRESS_SECONDS:
                told = time.monotonic()
                log(
                    f"{contract.source.source}/{report.file}: {report.lines:,} lines, {report.lines / (told - started):,.0f}/s"
                )
        if report.lines == 0:
            report.blocked = "the file is empty"
    except UnreadableFile as error:
        report.blocked = f"{error.message} → {error.hint}"
        stage.forget(lake, report.file)  # part of a file is none


def _block(lake: Lake, source: Source, report: FileReport) -> None:
    """Leave out a file that cannot be read or breaks the contract too often; one row of the quarantine says why.

    Rows that were sent one by one were each acknowledged, and lines that are read again are each marked: a bad one leaves out no other.
    """
    limit = source.limits.block
    if not report.blocked and report.bad > limit * report.lines and not report.file.startswith((SENT, CORRECTED)):
        report.blocked = (
            f"{report.bad:,} of {report.lines:,} lines break the contract, over the limit of {limit:.0%}"
            " → look at ops__rejected_rows; send a mended file, or change the source's YAML"
        )
    if report.blocked:
        stage.forget(lake, report.file)  # what is wrong with its lines stays in the quarantine
        whole = Rejected(0, None, "file_blocked", report.blocked, "")
        stage.stage_rejected(lake, report.file, [whole])


def _commit(lake: Lake, source: Source, report: IngestReport, now: datetime) -> None:
    """Everything that the new files change, in one transaction: rows, quarantine, reconciliation, register."""
    execute = lake.connection.execute
    _count(lake, report)
    columns = ", ".join(f'r."{name}"' for name in source.columns)
    execute(
        f"insert into lake.main.{source.raw_table} by name "  # noqa: S608
        f"select {columns}, r._file, r._line, r._key, r._hash, r._redacted, $run as _run_id, "
        "list_extract($landed, list_position($files, r._file)) as _landed_at "
        "from memory.main.stage_rows r join memory.main.stage_verdicts v using (_order, _line) where v.verdict = 'accepted'",
        {"run": lake.run_id, "files": [f.file for f in report.files], "landed": [f.landed_at for f in report.files]},
    )
    _give_way(lake, source, report)
    registered, reconciled = list[Row](), list[Row]()
    for item in report.files:
        status = "blocked" if item.blocked else "read"
        # what a redacted file was before is known too: a copy of it is the same file, also where its rows have no key
        for sha, what in ((item.sha256, status), (item.original, "redacted")):
            if sha and (what != "redacted" or sha != item.sha256):
                file = (item.file, sha, item.identity, item.size, what, item.blocked)
                registered.append((source.source, *file, contract_mark(source), lake.run_id, now))
        counts = (item.lines, item.accepted, item.duplicates, item.quarantined, item.suppressed)
        reconciled.append((source.source, item.file, item.sha256, *counts, lake.run_id))
    register.insert(lake, "ops__files", registered)
    register.insert(lake, "ops__reconciliation", reconciled)
    marks = {"source": source.source, "run": lake.run_id, "now": now, "shas": [f.sha256 for f in report.files]}
    marks["files"] = [f.file for f in report.files]
    execute(
        'insert into lake.main.ops__rejected_rows select $source, file, line, "column", "check", reason, payload, '
        "list_extract($shas, list_position($files, file)), $run, $now, null from memory.main.stage_rejected",
        marks,
    )
    execute(
        "insert into lake.main.ops__rejected_rows "
        "select $source, r._file, r._line, null, 'key_conflict', 'this key came before with other content', "
        "cast(r as varchar), list_extract($shas, list_position($files, r._file)), $run, $now, null from memory.main.stage_rows r "
        "join memory.main.stage_verdicts v using (_order, _line) where v.verdict = 'key_conflict'",
        marks,
    )
    accepted = sum(item.accepted for item in report.files)
    before = register.recorded(lake, source.raw_table)
    if accepted or before is None:
        mark = hashlib.sha256(repr((before, [(f.file, f.sha256) for f in report.files])).encode()).hexdigest()
        register.record(lake, source.raw_table, mark)


def _give_way(lake: Lake, source: Source, report: IngestReport) -> None:
    """What a file said before it was mended gives way to what it says now; what an earlier file of the same name said stays."""
    known = lake.rows(KNOWN, {"source": source.source})
    now = {item.file: item.sha256 for item in report.files}
    gone = [(file, sha) for file, sha, status in known if file in now and (status == "blocked" or sha == now[file])]
    if gone:
        _take_out(lake, source, gone)


def _take_out(lake: Lake, source: Source, gone: list[tuple[str, str]]) -> None:
    """What the registers say of these files, by name and fingerprint."""
    for table in ("ops__rejected_rows", "ops__reconciliation", "ops__files"):
        lake.connection.execute(
            f"delete from lake.main.{table} where source = ? and (file, sha256) in (select unnest(?), unnest(?))",  # noqa: S608
            [source.source, [file for file, _ in gone], [sha for _, sha in gone]],
        )


def _count(lake: Lake, report: IngestReport) -> None:
    verdicts = {
        (file, verdict): int(number)
        for file, verdict, number in lake.rows(
            "select r._file, v.verdict, count(*) from memory.main.stage_rows r "
            "join memory.main.stage_verdicts v using (_order, _line) group by all"
        )
    }
    rejected = dict(lake.rows("select file, count(distinct line) from memory.main.stage_rejected group by all"))
    for item in report.files:
        item.suppressed = 0 if item.blocked else item.suppressed
        item.accepted = verdicts.get((item.file, "accepted"), 0)
        item.duplicates = verdicts.get((item.file, "duplicate"), 0)
        bad = item.lines if item.blocked else int(rejected.get(item.file, 0))
        item.quarantined = bad + verdicts.get((item.file, "key_conflict"), 0)
