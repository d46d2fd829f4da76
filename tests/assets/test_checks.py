"""Every check of the nightly job: each is made to fail by data that is wrong in its way."""

import json
import os
import shutil
import uuid
from dataclasses import replace
from types import SimpleNamespace

import dagster as dg
import pytest
import yaml

from assets.automation import CHECKS_JOB
from assets.definitions import defs
from assets.defs import ingest, loyalty, models
from assets.defs.alerts import alerts
from assets.launch import prepare_home
from cdp.checks import Finding
from cdp.loyalty import reconcile
from cdp.loyalty.programme import load_programme
from cdp.privacy.suppression import Suppression
from cdp.store import decisions
from cdp.store.decisions import ordered
from identity import artefact
from tests.conftest import NOW, cdp, opened

SOMEBODY = "(select min(customer_id) from core__customers where kind = 'known')"
LAKE = {
    "cluster_sizes": f"insert into lake.main.core__record_customers by name select 'x:y:' || range as record_id, {SOMEBODY} as customer_id from range(200)",
    "link_types": "update lake.main.core__edges set kind = 'probabilistic'",
    "unlinkables": "update lake.main.core__payload_worth set weight = -100",
    "decisions_can_be_used": "update lake.main.core__consent_decisions set purpose = 'fortune_telling' where source = 'web'",
    "consents_hold": "update lake.main.core__customer_consents set allowed = true, status = 'denied'",
    "files_add_up": "update lake.main.ops__reconciliation set lines = lines + 1 where source = 'pos'",
    "replays_reconcile": "insert into lake.main.ops__rejected_rows by name select 'web' as source, 'a' as file, 'abc' as sha256, n as line, 'corrected-1' as replayed_as from range(3) as r(n);"
    "insert into lake.main.ops__reconciliation by name select 'web' as source, 'corrected-1' as file, 1 as lines, 1 as accepted, 0 as duplicates, 0 as quarantined, 0 as suppressed",
    "drift": "insert into lake.main.core__churn_features select f.* replace (w.role as role, case w.role when 'score' then f.age_days else 0 end as recency_days) from core__churn_features f, (values ('holdout'), ('score')) w(role), range(50) where f.role = 'score'",
}
STORE = {
    "ledger_adds_up": "update ledger_accounts set balance = balance + 1 where account_id = (select min(account_id) from ledger_accounts)",
    "id_churn": "update assignment_history set previous_customer_id = gen_random_uuid(), at = now()",
}  # assignment_is_the_stores fails with cluster_sizes: the store knows nothing of the records
FIGURE = 'version: "1"\nrules:\n  - {{name: people, when: "select count(*) from core__customers", above: {}}}\n'
ALERTS = 'version: "1"\nrules:\n  - {name: gone, when: "select count(*) from mart__no_such_table", above: 5}\n'


@pytest.mark.long
def test_a_figure_that_breaks_its_rule_is_told_once_after_the_run_that_found_it_and_when_it_is_over(
    town, hook, monkeypatch
):
    monkeypatch.setenv("CDP_HOME", str(town.home))
    monkeypatch.setenv("CDP_ALERT_WEBHOOK", f"http://127.0.0.1:{hook.server_port}/x")
    repository = defs().get_repository_def()

    def run(limit):
        town.path("alerts.yaml").write_text(FIGURE.format(limit), encoding="utf-8")
        cdp(town, "run", "--as-of", f"{NOW:%Y-%m-%d}")

    def look():
        with dg.DagsterInstance.from_config(str(prepare_home(town.path("dagster")))) as instance:
            return alerts(dg.build_sensor_context(instance=instance, repository_def=repository)).skip_message

    run(10)
    assert look() == "1 messages sent"
    assert look() == "nothing new to tell"
    run(1_000_000)
    assert look() == "1 messages sent"
    said = [message["text"] for message in hook.got]
    assert len(said) == 2
    assert "people" in said[0]
    assert "above 10" in said[0]
    assert "Well again" in said[1]


