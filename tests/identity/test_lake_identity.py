"""Identity over a real lake: runs over what is new equal full runs, decisions hold, ids last, nothing what-if writes."""

import os
import re
from collections import Counter
from dataclasses import replace

import pytest

from cdp.identity_rules import IdentityRules, Limit, shipped_rules
from cdp.lake import held, register
from cdp.stewardship import Act, Conflict, merge, split, undo
from identity import artefact, graph, households, ids, whatif
from identity.ids import uuid7
from tests.conftest import cdp
from tests.identity.lake import NOW, change, forget, land, leave, partition, person_rows, run


def test_a_run_over_new_data_compares_only_what_is_new_and_gives_what_a_full_run_gives(case, monkeypatch):
    clustered, cluster = [], graph.build_clusters
    monkeypatch.setattr(graph, "build_clusters", lambda *args: clustered.append(cluster(*args)) or clustered[-1])
    for step in range(3):
        land(case.lake, person_rows(40, 50 + step), 600 + 40 * step, anew=False)
        compared, _, assigned = run(case)
        assert 40 <= clustered[-1].records < len(assigned) / 2, "only the components that anything touches"
        threshold = artefact.load(case.workspace.path("models")).threshold
        assert case.lake.scalar("select min(weight) from core__scored_pairs") < threshold, "splitting needs them"
        assert 0 < compared.fresh <= 40
        made = {built.table: (built.made, built.rows) for built in compared.built}
        assert all(0 < made[table][0] < made[table][1] / 2 for table in ("core__scored_pairs", "core__payload_worth"))
        stored = sorted(case.lake.rows("select l, r, round(weight, 6) from core__scored_pairs"))
        forget(case.lake)
        _, churn, again = run(case)
        assert sorted(case.lake.rows("select l, r, round(weight, 6) from core__scored_pairs")) == stored
        assert partition(again) == partition(assigned)
        assert again == assigned
        assert set(churn.values()) == {0}


def test_a_key_that_crosses_its_limit_reopens_those_that_hold_it(case):
    models = case.workspace.path("models")
    learnt, limit = artefact.load(models), 60
    fewer = tuple((rule, limit if rule.parts == ("birth_full",) else most) for rule, most in learnt.plan.rules)
    artefact.save(replace(learnt, plan=replace(learnt.plan, rules=fewer)), models)
    artefact.promote(models, replace(learnt, plan=replace(learnt.plan, rules=fewer)).version)
    run(case)
    crowd = [("Zoe", "Crowd", "1999-09-09", f"crowd{n}z{n}@post.cn", None, "ZZ11ZZ", "leeds") for n in range(limit + 2)]
    land(case.lake, crowd[: limit - 1], 5_000, anew=False)
    run(case)
    land(case.lake, crowd[limit - 1 :], 5_000 + limit, anew=False)
    compared, _, assigned = run(case)
    assert compared.reopened > 0
    stored = sorted(case.lake.rows("select l, r, round(weight, 6) from core__scored_pairs"))
    forget(case.lake)
    _, _, again = run(case)
    assert sorted(case.lake.rows("select l, r, round(weight, 6) from core__scored_pairs")) == stored
    assert again == assigned
    leave(case.lake, [f"web:order:{5_000 + limit:06d}", f"web:order:{5_001 + limit:06d}"])
    compared, _, fewer = run(case)
    assert compared.reopened > 0, "a key that fewer hold again makes a block again"
    stored = sorted(case.lake.rows("select l, r, round(weight, 6) from core__scored_pairs"))
    forget(case.lake)
    _, _, again = run(case)
    assert sorted(case.lake.rows("select l, r, round(weight, 6) from core__scored_pairs")) == stored
    assert again == fewer
    artefact.promote(models, learnt.version)


