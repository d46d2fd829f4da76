"""Identity: who is who."""

from functools import partial

import dagster as dg

from assets import plots
from assets.platform import Platform
from assets.reporting import OWNERS, costed, report
from assets.sql_assets import sql_asset
from cdp.lake.build import sql_tables
from cdp.privacy.erase import PURGE_MODELS
from cdp.publish.review import publish_review
from cdp.standard import dictionary
from cdp.store import requests
from identity import artefact, edges, graph, households, lifecycle, pairs, scopes, sharing, stable, steward

GROUP = "identity"
SHOWN = "publish"  # what stewards are shown is ranked by what profile, consent and loyalty made


def _spec(key: str, deps: list[str], kinds: set[str], text: str) -> dg.AssetSpec:
    return dg.AssetSpec(key, deps=deps, group_name=GROUP, kinds=kinds, owners=OWNERS, description=text)


@dg.multi_asset(
    specs=[
        _spec("core__identifier_limits", ["ops__erasures"], {"duckdb", "yaml"},
              "Grain: identifier type. How many people may share a value that still joins records."),
        _spec("core__identifier_people", ["core__identifier_holders"], {"duckdb", "python"},
              "Grain: identifier value × given name. Which of its people the name belongs to."),
        _spec("core__identifier_groups", ["core__identifier_holders"], {"duckdb", "python"},
              "Grain: identifier value. How many names, accounts and people hold it."),
    ],
)  # fmt: skip
def identifier_sharing(platform: Platform):  # type: ignore[no-untyped-def]
    """Find values that several people share."""
    for built in sharing.build_sharing(platform.lake, platform.rules):
        yield report(platform.lake, built, asset_key=built.table)


@dg.multi_asset(
    specs=[
        _spec(dictionary.WORDS.table, ["core__contact_records"], {"duckdb", "python"},
              "Grain: given × family name. The words that linking compares."),
        _spec(dictionary.CITIES.table, ["core__contact_records"], {"duckdb", "python"},
              "Grain: place as written. Its plain letters, pinyin for Chinese."),
    ],
)  # fmt: skip
def linking_keys(platform: Platform):  # type: ignore[no-untyped-def]
    """Read every new name and place once."""
    for built in dictionary.build_keys(platform.lake):
        yield report(platform.lake, built, asset_key=built.table)


@dg.asset(group_name=GROUP, deps=["core__payloads"], kinds={"splink", "python"}, owners=OWNERS)
def core__model(platform: Platform) -> dg.MaterializeResult:
    """Grain: level of a comparison. The Splink model in use; trained once, unsupervised, kept under models/."""
    restored = platform.workspace.path("privacy", PURGE_MODELS).exists()
    erasing = restored or bool(requests.listed(platform.store, ["running"], "erasure"))
    built, trained = lifecycle.build_model(platform.lake, platform.models, platform.rules, erasing=erasing)
    artefact.note_used(platform.models, trained.version if trained else artefact.NONE)
    shown = {"weights": plots.match_weights(trained), "m and u": plots.m_and_u(trained)}
    return report(platform.lake, built, extra={**lifecycle.facts(trained), **shown})


@dg.multi_asset(
    specs=[
        _spec(pairs.KEYS, ["core__payloads", "core__model"], {"duckdb"}, "Grain: payload × blocking key. Which pairs are worth comparing."),
        _spec(pairs.PAIRS, ["core__payloads", "core__model"], {"duckdb"},
              "Grain: pair of payloads. Their match weight; those far below the threshold are not kept."),
        _spec(pairs.WORTH, ["core__payloads", "core__model"], {"duckdb"},
              "Grain: payload. Its match weight against itself: whether it says enough to be one person's."),
        _spec(pairs.LIMITS, ["core__model"], {"duckdb"}, "Grain: blocking rule. How many payloads may share one of its keys."),
    ],
)  # fmt: skip
def payload_pairs(context: dg.AssetExecutionContext, platform: Platform):  # type: ignore[no-untyped-def]
    """Compare what is new with all there is."""
    done = pairs.build_pairs(platform.lake, platform.model)
    context.log.info(
        f"{done.nodes:,} payloads, {done.fresh:,} new, {done.reopened:,} re-opened; {done.candidates:,} pairs compared"
    )
    counts = {
        "payloads": done.nodes,
        "new": done.fresh,
        "gone": done.gone,
        "re-opened": done.reopened,
        "compared": done.candidates,
    }
    for built in done.built:
        yield report(platform.lake, built, asset_key=built.table, extra=counts)


