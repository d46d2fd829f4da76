"""Identity: who is who."""

import dagster as dg

from assets.platform import Platform
from assets.reporting import OWNERS, report
from assets.sql_assets import sql_asset
from cdp.lake.build import sql_tables
from identity import cluster, lifecycle, link, sharing, stable

GROUP = "identity"


@dg.multi_asset(
    specs=[
        dg.AssetSpec("core__identifier_limits", group_name=GROUP, kinds={"duckdb", "yaml"}, owners=OWNERS,
                     description="Grain: identifier type. How many people may share a value that still joins records."),
        dg.AssetSpec("core__identifier_people", deps=["core__identifier_holders"], group_name=GROUP, owners=OWNERS,
                     kinds={"duckdb", "python"},
                     description="Grain: identifier value × given name. Which of its people the name belongs to."),
        dg.AssetSpec("core__identifier_groups", deps=["core__identifier_holders"], group_name=GROUP, owners=OWNERS,
                     kinds={"duckdb", "python"},
                     description="Grain: identifier value. How many names, accounts and people hold it."),
    ],
)  # fmt: skip
def identifier_sharing(platform: Platform):  # type: ignore[no-untyped-def]
    """Find values that several people share."""
    for built in sharing.build_sharing(platform.lake, platform.rules):
        yield report(platform.lake, built, asset_key=built.table)


@dg.asset(group_name=GROUP, deps=["core__payloads"], kinds={"splink", "python"}, owners=OWNERS)
def core__model(platform: Platform) -> dg.MaterializeResult:
    """Grain: level of a comparison. The Splink model in use; trained once, unsupervised, kept under models/."""
    built, version = lifecycle.build_model(platform.lake, platform.workspace.path("models"))
    return report(platform.lake, built, extra={"version": version})


@dg.asset(group_name=GROUP, deps=["core__payloads", "core__model"], kinds={"splink", "duckdb"}, owners=OWNERS)
def core__probabilistic_edges(platform: Platform) -> dg.MaterializeResult:
    """Grain: pair of contact records. Pairs that the model holds for one person, with their match weight."""
    trained = lifecycle.current(platform.workspace.path("models"))
    return report(platform.lake, link.build_edges(platform.lake, trained, platform.rules))


@dg.asset(group_name=GROUP, deps=["core__contact_records", "core__edges"], kinds={"python", "duckdb"}, owners=OWNERS)
def core__clusters(platform: Platform) -> dg.MaterializeResult:
    """Grain: contact record. The component of the evidence graph it lies in, and how strongly it hangs on it."""
    return report(platform.lake, cluster.build_clusters(platform.lake, platform.policy.weak_link_weight))


@dg.asset(group_name=GROUP, deps=["core__clusters"], kinds={"python", "duckdb"}, owners=OWNERS)
def core__record_customers(platform: Platform) -> dg.MaterializeResult:
    """Grain: contact record. Its customer: ids last, whatever the clustering of the day calls a cluster."""
    built = stable.build_record_customers(platform.lake, platform.store, platform.now)
    return report(platform.lake, built)


@dg.definitions
def defs() -> dg.Definitions:
    """Evidence, model, clusters and ids."""
    python = [
        identifier_sharing,
        core__model,
        core__probabilistic_edges,
        core__clusters,
        core__record_customers,
    ]
    return dg.Definitions(assets=[*python, *(sql_asset(GROUP, table) for table in sql_tables(GROUP))])