@pytest.mark.long
def test_shuffled_input_and_another_model_keep_the_ids_of_unchanged_customers(case):
    """CDP_SHUFFLES=20 makes it the long proof."""
    _, _, before = run(case)
    for turn in range(int(os.environ.get("CDP_SHUFFLES", "2"))):
        shuffle = f"create or replace table lake.main.core__contact_records as from core__contact_records order by hash(record_id, {turn})"
        case.lake.write(lambda query=shuffle: case.lake.connection.execute(query), "shuffle")
        forget(case.lake)
        _, churn, shuffled = run(case)
        assert shuffled == before
        assert set(churn.values()) == {0}
    models = case.workspace.path("models")
    old = artefact.current(models)
    from identity import nodes, train

    nodes.create(case.lake, ordered=True)
    other = train.train(case.lake.connection, nodes.TABLE, seed=99, precision=0.9)
    artefact.save(other, models)
    artefact.promote(models, other.version)
    _, churn, upgraded = run(case)
    assert churn["records moved"] == sum(before[record] != upgraded[record] for record in before)
    assert churn["created"] == len(set(upgraded.values()) - set(before.values()))
    assert churn["retired"] == len(set(before.values()) - set(upgraded.values()))
    pairs = set(zip(before.values(), (upgraded[record] for record in before), strict=True))
    assert churn["split"] == sum(n > 1 for n in Counter(was for was, _ in pairs).values())
    assert churn["joined"] == sum(n > 1 for n in Counter(now for _, now in pairs).values())
    same = partition(before) & partition(upgraded)
    assert len(same) > 50
    assert all(before[record] == upgraded[record] for group in same for record in group)
    artefact.promote(models, old)
    _, _, back = run(case)
    assert partition(back) == partition(before)


@pytest.mark.long
def test_decisions_are_obeyed_by_every_later_run_and_their_undo_restores_ids_exactly(case):
    _, _, before = run(case)
    sizes = {}
    for customer in before.values():
        sizes[customer] = sizes.get(customer, 0) + 1
    one, other = [c for c in sorted(sizes) if sizes[c] > 1][:2]
    act = Act("test", "why", NOW)
    done = merge(case.store, [one, other], act)
    forget(case.lake)
    _, _, merged = run(case)
    assert len({merged[r] for r, c in before.items() if c in (one, other)}) == 1
    undo(case.store, done.changeset_id, act)
    _, _, after = run(case)
    assert after == before
    part = sorted(r for r, c in before.items() if c == one)[:1]
    done = split(case.store, one, part, act, lambda: uuid7(NOW))
    forget(case.lake)
    _, _, apart = run(case)
    assert apart[part[0]] != one
    assert len({apart[r] for r, c in before.items() if c == one}) == 2
    with pytest.raises(Conflict, match="apart"):
        merge(case.store, [one, apart[part[0]]], act)
    undo(case.store, done.changeset_id, act)
    _, _, after = run(case)
    assert after == before


@pytest.mark.long
def test_a_merge_undone_out_of_order_leaves_the_later_one_as_it_stands(case):
    """The word of the later merge was kept at a record of the customer that went back."""
    _, _, before = run(case)
    sizes = Counter(before.values())
    first = {customer: min(r for r, c in before.items() if c == customer) for customer in sizes}
    # the word of the later merge is kept at a record of the one that goes back
    one, two = next((a, b) for a in sizes for b in sizes if sizes[a] > sizes[b] and first[b] < first[a])
    three = next(c for c in sizes if sizes[c] < sizes[one] and c != two)
    act = Act("test", "why", NOW)
    wrong = merge(case.store, [one, two], act)
    survivor = wrong.customers[0]
    right = merge(case.store, [survivor, three], act)
    undo(case.store, wrong.changeset_id, act)
    store = dict(case.store.execute("select record_id, customer_id::text from assignment").fetchall())
    forget(case.lake)
    _, _, after = run(case)
    members = [{r for r, c in before.items() if c == customer} for customer in (one, two, three)]
    assert {r: after[r] for group in members for r in group} == {r: store[r] for group in members for r in group}
    undo(case.store, right.changeset_id, act)
    _, _, after = run(case)
    assert after == before


@pytest.mark.long
def test_who_is_left_after_a_split_stays_one_customer_in_the_next_run(case):
    """Records that hang by one shared value each would fall off, once the whole is judged pair by pair."""
    born = ("Wilma", "Keeper", "1971-03-05", "keeper71@post.cn", "+447700977777", "KE11KE", "leeds")
    others = [("Wilma", "Keeper", None, None, "+447700977777", None, None) for _ in range(3)]
    hanging = [(None, None, None, f"box{n}@post.cn", None, None, None) for n in range(6)]
    land(case.lake, [born, *others, *hanging], 8_500, anew=False)
    _, _, before = run(case)
    mine = sorted(f"web:order:{n:06}" for n in range(8_500, 8_510))
    act = Act("test", "why", NOW)
    joined = merge(case.store, sorted({before[r] for r in mine}), act)
    _, _, merged = run(case)
    assert len({merged[r] for r in mine}) == 1
    parted = split(case.store, merged[mine[0]], [mine[1]], act, lambda: uuid7(NOW))
    forget(case.lake)
    _, _, after = run(case)
    assert len({after[r] for r in mine if r != mine[1]}) == 1
    assert after[mine[1]] != after[mine[0]]
    for done in (parted, joined):
        undo(case.store, done.changeset_id, act)
    _, _, after = run(case)
    assert after == before


