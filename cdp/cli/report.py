"""The demo's report: what came in, who was found, how right that is, and one customer as every channel sees them."""

import json
from datetime import datetime
from pathlib import Path
from typing import Any

from cdp.cli.output import table
from cdp.consent.flags import customer_flags
from cdp.consent.policy import load_policy
from cdp.lake.engine import Lake, open_lake
from cdp.loyalty.ladder import standing
from cdp.loyalty.programme import load_programme
from cdp.loyalty.recall import way
from cdp.scores import linkable, score
from cdp.store import consents, customers
from cdp.store.connect import connect, owner_address
from cdp.workspace import Workspace

SAMPLE = """
    select customer_id from core__customers c where kind = 'known' and channels = 'app,pos,service,web' and birth_date is not null
        and exists (select 1 from core__customer_consents x where x.customer_id = c.customer_id and x.conflict)
    order by abs(records - 12), customer_id limit 1
"""
ANY = "select customer_id from core__customers where kind = 'known' order by length(channels) desc, records desc, customer_id limit 1"


def demo_report(workspace: Workspace, truth: Path, now: datetime) -> str:
    """The whole report as text."""
    with open_lake(workspace, read_only=True) as lake, connect(owner_address(workspace)) as store:
        parts = [_came_in(lake, truth / "expected.json"), _found(lake, truth / "records.csv")]
        chosen = lake.scalar(SAMPLE) or lake.scalar(ANY)
        if chosen:
            parts.append(_one(workspace, store, str(chosen), now))
    return "\n\n".join(parts)


def _came_in(lake: Lake, expected: Path) -> str:
    rows = lake.rows(
        "select source, sum(lines), sum(accepted), sum(duplicates), sum(quarantined) from ops__reconciliation group by all order by all"
    )
    wanted = json.loads(expected.read_text(encoding="utf-8"))["rows"] if expected.exists() else {}
    shown = [
        (
            source,
            *(int(n) for n in numbers),
            "yes"
            if wanted.get(source)
            == dict(zip(("lines", "accepted", "duplicates", "quarantined"), map(int, numbers), strict=True))
            else "no",
        )
        for source, *numbers in rows
    ]
    reasons = lake.rows(
        "select coalesce(\"column\", 'line'), reason, count(*) from ops__rejected_rows group by all order by 3 desc limit 5"
    )
    why = "\n".join(f"  {count:>5,}  {column}: {reason}" for column, reason, count in reasons)
    head = ["channel", "lines", "accepted", "sent twice", "quarantined", "as written"]
    return f"WHAT CAME IN\n{table(head, shown)}\nmost frequent reasons for quarantine:\n{why}"


def _found(lake: Lake, truth: Path) -> str:
    kinds = dict(lake.rows("select kind, count(*) from core__customers group by kind"))
    records, edges = (
        lake.scalar("select count(*) from core__contact_records"),
        lake.rows("select kind, count(*) from core__edges group by all order by all"),
    )
    lines = [
        f"{records:,} contact records became {kinds.get('known', 0):,} known customers and {kinds.get('anonymous', 0):,} anonymous visitors,",
        "joined by " + ", ".join(f"{count:,} {kind} links" for kind, count in edges) + ".",
    ]
    if truth.exists():
        predicted = dict(lake.rows("select record_id, customer_id from core__record_customers"))
        s = score(predicted, linkable(truth))
        lines.append(
            f"Against the truth: precision {s.precision:.3f}, recall {s.recall:.3f}, F1 {s.f1:.3f}, B-cubed {s.b_cubed:.3f}"
        )
        lines.append(
            f"({s.records:,} linkable records; largest customer {s.largest} records, largest true person {s.largest_true})."
        )
        lines.append(
            "The people are simulated: these figures prove that it runs, not how well it matches your customers."
        )
    return "WHO IS WHO\n" + "\n".join(lines)


def _one(workspace: Workspace, store: Any, customer: str, now: datetime) -> str:
    stored = customers.profile(store, customer)
    if stored is None:
        return ""
    profile, programme = stored["profile"], load_programme(workspace).at(now)
    known = consents.material(store, customer)
    flags = [f for f in customer_flags(known, load_policy(workspace), now) if f.status != "unknown"]
    accounts, _ = customers.loyalty(store, customer)
    walked = way(store, [row["record_id"] for row in accounts], programme, now)
    held = standing(walked) if walked is not None else None
    events = customers.timeline(store, customer, None, 8)
    spent = "; ".join(
        f"{o['orders']} orders, {o['returns']} returns, {o['spent'][:-2]} {currency}"
        for currency, o in profile["orders"].items()
    )
    balance = sum(account["balance"] for account in accounts if account["unit"] == programme.unit)
    lines = [
        f"{profile['name']['full_name']} ({customer})",
        f"  e-mail {profile['email']['value']}, phone {profile['phone']['value']}, postcode {profile['postal_code']['value']}",
        f"  seen on {', '.join(profile['channels'])} as {profile['records']} records; {spent}",
        f"  {balance:,} {programme.unit}"
        + (f", tier {held.tier}" if held else "")
        + (f", {held.points_to_next:,} to {held.next_tier}" if held and held.next_tier else ""),
        "  may we?",
        *(
            f"    {'yes' if f.allowed else 'no ':<3} {f.purpose:<16} {f.contact_point or '':<34} {f.status}{', conflicting answers' if f.conflict else ''}"
            for f in flags
        ),
        "  last seen doing:",
        *(f"    {e['occurred_at']:%Y-%m-%d %H:%M}  {e['channel']:<8} {e['type']:<12} {_short(e)}" for e in events),
    ]
    return "ONE CUSTOMER, FOUR CHANNELS\n" + "\n".join(line for line in lines if line)


def _short(event: dict[str, Any]) -> str:
    details = event["details"]
    if event["type"] in ("order", "return"):
        return f"{details['total'][:-2]} {details['currency']}, {len(details['lines'])} lines"
    if event["type"] == "points":
        return f"{details['amount']:+,} ({details['reason']})"
    if event["type"] == "consent":
        return f"{details['purpose']} {details['status']}"
    return str((details.get("details") or {}).get("subject") or (details.get("details") or {}).get("page") or "")
