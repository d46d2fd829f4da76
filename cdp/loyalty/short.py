"""The short form of a programme: one unit, points for money, tiers by points earned. It is written out before it is checked."""

from typing import Any

KEYS = {"unit", "earn", "tiers", "tier_window_days", "expiry"}


def written_out(values: dict[str, Any]) -> dict[str, Any]:
    """The long form of a short programme; a long one stays as it is."""
    if "units" in values or not KEYS & set(values):
        return values
    rest = {name: value for name, value in values.items() if name not in KEYS}
    unit, earn, days = values.get("unit", "points"), values.get("earn") or {}, values.get("tier_window_days", 365)
    known = {"points_per_unit", "exclude_skus"}
    if unknown := sorted(set(earn) - known):
        raise ValueError(f"earn: unknown key {', '.join(unknown)}, expected {', '.join(sorted(known))}")
    expiry = values.get("expiry", "never")
    rule = {"code": "spend", "unit": unit, "per_money": {"units": earn.get("points_per_unit", 1)}, "exclude_skus": earn.get("exclude_skus", ())}  # fmt: skip
    levels = [{"code": tier["name"], "enter_at": tier["points"]} for tier in values.get("tiers", ())]
    return {
        **rest,
        "units": [{"code": unit, "expiry": {"mode": expiry} if isinstance(expiry, str) else expiry}],
        "measures": [{"code": "earned", "unit": unit, "window": "rolling", "length": f"P{days}D"}],
        "ladders": [{"code": "tier", "measure": "earned", "levels": levels}] if levels else [],
        "rules": [rule],
    }
