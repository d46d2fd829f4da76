"""A week of the reference case through the landing sensor; then its quarantine and its model, operated by jobs as the UI launches them."""

import os
from collections import defaultdict
from dataclasses import replace
from datetime import datetime, timedelta

import dagster as dg
import pytest

from assets.arrivals import look
from assets.definitions import defs
from assets.launch import prepare_home
from cdp.lake.engine import open_lake
from cdp.quarantine.rows import reasons
from cdp.store.connect import connect, owner_address
from identity import artefact
from tests.conftest import RETAIL_AS_OF, cdp

pytestmark = pytest.mark.long

END = datetime.fromisoformat("2011-12-31T12:00:00+00:00")
DAYS = [
    ["web/events-1.jsonl.gz", "pos/sales-1.csv.gz"], ["app/events-1.jsonl.gz"], ["service/tickets-1.jsonl.gz", "web/events-3.jsonl.gz"],
    ["pos/sales-2.csv.gz"], ["app/events-3.jsonl.gz", "app/events-2.jsonl.gz"], ["web/events-2.jsonl.gz", "service/tickets-2.jsonl.gz"],
    ["web/events-4-late.jsonl.gz", "app/events-4-late.jsonl.gz"],
]  # fmt: skip
STATE = {
    "flags": "select a.records, f.purpose, f.contact_point, f.allowed, f.status, f.reason from core__customer_consents f join together a using (customer_id)",
    "partition": "select records from together",
    "points": "select order_id, sum(amount) from core__ledger_entries group by order_id",
    "counts": "select source, sum(lines), sum(accepted), sum(duplicates), sum(quarantined), sum(suppressed) from ops__reconciliation group by source",
    "orders": "select order_id, record_id, kind, ordered_at, total from core__orders",
}


@pytest.fixture(scope="module")
def week(new_workspace, reference, retail_case):
    """Files land day by day; each day the sensor asks for one run, and for none after it. The promoted model is the whole run's."""
    workspace, case = new_workspace(), reference / "retail_case" / "landing"
    model = artefact.load(retail_case.workspace.path("models"))
    artefact.save(model, workspace.path("models"))
    artefact.promote(workspace.path("models"), model.version)
    assert sorted(name for day in DAYS for name in day) == sorted(
        f"{p.parent.name}/{p.name}" for p in case.rglob("*.gz")
    )
    home = prepare_home(workspace.path("dagster"))
    for number, names in enumerate(DAYS):
        now = END - timedelta(days=len(DAYS) - number)
        for name in names:
            target = workspace.path("landing", *name.split("/"))
            target.write_bytes((case / name).read_bytes())
            os.utime(target, (now.timestamp() - 60, now.timestamp() - 60))
        with dg.DagsterInstance.from_config(str(home)) as instance:
            assert len(look(workspace, instance, now).run_requests) == 1
            cdp(workspace, "run", "--as-of", RETAIL_AS_OF)
            assert look(workspace, instance, now).skip_reason.skip_message == "nothing new"
    return workspace


def state(workspace):
    with open_lake(workspace, read_only=True) as lake:
        lake.rows(
            "create table memory.main.together as select customer_id, list_sort(list(record_id)) as records from core__record_customers group by 1"
        )
        return {name: sorted(map(repr, lake.rows(query))) for name, query in STATE.items()}


def customers(workspace):
    """Record → customer, and customer → points."""
    with open_lake(workspace, read_only=True) as lake:
        return dict(lake.rows("select record_id, customer_id from core__record_customers")), dict(
            lake.rows("select customer_id, sum(balance) from core__loyalty_balances group by 1")
        )


def groups(assigned, held):
    """The records of each customer, and its points."""
    found = defaultdict(list)
    for record, customer in assigned.items():
        found[customer].append(record)
    return sorted((sorted(records), held.get(customer, 0)) for customer, records in found.items())


