"""Standardise: what all sources say, in canonical tables and standard forms."""

import dagster as dg

from assets.platform import Platform
from assets.reporting import OWNERS, report
from assets.sql_assets import select_asset, sql_asset
from cdp.consent import recorded, tables
from cdp.lake.build import sql_tables
from cdp.settings import Settings
from cdp.sources.canonical import canonical_selects
from cdp.sources.load import load_sources
from cdp.standard import dictionary
from cdp.workspace import Workspace

GROUP = "standardise"


@dg.multi_asset(
    specs=[
        dg.AssetSpec(table, deps=list(dictionary.INPUTS), group_name=GROUP, kinds={"duckdb", "python"}, owners=OWNERS,
                     description=text)
        for table, text in (
            (dictionary.EMAILS.table, "Grain: e-mail as written. The mailbox it reaches."),
            (dictionary.PHONES.table, "Grain: phone as written. The number in E.164."),
            (dictionary.NAMES.table, "Grain: name as written. Its parts for people and for comparison."),
            (dictionary.BLOCKED, "Grain: pattern. Values that identify nobody, from identity.yaml."),
        )
    ],
)  # fmt: skip
def dictionaries(platform: Platform):  # type: ignore[no-untyped-def]
    """Read every new distinct value once."""
    regions = tuple(platform.workspace.settings.phone_regions.split(","))
    for built in dictionary.build_dictionaries(platform.lake, regions, platform.rules):
        yield report(platform.lake, built, asset_key=built.table)


@dg.multi_asset(
    specs=[
        dg.AssetSpec(
            table, deps=["ops__erasures"], group_name=GROUP, kinds={"duckdb", "yaml"}, owners=OWNERS, description=text
        )
        for table, text in (
            (
                "core__purposes",
                "Grain: purpose of the consent policy, with the contact point a decision about it concerns.",
            ),
            (
                "core__consent_rules",
                "Grain: jurisdiction × purpose. What its law asks of a grant, and what silence means.",
            ),
            ("core__jurisdiction_countries", "Grain: country, with its jurisdiction; no country is the default."),
        )
    ],
)
def consent_policy(platform: Platform):  # type: ignore[no-untyped-def]
    """The consent policy as tables."""
    for built in tables.build_policy(platform.lake, platform.policy):
        yield report(platform.lake, built, asset_key=built.table)


@dg.asset(group_name=GROUP, deps=["ops__erasures"], kinds={"postgres", "duckdb"}, owners=OWNERS)
def core__recorded_decisions(platform: Platform) -> dg.MaterializeResult:
    """Grain: consent decision recorded online; the store is its authority."""
    return report(platform.lake, recorded.build_recorded_decisions(platform.lake, platform.store))


@dg.definitions
def defs() -> dg.Definitions:
    """Canonical tables of all sources, then the standardised ones."""
    sources = load_sources(Workspace(Settings()))
    canonical = [select_asset(GROUP, select) for select in canonical_selects(sources)]
    return dg.Definitions(
        assets=[
            *canonical,
            dictionaries,
            consent_policy,
            core__recorded_decisions,
            *(sql_asset(GROUP, t) for t in sql_tables(GROUP)),
        ]
    )