@pytest.mark.long
def test_what_records_come_to_hold_beside_the_same_values_counts_in_a_run_over_new_data(case):
    """Four accounts of one customer where three are the limit, and a blocked one: nothing else of the records changes."""
    rows = [
        ("Ada", "Held", "1971-01-07", "ada.held@post.cn", f"+4477009771{at:02d}", "AH11AH", "leeds") for at in range(4)
    ]
    land(case.lake, rows, 18_600, anew=False)
    records = [f"web:order:{18_600 + at:06d}" for at in range(4)]
    assert len({run(case)[2][record] for record in records}) == 1
    accounts = ", ".join(
        f"('{record}', 'account', 'acc{at}', now(), now(), false)" for at, record in enumerate(records)
    )
    table = "core__record_identifiers"
    change(case.lake, table, f"insert into lake.main.{table} (record_id, type, value, first_seen, last_seen, blocked) values {accounts}", records)  # fmt: skip
    limits = {"account": {"web": Limit(most=3, priority=9)}}
    rules = IdentityRules.model_validate({**shipped_rules().model_dump(), "limits": limits})
    run(case, rules)
    for told in (f"update lake.main.{table} set value = 'acc0' where type = 'account' and record_id = '{records[3]}'",
                 f"update lake.main.{table} set value = 'acc3' where type = 'account' and record_id = '{records[3]}'",
                 f"update lake.main.{table} set blocked = true where type = 'account' and record_id = '{records[2]}'"):  # fmt: skip
        change(case.lake, table, told, records)
        stepwise = run(case, rules)[2]
        listed = case.lake.rows("select * from core__limit_violations order by all")
        held_by = case.lake.rows("select * from core__identifier_holders order by all")
        forget(case.lake)
        assert run(case, rules)[2] == stepwise, told
        assert case.lake.rows("select * from core__limit_violations order by all") == listed
        assert case.lake.rows("select * from core__identifier_holders order by all") == held_by
        assert bool(listed) == ("acc3" in told), told
    assert not [row for row in held_by if records[2] in row], "a record with a blocked account holds nothing"
    run(case)


def test_a_limit_drops_the_weakest_evidence_and_lists_the_violation(case):
    mover = [
        ("Selina", "Mover", "1977-07-07", f"{name}8821@post.cn", "+447700966666", "MV11MV", "leeds")
        for name in ("blackcat", "whitedog")
    ]
    land(case.lake, mover, 8_000, anew=False)
    _, _, before = run(case)
    assert before["web:order:008000"] == before["web:order:008001"]
    strict = IdentityRules.model_validate(
        {**shipped_rules().model_dump(), "limits": {"email": {"any": Limit(most=1, priority=5)}}}
    )
    _, _, assigned = run(case, strict)
    listed = case.lake.rows("select type, held, most, dropped from core__limit_violations")
    assert listed
    assert all(kind == "email" and n > most for kind, n, most, _ in listed)
    addresses = dict(case.lake.rows("select customer_id, count(distinct value) from core__record_identifiers join core__record_customers using (record_id) where type = 'email' group by 1"))  # fmt: skip
    assert max(addresses.values()) == 1
    _, _, back = run(case)
    assert partition(back) == partition(before)
    assert set(assigned) == set(before)


@pytest.mark.long
def test_each_limit_that_a_customer_breaks_is_listed(case):
    rows = [("Bree", "Both", "1977-07-08", f"bree.both{at}@post.cn", f"+44770096777{at}", "BB11BB", "leeds") for at in range(2)]  # fmt: skip
    land(case.lake, rows, 18_300, anew=False)
    limits = {kind: {"any": Limit(most=1, priority=5)} for kind in ("email", "phone")}
    one, other = (run(case)[2][record] for record in ("web:order:018300", "web:order:018301"))
    assert one == other
    assigned = run(case, IdentityRules.model_validate({**shipped_rules().model_dump(), "limits": limits}))[2]
    assert assigned["web:order:018300"] != assigned["web:order:018301"]
    listed = "select type, held, most, dropped from core__limit_violations where cluster_id = ? order by 1"
    found = case.lake.rows(listed, ["web:order:018300"])
    assert found == [("email", 2, 1, "similar"), ("phone", 2, 1, "similar")]
    nameless = [(None, None, None, f"nameless{at}8@post.cn", "+447700967799", None, None) for at in range(2)]
    land(case.lake, nameless, 18_400, anew=False)
    run(case, IdentityRules.model_validate({**shipped_rules().model_dump(), "limits": limits}))
    assert case.lake.rows(listed, ["web:order:018400"]) == [("email", 2, 1, "phone")], "no values to be alike"