@pytest.mark.timeout(1800)
def test_a_week_of_landing_days_ends_like_one_run_over_all_of_it(week, retail_case):
    with dg.DagsterInstance.from_config(str(week.path("dagster"))) as instance:
        assert len(instance.get_materialized_partitions(dg.AssetKey("raw_web__events"))) == 4
    # by order, not by account: a redemption stays in the account that paid for it when its day's run knew no other
    found, whole = state(week), state(retail_case.workspace)
    for name in STATE:
        assert found[name] == whole[name], name


STANDING = """
    select array(select record_id from assignment o where o.customer_id = a.customer_id order by 1), l.unit, sum(l.balance),
        array(select (t.order_id, t.expires_at, sum(t.remaining))::text from ledger_lots t join ledger_accounts x using (account_id)
              join assignment y using (record_id) where y.customer_id = a.customer_id and x.unit = l.unit and t.remaining > 0
              group by t.order_id, t.expires_at order by 1)
    from ledger_accounts l join assignment a using (record_id) group by a.customer_id, l.unit
"""
DRAWING = """
    select e.posting_key, array(select record_id from ledger_accounts where account_no = any(e.scope) order by 1)
    from ledger_entries e where e.amount < 0 and cardinality(e.scope) > 1
    union select posting_key, array[record_id] from ledger_entries join ledger_accounts using (account_id) where amount < 0 and cardinality(scope) = 1
"""


def books(workspace):
    """Each customer, by its records: balance and open lots; and of each debit the records whose units it was allowed to draw from."""
    with connect(owner_address(workspace)) as store:
        standing = {
            (*records, unit): (balance, tuple(lots)) for records, unit, balance, lots in store.execute(STANDING)
        }
        drew = defaultdict[str, set[str]](set)
        for key, records in store.execute(DRAWING):
            drew[key] |= set(records)
        return standing, drew


def test_balances_and_open_lots_end_alike_but_for_what_was_spent_while_the_payer_was_another_customer(
    week, retail_case
):
    """A merge or split posts nothing: a debit stays where the day's run, which knew no better, let it draw from."""
    (found, drew), (whole, draws) = books(week), books(retail_case.workspace)
    assert sum(balance for balance, _ in found.values()) == sum(balance for balance, _ in whole.values())
    elsewhere = [drew[key] | draws[key] for key in drew.keys() & draws.keys() if drew[key] != draws[key]]
    concerned = set().union(*elsewhere)
    other = [customer for customer in found.keys() | whole.keys() if found.get(customer) != whole.get(customer)]
    print(
        f"{len(other)} of {len(whole)} customers stand otherwise; {len(elsewhere)} of {len(draws)} debits drew from others"
    )
    unexplained = [(c, found.get(c), whole.get(c)) for c in other if not concerned & set(c)]
    assert not unexplained
    assert len(other) <= 0.01 * len(whole)


@pytest.fixture
def launch(week, monkeypatch):
    """Run a job in this process as the UI's run does."""
    monkeypatch.setenv("CDP_HOME", str(week.home))
    monkeypatch.setenv("DAGSTER_HOME", str(prepare_home(week.path("dagster"))))

    def run(job, **ops):
        config = {"resources": {"platform": {"config": {"as_of": RETAIL_AS_OF}}}}
        with dg.DagsterInstance.get() as instance:
            done = (
                defs()
                .resolve_job_def(job)
                .execute_in_process(
                    instance=instance,
                    raise_on_error=False,
                    run_config={**config, "ops": {name: {"config": c} for name, c in ops.items()}},
                )
            )
            said = [
                e.event_specific_data.asset_observation
                for e in done.all_events
                if e.event_type_value == "ASSET_OBSERVATION"
            ]
            failed = [e.event_specific_data.error.message for e in done.all_events if e.is_step_failure]
            return done.success, {k: v.value for observation in said for k, v in observation.metadata.items()}, failed

    return run