@dg.asset(group_name=GROUP, deps=[pairs.PAIRS, pairs.WORTH, "core__payloads"], kinds={"duckdb"}, owners=OWNERS)
def core__probabilistic_edges(platform: Platform) -> dg.MaterializeResult:
    """Grain: pair of contact records. Pairs that the model holds for one person, with their match weight."""
    built = edges.build_edges(platform.lake, platform.model)
    return report(platform.lake, built, plots={"surprise": partial(plots.surprise, platform.lake, platform.model)})


@dg.asset(group_name=GROUP, deps=["ops__erasures"], kinds={"postgres", "duckdb"}, owners=OWNERS)
def core__steward_links(platform: Platform) -> dg.MaterializeResult:
    """Grain: pair of contact records. What stewards decided: same, different or unsure; revoked decisions are gone."""
    return report(platform.lake, steward.build_steward_links(platform.lake, platform.store))


@dg.multi_asset(
    specs=[
        _spec(graph.TABLE, list(graph.INPUTS), {"python", "duckdb"},
              "Grain: contact record. Its cluster, the component it was split from, and how strongly it hangs on the core."),
        _spec(graph.CUTS, list(graph.INPUTS), {"python", "duckdb"},
              "Grain: pair of contact records. Pairs of one component that a negative rule keeps apart, with the rule."),
        _spec(
            graph.VIOLATIONS,
            list(graph.INPUTS),
            {"python", "duckdb"},
            "Grain: customer × limit of identity.yaml that it broke, with the evidence dropped for it.",
        ),
    ],
)  # fmt: skip
def clusters(context: dg.AssetExecutionContext, platform: Platform):  # type: ignore[no-untyped-def]
    """Components of the evidence; those that look wrong are split."""
    done = graph.build_clusters(platform.lake, platform.model, platform.rules, platform.policy.weak_link_weight)
    counts = {
        "records clustered": done.records,
        "components": done.components,
        "clusters": done.clusters,
        "components split": done.split,
        "largest": done.largest,
    }
    context.log.info(
        f"{done.records:,} records clustered: {done.components:,} components, {done.split:,} split; "
        f"{done.clusters:,} clusters, the largest of {done.largest:,}"
    )
    for built in done.built:
        yield report(platform.lake, built, asset_key=built.table, extra=counts)


@dg.asset(group_name=GROUP, deps=["core__clusters"], kinds={"python", "duckdb"}, owners=OWNERS)
def core__record_customers(platform: Platform) -> dg.MaterializeResult:
    """Grain: contact record. Its customer: ids last, whatever the clustering of the day calls a cluster."""
    built = stable.build_record_customers(platform.lake, platform.store, platform.now, platform.started_at)
    shown = {
        "sizes": partial(plots.cluster_sizes, platform.lake),
        "sources": partial(plots.overlap, platform.lake),
    }
    return report(platform.lake, built, extra=stable.churn(platform.lake, platform.store), plots=shown)


@dg.asset(group_name=GROUP, deps=list(households.INPUTS), kinds={"python", "duckdb"}, owners=OWNERS)
def core__households(platform: Platform) -> dg.MaterializeResult:
    """Grain: contact record of a customer who shares a home. The home; ids last, and nothing here says who is who."""
    return report(platform.lake, households.build_households(platform.lake, platform.store, platform.now))


@dg.asset(group_name=SHOWN, deps=["core__review_pairs"], kinds={"postgres"}, owners=OWNERS)
@costed("pairs")
def ops__review_queue(platform: Platform) -> dg.MaterializeResult:
    """Grain: run. The borderline pairs that stewards are shown, those first that would move most."""
    return dg.MaterializeResult(metadata={"pairs": publish_review(platform.lake, platform.store)})


@dg.definitions
def defs() -> dg.Definitions:
    """Evidence, model, clusters and ids."""
    python = [
        identifier_sharing, linking_keys, core__model, payload_pairs, core__probabilistic_edges, core__steward_links, clusters,
        core__record_customers, core__households, ops__review_queue,
    ]  # fmt: skip
    return dg.Definitions(
        assets=[
            *python,
            *(sql_asset(GROUP, table, part=scopes.PARTS.get(table)) for table in sql_tables(GROUP)),
            *(sql_asset("review", t, SHOWN) for t in sql_tables("review")),
        ]
    )