@pytest.mark.long
@pytest.mark.parametrize("kept", ["email", "phone"])
def test_the_identifier_of_the_lowest_priority_goes_first_and_a_limit_may_be_one_sources(case, kept):
    """Two records share mail and phone, a third of another mail only the phone: over one mail a customer, in one source."""
    at = {"email": 18_000, "phone": 18_100}[kept]
    mail, phone = f"prio{at}@post.cn", f"+4477008{at}"
    rows = [("Prudence", "Order", None, mail, phone, None, None), ("Prudence", "Order", None, mail, phone, None, "leeds"),
            ("Prudence", "Order", None, f"x{mail}", phone, None, "york")]  # fmt: skip
    land(case.lake, rows, at, anew=False)
    ours = [f"web:order:{at + n:06d}" for n in range(3)]
    _, _, before = run(case)
    assert len({before[record] for record in ours}) == 1

    def under(source):
        first, then = {"email": (3, 5), "phone": (5, 3)}[kept]
        limits = {"phone": {"any": Limit(most=99, priority=first)}, "email": {source: Limit(most=1, priority=then)},
                  "card": {"any": Limit(most=9, priority=1)}}  # fmt: skip
        rules = IdentityRules.model_validate({**shipped_rules().model_dump(), "limits": limits})
        assigned = run(case, rules)[2]
        listed = case.lake.rows("select source, dropped from core__limit_violations where cluster_id = ?", ours[:1])
        return [assigned[record] for record in ours], listed

    (one, two, three), ((source, dropped),) = under("web")
    assert source == "web"
    if kept == "email":
        assert one == two != three, "the phone went, the mail joins on"
        assert dropped.split(", ")[-1] == "phone"
    else:
        assert len({one, two, three}) == 3, "the mail went first and mended nothing: the phone had to go too"
        assert dropped.split(", ")[-2:] == ["email", "phone"]
    assert set(dropped.split(", ")) <= {"similar", "identical", "email", "phone"}, "what these records have, no more"
    (one, two, three), listed = under("pos")
    assert one == two == three, "web may hold what it likes"
    assert listed == []


@pytest.mark.long
def test_different_birth_dates_and_given_names_are_two_people_whatever_they_share(case):
    twins = [("Oscar", "Twin", "2001-05-06", "twin@post.cn", "+447700955555", "TW11TW", "leeds"), ("Freya", "Twin", "1998-11-23", "twin@post.cn", "+447700955555", "TW11TW", "leeds")]  # fmt: skip
    land(case.lake, [*twins, (None, "Twin", None, "twin@post.cn", None, None, None)][:2], 9_000, anew=False)
    _, _, assigned = run(case)
    assert assigned["web:order:009000"] != assigned["web:order:009001"]
    done = merge(
        case.store, [assigned["web:order:009000"], assigned["web:order:009001"]], Act("test", "one after all", NOW)
    )
    _, _, decided = run(case)
    assert decided["web:order:009000"] == decided["web:order:009001"], "a steward's word beats a rule"
    undo(case.store, done.changeset_id, Act("test", "no", NOW))
    _, _, assigned = run(case)
    assert assigned["web:order:009000"] != assigned["web:order:009001"]
    households.build_households(case.lake, case.store, NOW)
    homes = dict(case.lake.rows("select record_id, household_id from core__households"))
    assert homes["web:order:009000"] == homes["web:order:009001"]
    assert homes["web:order:009000"].startswith("home_")
    assert not set(homes.values()) & set(assigned.values())