def test_a_raw_table_that_does_not_add_up_stops_what_stands_on_it_and_every_check_says_what_to_do(
    workspace, monkeypatch
):
    monkeypatch.setenv("CDP_HOME", str(workspace.home))
    line = {"messageId": "m", "type": "page", "anonymousId": "b", "timestamp": "2026-01-01T00:00:00Z"}
    workspace.path("landing", "web", "a.jsonl").write_text(json.dumps(line) + "\n", encoding="utf-8")
    with opened(workspace) as found:  # an earlier file lost two lines
        lost = "insert into lake.main.ops__reconciliation by name select 'web' as source, 'old.jsonl' as file, 3 as lines, 1 as accepted, 0 as duplicates, 0 as quarantined, 0 as suppressed"
        found.lake.write(lambda: found.lake.connection.execute(lost), "lost")
    for name in ("volume", "nulls", "drift"):
        monkeypatch.setattr(ingest.arrivals, name, lambda *_: Finding(False))
    keys = {dg.AssetKey(name) for name in ("ops__erasures", "ops__retention", "ops__landed", "raw_web__events", "core__touches")}  # fmt: skip
    with dg.DagsterInstance.from_config(str(prepare_home(workspace.path("dagster")))) as instance:
        job = defs().resolve_job_def("cdp_run").get_subset(asset_selection=keys)
        done = job.execute_in_process(instance=instance, raise_on_error=False)
    judged = {c.check_name: c for c in done.get_asset_check_evaluations() if c.asset_key.to_user_string() == "raw_web__events"}  # fmt: skip
    assert {name for name, c in judged.items() if not c.passed} == {"reconciliation", "volume", "null_rate", "schema_drift"}  # fmt: skip
    assert all(len(c.metadata["what to do"].value) > 20 for c in judged.values() if not c.passed)
    assert "what to do" not in judged["contract"].metadata
    assert judged["reconciliation"].metadata["files that do not add up"].value == ["old.jsonl"]
    assert "raw_web__events" in {e.step_key for e in done.all_events if e.is_step_failure}, "a blocking check"
    assert "core__touches" not in {e.step_key for e in done.all_events if e.is_step_success}


def test_books_that_do_not_add_up_fail_their_check(platform, monkeypatch):
    programme = load_programme(platform.workspace).at(NOW)
    given = SimpleNamespace(lake=platform.lake, store=platform.store, programme=programme, now=NOW, leave_undone=bool)
    step = loyalty.ops__loyalty_reconciliation.op.compute_fn.decorated_fn
    monkeypatch.setattr(loyalty, "report", lambda lake, built, **parts: dg.MaterializeResult(**parts))  # there is no run
    (sound,) = step(dg.build_asset_context(), given).check_results
    found = reconcile.build_reconciliation
    monkeypatch.setattr(reconcile, "build_reconciliation", lambda *args: (found(*args)[0], [("accounts that do not add up", 1, False)]))  # fmt: skip
    (failed,) = step(dg.build_asset_context(), given).check_results
    assert sound.passed
    assert "what to do" not in sound.metadata
    assert not failed.passed
    assert failed.severity is dg.AssetCheckSeverity.ERROR
    assert "cdp run --force" in failed.metadata["what to do"].value


def compared(town, *arguments):
    return json.loads(cdp(town, "model", "compare", *arguments, "--json").stdout)


def held(town):
    """Customer of every record, and what every flag says."""
    with opened(town) as found:
        flags = found.lake.rows("select customer_id, purpose, contact_point, allowed from core__customer_consents")
        assigned = dict(found.lake.rows("select record_id, customer_id from core__record_customers"))
    return assigned, {tuple(flag): allowed for *flag, allowed in flags}


@pytest.mark.long
def test_other_rules_are_compared_before_they_are_used_and_then_do_what_was_said(new_workspace, built, tmp_path):
    town = new_workspace(built)
    rules = yaml.safe_load(town.path("identity.yaml").read_text(encoding="utf-8"))
    same, strict = tmp_path / "same.yaml", tmp_path / "strict.yaml"
    same.write_text(yaml.safe_dump(rules), encoding="utf-8")
    strict.write_text(yaml.safe_dump({**rules, "blocked": {"email": [".*"], "phone": ["[13579]$"]}}), encoding="utf-8")
    nothing, much = compared(town, "--rules", str(same)), compared(town, "--rules", str(strict))
    assert nothing["unchanged"] == nothing["customers_before"] == nothing["customers_after"] > 100
    assert (nothing["merged"], nothing["split"], nothing["moved"], nothing["balances"], nothing["consents"]) == (0, 0, 0, [], 0)  # fmt: skip
    assert much["split"] > 10
    assert [each["unit"] for each in much["balances"]] == ["points"]
    assert much["balances"][0]["customers"] > 0
    said = cdp(town, "model", "compare", "--rules", str(strict)).stdout
    assert "balances that change (default, points)" in said

    before, flags = held(town)
    strict.replace(town.path("identity.yaml"))
    cdp(town, "run", "--as-of", f"{NOW:%Y-%m-%d}")
    after, then = held(town)
    heirs = {}
    for record, customer in before.items():
        heirs.setdefault(customer, set()).add(after[record])
    otherwise = 0
    for (customer, purpose, point), allowed in flags.items():
        found = {then[key] for heir in heirs[customer] if (key := (heir, purpose, point)) in then}
        otherwise += (not allowed) in found or (allowed and not found)
    givers = {}
    for customer, found in heirs.items():
        for heir in found:
            givers.setdefault(heir, set()).add(customer)
    for (customer, purpose, point), allowed in then.items():
        otherwise += allowed and not any((giver, purpose, point) in flags for giver in givers[customer])
    assert much["customers_after"] == len(set(after.values())) > much["customers_before"]
    assert much["moved"] == sum(after[record] != customer for record, customer in before.items())
    assert much["consents"] == otherwise > 0


