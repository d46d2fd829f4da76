"""The consent policy as lake tables, so that the batch answers by SQL alone."""

from typing import Any

import polars as pl

from cdp.consent.policy import ABSOLUTE, Policy
from cdp.lake import build
from cdp.lake.engine import Lake

Rows = tuple[dict[str, Any], list[tuple[Any, ...]]]


def build_policy(lake: Lake, policy: Policy) -> list[build.Built]:
    """`core__purposes`, `core__consent_rules` and `core__jurisdiction_countries`, as the policy says now."""
    made = {"core__purposes": _purposes, "core__consent_rules": _rules, "core__jurisdiction_countries": _countries}
    return [_build(lake, table, *rows(policy)) for table, rows in made.items()]


def _build(lake: Lake, table: str, schema: dict[str, Any], rows: list[tuple[Any, ...]]) -> build.Built:
    mark = build.fingerprint(lake, (), schema, rows)
    return build.build_table(lake, table, mark, lambda: pl.DataFrame(rows, schema=schema, orient="row").to_arrow())


def _purposes(policy: Policy) -> Rows:
    schema = dict.fromkeys(("purpose", "point", "channel", "concept", "basis"), pl.String)
    return schema, [(name, p.point, p.channel, p.concept, p.basis) for name, p in sorted(policy.purposes.items())]


def _rules(policy: Policy) -> Rows:
    """Jurisdiction × purpose; `bases` has a comma before and after each."""
    schema = {
        **dict.fromkeys(("jurisdiction", "purpose", "point", "bases", "unasked", "separate_consent"), pl.String),
        "double_opt_in": pl.Boolean, "grant_lasts_days": pl.Int32, "is_restriction": pl.Boolean, "weak_link_weight": pl.Float64,
    }  # fmt: skip
    rows = []
    for jurisdiction in policy.jurisdictions or ("",):
        law = policy.rules(jurisdiction)
        rows += [
            (
                jurisdiction, name, purpose.point, f",{','.join(law.bases)},", law.unasked.get(name), law.separate_consent.get(name),
                name in law.double_opt_in, law.grant_lasts_days, name == policy.restriction, policy.weak_link_weight,
            )
            for name, purpose in policy.purposes.items()
            if purpose.basis not in ABSOLUTE
        ]  # fmt: skip
    return schema, rows


def _countries(policy: Policy) -> Rows:
    """Country × jurisdiction with its place in strictness; no country is the default's."""
    schema = {"jurisdiction": pl.String, "country": pl.String, "strictness": pl.Int32}
    rows: list[tuple[Any, ...]] = [
        (name, country, place)
        for place, name in enumerate(policy.strictest_first)
        for country in policy.jurisdictions[name].countries
    ]
    place = policy.strictest_first.index(policy.default_jurisdiction) if policy.jurisdictions else 0
    return schema, [*rows, (policy.default_jurisdiction, None, place)]
