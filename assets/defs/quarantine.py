"""The quarantine: what waits and why, and reading it again, corrected."""

import dagster as dg
from pydantic import Field

from assets import plots
from assets.checking import check
from assets.platform import Platform
from assets.reporting import OWNERS, costed, observed
from cdp.checks.quarantine import files, replays
from cdp.privacy.trail import tell
from cdp.quarantine import replay, rows
from cdp.quarantine.rules import Rule
from cdp.settings import Settings
from cdp.sources.load import load_sources
from cdp.sources.model import Source
from cdp.workspace import Workspace

COLUMNS = ("source", "column", "check", "waiting", "replayed", "files_left_out", "example")
TABLE = "ops__rejected_rows"
GRAIN = "Grain: rejected line × reason, with its payload. Corrected by 'cdp quarantine' or the job replay_quarantine, and read again."


def rejected_rows(sources: list[Source]) -> dg.AssetsDefinition:
    """The asset behind all raw tables."""
    deps = [source.raw_table for source in sources]

    @dg.asset(name=TABLE, group_name="ingest", deps=deps, kinds={"duckdb"}, owners=OWNERS, description=GRAIN)
    @costed(logged=False)
    def made(platform: Platform) -> dg.MaterializeResult:
        return dg.MaterializeResult(metadata=waiting(platform))

    return made


def waiting(platform: Platform) -> dict[str, object]:
    """What waits, why, and what arrived beside it."""
    found = rows.reasons(platform.lake)
    schema = dg.TableSchema(
        [dg.TableColumn(n, "int" if n in ("waiting", "replayed", "files_left_out") else "string") for n in COLUMNS]
    )
    records = [dg.TableRecord({name: row[name] if row[name] is not None else "" for name in COLUMNS}) for row in found]
    tables = {source.source: source.raw_table for source in platform.sources}
    return {
        "waiting": sum(row["waiting"] for row in found), "replayed": sum(row["replayed"] for row in found),
        "reasons": dg.MetadataValue.table(records, schema), "why": plots.quarantine(found),
        "freshness": plots.freshness(platform.lake, tables, platform.now),
    }  # fmt: skip


class Correction(dg.Config):  # type: ignore[misc]
    """One rule: what to write in a column of the lines that were rejected for it."""

    column: str = Field(description="The contract column to correct")
    check: str = Field(default="", description="Only lines that this check rejected; any where empty")
    replace: dict[str, str] = Field(default={}, description="Value as it stands: what it should say")
    match: str = Field(default="", description="Regular expression of the whole value, for put")
    put: str = Field(
        default="", description="What to write (\\1 for a group of match); with neither, every such line is emptied"
    )


class Replay(dg.Config):  # type: ignore[misc]
    """What to correct, and whether only to say what would become of it."""

    source: str = Field(description="The source, as in its YAML")
    rules: list[Correction]
    preview: bool = Field(default=True, description="Only say what would become of the lines")


def personal(source: Source, rules: list[Correction]) -> list[str]:
    """Columns of people whose values a rule spells out: what is typed into the UI is kept with the run, erasure or not."""
    return sorted(
        {rule.column for rule in rules if source.columns[rule.column].pii and (rule.replace or rule.match or rule.put)}
    )


@dg.op(description="Corrects rejected lines by rules; the landing sensor starts the run that reads them.")
def correct(context: dg.OpExecutionContext, config: Replay, platform: Platform) -> None:
    """Preview or replay."""
    sources = {source.source: source for source in platform.sources}
    if config.source not in sources:
        raise dg.Failure(f"there is no source {config.source}: choose from {', '.join(sorted(sources))}")
    source = sources[config.source]
    said = [rule.model_dump() for rule in config.rules]
    rules = [
        Rule.model_validate({k: v for k, v in rule.items() if v or (k == "put" and not rule["replace"])})
        for rule in said
    ]
    if unknown := sorted({rule.column for rule in rules} - set(source.columns)):
        raise dg.Failure(f"{source.source} has no column {', '.join(unknown)}: it has {', '.join(source.columns)}")
    if kept := personal(source, config.rules):
        raise dg.Failure(
            f"{', '.join(kept)}: values of people stay in Dagster's storage: delete this run, use 'cdp quarantine replay'"
        )
    corrected = replay.correct(platform.lake, platform.landing, source, replay.by_rules(source, rules))
    metadata: dict[str, object] = dict(replay.preview(platform.lake, corrected))
    if not config.preview:
        tell(platform.workspace, platform.store, "quarantine.replay", {"source": source.source}, platform.now)
        metadata["landing file"] = replay.replay(platform.lake, platform.landing, corrected).name
    observed(context, TABLE, metadata)


@dg.job(
    executor_def=dg.in_process_executor,
    description="Read rejected lines again, corrected by rules; previews unless told otherwise.",
)
def replay_quarantine() -> None:
    """Correct and read again."""
    correct()


@dg.definitions
def defs() -> dg.Definitions:
    """The asset, its check, and the job."""
    asset = rejected_rows(load_sources(Workspace(Settings())))
    reconcile = check(
        "ops__rejected_rows", "replays_reconcile", "Every line that was read again is a line of the file it came back in.",
        "look at the files named: 'cdp quarantine list', and at ops__reconciliation", lambda p: replays(p.lake),
    )  # fmt: skip
    add_up = check(
        "ops__rejected_rows", "files_add_up", "Every line of every file is accepted, duplicate, quarantined or suppressed.",
        "land the files named again under another name: what is known counts as duplicate; report it if they differ again", lambda p: files(p.lake),
    )  # fmt: skip
    return dg.Definitions(assets=[asset], asset_checks=[reconcile, add_up], jobs=[replay_quarantine])
