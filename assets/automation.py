"""Names of jobs, and the policies of a layer: how fresh it must be, and what makes it again."""

from collections.abc import Callable, Iterable
from datetime import timedelta

import dagster as dg

JOB = "cdp_run"
CHECKS_JOB = "cdp_checks"
SENSOR, NIGHTLY = "landing", "nightly"
DAY = timedelta(hours=26)  # a night's run, and the time it takes
# how old a layer may be: files and what is served come every night; a measure may be a night late before anybody is told
FRESH = {"insight": 2 * DAY}
FOLLOWS = (
    dg.AutomationCondition.any_deps_updated().since_last_handled()
    & ~dg.AutomationCondition.any_deps_in_progress()
    & ~dg.AutomationCondition.in_progress()
    # a run stops at a blocking check that fails; what follows must not go on where the run stopped, nor where a later run
    # died before it looked again
    & ~dg.AutomationCondition.any_deps_match(
        dg.AutomationCondition.any_checks_match(
            ~dg.AutomationCondition.check_passed() & ~dg.AutomationCondition.missing(), blocking_only=True
        )
    )
).with_label("made again when what it is made of was")


ABOUT = {
    "ingest": "personal", "standardise": "personal", "identity": "personal", "profile": "personal", "consent": "personal",
    "loyalty": "pseudonymous", "insight": "pseudonymous", "publish": "personal",
}  # fmt: skip


OF_PEOPLE = {"ops__rejected_rows", "ops__segment_history"}  # of the pipeline's own tables
OF_RULES = {  # rules and counts as tables: nobody is in them
    "mart__transparency",
    "core__blocked_patterns", "core__purposes", "core__consent_rules", "core__jurisdiction_countries", "core__identifier_limits", "core__key_limits",
    "core__loyalty_terms", "core__insight_terms", "core__service_terms",
}  # fmt: skip


def told(specs: Iterable[dg.AssetSpec]) -> Callable[[dg.AssetSpec], dg.AssetSpec]:
    """What gives an asset the policies of its layer, and says what it is made of and who reads it."""
    readers: dict[dg.AssetKey, list[str]] = {}
    for spec in specs:
        for dep in spec.deps:
            readers.setdefault(dep.asset_key, []).append(spec.key.to_user_string())

    def tell(spec: dg.AssetSpec) -> dg.AssetSpec:
        made_of = sorted(dep.asset_key.to_user_string() for dep in spec.deps)
        parts = (("Made of", made_of), ("Read by", sorted(set(readers.get(spec.key, ())))))
        said = [f"{what} {', '.join(names)}." for what, names in parts if names]
        return governed(spec.replace_attributes(description="\n\n".join([spec.description or "", *said])))

    return tell


def governed(spec: dg.AssetSpec) -> dg.AssetSpec:
    """An asset with the policies of its layer. What reads the outside (files, erasures) is started by sensor and schedule."""
    name = spec.key.to_user_string()
    nobody = name in OF_RULES or (name.startswith("ops__") and name not in OF_PEOPLE)
    about = "none" if nobody else ABOUT[spec.group_name or "publish"]
    tags = {**spec.tags, "cdp/personal_data": about}
    window = FRESH.get(spec.group_name or "", DAY)
    fresh = dg.FreshnessPolicy.time_window(warn_window=window, fail_window=2 * window)
    if spec.group_name == "ingest":
        return spec.replace_attributes(freshness_policy=fresh, tags=tags)
    return spec.replace_attributes(freshness_policy=fresh, automation_condition=FOLLOWS, tags=tags)