@pytest.mark.long
def test_a_model_is_compared_with_one_that_this_program_cannot_read(town, monkeypatch):
    """After an upgrade: promoting another is the way out, and says why there is nothing to compare its quality with."""
    monkeypatch.setenv("CDP_HOME", str(town.home))
    monkeypatch.setenv("DAGSTER_HOME", str(prepare_home(town.path("dagster"))))
    folder = town.path("models")
    in_use = artefact.load(folder)
    other = replace(in_use, threshold=in_use.threshold + 1)
    artefact.save(other, folder)
    path = folder / in_use.version / "model.json"
    text = path.read_text(encoding="utf-8")
    path.write_text(text.replace("the same before the @", "another level"), encoding="utf-8")
    with dg.DagsterInstance.get() as instance:
        config = {"ops": {"compare": {"config": {"version": other.version}}}}
        done = defs().resolve_job_def("compare_model").execute_in_process(instance=instance, run_config=config)
    path.write_text(text, encoding="utf-8")
    (seen,) = [e.event_specific_data.asset_observation for e in done.all_events if e.event_type_value == "ASSET_OBSERVATION"]  # fmt: skip
    assert f"{in_use.version} → {other.version}" in seen.metadata["difference"].value
    assert "train again" in seen.metadata["difference"].value


@pytest.mark.long
def test_a_model_job_means_the_newest_model_that_is_not_in_use(town, tmp_path):
    platform, in_use = SimpleNamespace(models=tmp_path), artefact.load(town.path("models"))
    made = [replace(in_use, threshold=in_use.threshold + more) for more in (2, 1, 0)]
    for age, model in enumerate(reversed(made)):
        artefact.save(model, tmp_path)
        os.utime(tmp_path / model.version / "model.json", (10**9 - age, 10**9 - age))
    artefact.promote(tmp_path, made[2].version)
    assert models.chosen(platform, "").version == made[1].version
    assert models.chosen(platform, made[0].version).version == made[0].version
    for model in made[:2]:
        shutil.rmtree(tmp_path / model.version)
    with pytest.raises(dg.Failure, match="train_model"):
        models.chosen(platform, "")


@pytest.mark.long
def test_every_check_of_the_nightly_job_fails_on_what_it_is_for_and_says_what_to_do(town, monkeypatch):
    monkeypatch.setenv("CDP_HOME", str(town.home))
    monkeypatch.setenv("DAGSTER_HOME", str(prepare_home(town.path("dagster"))))
    with opened(town) as found:
        pairs = found.lake.rows("select left_id, right_id from core__edges where kind = 'probabilistic'")
        emails = found.lake.rows(
            "select value from core__record_identifiers where type = 'email' and not blocked limit 1"
        )
        for name, statement in LAKE.items():
            found.lake.write(lambda s=statement: found.lake.connection.execute(s), name)
        with found.store.transaction():
            found.store.execute("set local cdp.erasing = 'yes'")
            for statement in STORE.values():
                found.store.execute(statement)
            act = uuid.uuid4()
            decisions.add_changeset(found.store, act, "review", NOW, "test", "two people", [])
            decisions.add(found.store, act, [ordered(a, b, "different") for a, b in pairs], NOW, "test", "two people")
    Suppression(town).add([("email", emails[0][0], False)], NOW)
    town.path("alerts.yaml").write_text(ALERTS, encoding="utf-8")
    with dg.DagsterInstance.get() as instance:
        done = defs().resolve_job_def(CHECKS_JOB).execute_in_process(instance=instance, raise_on_error=False)
    failed = [e.event_specific_data.error.message for e in done.all_events if e.is_step_failure]
    assert [text for text in failed if "DagsterAssetCheckFailedError" not in text] == []
    judged = {c.check_name: c for c in done.get_asset_check_evaluations()}
    passed = {name for name, check in judged.items() if check.passed}
    assert passed == set(), "a check that is new here needs data that is wrong in its way"
    beside = {"steward_precision", "suppressed_people_stay_away", "rules_can_be_asked", "assignment_is_the_stores"}
    assert set(judged) == LAKE.keys() | STORE.keys() | beside
    for name, check in judged.items():
        assert len(check.metadata["what to do"].value) > 20, name
        assert emails[0][0] not in repr(check.metadata), name