@pytest.mark.long
def test_a_record_with_nothing_but_a_shared_phone_belongs_to_the_home_not_to_a_guess_and_a_shops_phone_is_nobodys(case):
    shared, shops = "+447700911111", "+447700922299"
    home = [("Hugo", "Homely", "1961-05-06", "hugo.h@post.cn", shared, None, "leeds"), ("Ida", "Homely", "1963-11-23", "ida.h@post.cn", shared, None, "york"),
            (None, None, None, None, shared, None, None)]  # fmt: skip
    names = ("Ada", "Ben", "Cyd", "Dov", "Eve", "Fox", "Gil")[: households.MOST + 1]
    shop = [(given, f"Of{given}", f"19{60 + n}-05-0{n + 1}", f"{given}@shop.cn", shops, None, None) for n, given in enumerate(names)]  # fmt: skip
    land(case.lake, [*home, *shop], 19_000, anew=False)
    _, _, assigned = run(case)
    households.build_households(case.lake, case.store, NOW)
    homes = dict(case.lake.rows("select record_id, household_id from core__households"))
    hugo, ida, nameless, *others = [f"web:order:{19_000 + n:06d}" for n in range(len(home) + len(shop))]
    assert len({assigned[record] for record in (hugo, ida, nameless)}) == 3
    assert homes[hugo] == homes[ida] == homes[nameless]
    assert len({assigned[record] for record in others}) == households.MOST + 1
    assert not homes.keys() & set(others)


@pytest.fixture
def books(case):
    """Two of three records have earned ten points, every second one four coins; nothing was decided."""
    lake = case.lake
    entries = "select record_id, 'club' as programme, 'points' as unit, 10 as amount from core__contact_records where hash(record_id) % 3 > 0 union all select record_id, 'club', 'coins', 4 from core__contact_records where hash(record_id) % 2 = 0"
    lake.write(
        lambda: lake.connection.execute(f"create or replace table lake.main.core__ledger_entries as {entries}"), "books"
    )
    for table in (
        "core__ledger_entries",
        "core__consent_decisions",
        "core__consent_rules",
        "core__customer_jurisdictions",
    ):
        lake.write(lambda t=table: register.record(lake, t, "books"), "books")  # of consent as empty as they were made
    return lake


def sums(lake, assigned):
    """Customer and unit → what its records hold."""
    found = Counter()
    for record, unit, amount in lake.rows("select record_id, unit, amount from core__ledger_entries"):
        found[assigned[record], unit] += amount
    return found


@pytest.mark.long
@pytest.mark.parametrize("stricter", [12, -8])
def test_what_if_says_what_a_run_would_then_do_and_writes_nothing(case, books, stricter):
    _, _, before = run(case)
    models = case.workspace.path("models")
    trained = artefact.load(models)
    same = whatif.compare(case.lake, trained, shipped_rules(), NOW, other_rules=False)
    assert (same.merged, same.split, same.moved, same.balances) == (0, 0, 0, [])
    assert same.unchanged == same.customers_before == same.customers_after
    at, other = case.lake.snapshot(), replace(trained, threshold=trained.threshold + stricter)
    told = whatif.compare(case.lake, other, shipped_rules(), NOW, other_rules=False)
    assert case.lake.snapshot() == at, "nothing is written"
    held.let_go(case.lake)

    artefact.save(other, models)
    artefact.promote(models, other.version)
    _, _, after = run(case)
    was, now = sums(books, before), sums(books, after)
    every = [(customer, unit) for customer in set(before.values()) for unit in ("coins", "points")]
    changed = [key for key in every if now[key] != was[key]]
    kept = partition(before) & partition(after)
    assert (told.split if stricter > 0 else told.merged) > 0
    assert told.customers_after == len(set(after.values()))
    assert told.unchanged == len(kept)
    assert told.moved == sum(before[record] != after[record] for record in before)
    figures = {(each.unit, each.customers, each.held) for each in told.balances}
    assert figures == {(unit, sum(k[1] == unit for k in changed), sum(was[k] for k in changed if k[1] == unit)) for unit in ("coins", "points")}  # fmt: skip
    artefact.promote(models, trained.version)
    _, _, back = run(case)
    assert partition(back) == partition(before)


def test_a_model_is_refused_where_it_is_absent_or_of_another_program(case):
    from cdp.errors import ConfigError

    models = case.workspace.path("models")
    with pytest.raises(ConfigError, match="no model"):
        artefact.load(models, "nothing")
    path = models / artefact.current(models) / "model.json"
    text = path.read_text(encoding="utf-8")
    path.write_text(text.replace("the same before the @", "another level"), encoding="utf-8")
    with pytest.raises(ConfigError, match="train again"):
        artefact.load(models)
    listed = cdp(case.workspace, "model", "list")
    assert listed.returncode == 0
    assert re.search(rf"{path.parent.name}.*in use.*train again", listed.stdout)
    path.write_text(text, encoding="utf-8")
    assert replace(artefact.load(models)).version == path.parent.name, "what is loaded is what was saved"


def test_uuid7_is_what_ids_are():
    assert ids.uuid7(NOW)[14] == "7"