def test_rejected_lines_are_previewed_corrected_and_read_again_and_the_counts_reconcile(week, launch):
    rules = [
        {"column": "unit_price", "replace": {"free": "0.00"}},
        {"column": "sold_at", "match": r"31/02/(\d{4}) (.*)", "put": r"28/02/\1 \2"},
    ]
    succeeded, seen, _ = launch("replay_quarantine", correct={"source": "pos", "rules": rules})
    assert succeeded
    assert seen["corrected"] == seen["accepted"] == 130
    assert not list(week.path("landing", "pos").glob("corrected-*"))
    succeeded, done, _ = launch("replay_quarantine", correct={"source": "pos", "rules": rules, "preview": False})
    assert done["landing file"].startswith("corrected-")
    with dg.DagsterInstance.from_config(str(week.path("dagster"))) as instance:
        assert len(look(week, instance, datetime.now(END.tzinfo) + timedelta(minutes=1)).run_requests) == 1
    cdp(week, "run", "--as-of", RETAIL_AS_OF)
    with open_lake(week, read_only=True) as lake:
        assert sum(row["replayed"] for row in reasons(lake)) == 130
        row = lake.rows("select lines, accepted from ops__reconciliation where file like 'corrected-%'")
        assert row == [(130, 130)]
        assert (
            lake.rows(
                "select 1 from ops__reconciliation where lines <> accepted + duplicates + quarantined + suppressed"
            )
            == []
        )
    for wrong, says in (
        ({"source": "pose", "rules": rules}, "no source pose"),
        ({"source": "pos", "rules": [{"column": "prize", "put": "1"}]}, "no column prize"),
        ({"source": "pos", "rules": [{"column": "phone", "replace": {"n/a": "+447700900000"}}]}, "values of people"),
    ):
        succeeded, _, failed = launch("replay_quarantine", correct=wrong)
        assert not succeeded
        assert says in failed[0]


def test_a_model_is_trained_compared_promoted_and_rolled_back_with_what_it_would_move(week, launch):
    before, folder = artefact.current(week.path("models")), week.path("models")
    succeeded, said, _ = launch("train_model")
    assert succeeded
    newest = said["trained"].split()[0]
    assert newest in artefact.versions(folder)
    assert artefact.current(folder) == before
    strict = replace(
        artefact.load(folder), threshold=artefact.load(folder).threshold + 6
    )  # another, whatever the data taught
    artefact.save(strict, folder)
    other = strict.version
    assert launch("compare_model", compare={"version": "nonsense"})[0] is False
    succeeded, seen, _ = launch("compare_model", compare={"version": other})
    assert succeeded
    assert seen["customers now"] > 1000
    assert seen["threshold"] == round(strict.threshold, 4)
    assert {"expected precision", "steward labels agreed"} <= set(seen) & set(said), "training says how good it is too"
    assert f"{before} → {other}" in seen["difference"]
    assert artefact.current(folder) == before
    was, held = customers(week)
    succeeded, promoted, _ = launch("promote_model", promote={"version": other})
    assert (succeeded, promoted["promoted"], artefact.current(folder)) == (True, other, other)
    assert {name: promoted[name] for name in seen} == seen, "what compare showed is shown once more"
    cdp(week, "run", "--as-of", RETAIL_AS_OF)
    now, holds = customers(week)
    assert not set(was.values()) - set(now.values()), "a stricter model only splits: every id stays"
    parted = {was[record] for record in was if was[record] != now[record]}
    assert seen["split"] == len(parted) > 10
    assert seen["records whose id moves"] == sum(was[record] != now[record] for record in was)
    assert seen["customers then"] == len(set(now.values()))
    assert seen["balances that change (default, points)"] == sum(
        held.get(c, 0) != holds.get(c, 0) for c in set(was.values())
    )
    succeeded, back, _ = launch("roll_back_model")
    assert (succeeded, back["rolled back to"], artefact.current(folder)) == (True, before, before)
    assert back["merged with another"] > seen["split"], "those that were split, and the parts they were split into"
    cdp(week, "run", "--as-of", RETAIL_AS_OF)
    again, holds = customers(week)  # at a tie the older id is kept; here all are of one moment
    assert groups(again, holds) == groups(was, held)
    assert all(again[record] == was[record] for record in was if was[record] not in parted)
