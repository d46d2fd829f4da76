"""Names of jobs, and the policies of a layer: how fresh it must be, and what makes it again."""

from datetime import timedelta

import dagster as dg

JOB = "cdp_run"
CHECKS_JOB = "cdp_checks"
DAY = timedelta(hours=26)  # a night's run, and the time it takes
FRESH = dg.FreshnessPolicy.time_window(warn_window=DAY, fail_window=2 * DAY)
FOLLOWS = (
    dg.AutomationCondition.any_deps_updated().since_last_handled()
    & ~dg.AutomationCondition.any_deps_in_progress()
    & ~dg.AutomationCondition.in_progress()
).with_label("made again when what it is made of was")


def governed(spec: dg.AssetSpec) -> dg.AssetSpec:
    """An asset with the policies of its layer. What reads the outside (files, erasures) is started by sensor and schedule."""
    if spec.group_name == "ingest":
        return spec.replace_attributes(freshness_policy=FRESH)
    return spec.replace_attributes(freshness_policy=FRESH, automation_condition=FOLLOWS)
