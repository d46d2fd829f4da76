"""Rules over a real lake: what stewards leave open, labels, generic values, accounts, identical values, homes."""

from collections import Counter, defaultdict
from itertools import combinations, pairwise

import polars as pl
import pytest
from psycopg.types.json import Jsonb

from cdp.identity_rules import IdentityRules, shipped_rules
from cdp.lake import delta, register
from cdp.lake.build import sql_file
from cdp.stewardship import Act, decide, split, undo
from cdp.store import decisions, evidence, review
from identity import artefact, households, ids, labels, lifecycle
from tests.conftest import cdp
from tests.identity.lake import NOW, change, forget, land, partition, run

pytestmark = pytest.mark.long


def queue_over_nothing(case):
    """The select of the queue, over customers that own nothing and were asked nothing."""
    for table, columns in (
        ("core__loyalty_balances", "customer_id varchar, balance bigint"), ("core__customer_orders", "customer_id varchar, currency varchar, orders bigint, spent double"),
        ("core__customer_consents", "customer_id varchar, purpose varchar, allowed boolean"),
    ):  # fmt: skip
        case.lake.write(
            lambda t=table, c=columns: case.lake.connection.execute(f"create or replace table lake.main.{t} ({c})"), "e"
        )
    return sql_file("review", "core__review_pairs").sql


@pytest.mark.parametrize(
    ("table", "rows", "worth"),
    [
        ("core__loyalty_balances", "('{0}', 5000), ('{1}', 700)", 700),
        # 500 average orders of GBP 100; 300 of them, 1 of JPY 100,000 and, where nothing tells what one costs, 4 of another currency
        (
            "core__customer_orders",
            "('{0}', 'GBP', 300, 50000), ('{1}', 'GBP', 500, 30000), ('{1}', 'JPY', 1, 100000), ('{1}', 'XXX', 4, 0)",
            3050,
        ),
        ("core__customer_consents", "('{0}', 'marketing', true), ('{1}', 'marketing', false)", 50),
    ],
)
def test_the_queue_begins_with_what_a_decision_would_move_most(case, table, rows, worth):
    """Points and spend of the smaller side, whatever the currency, and consent on which the sides disagree."""
    run(case)
    query = (
        f"select left_customer, right_customer, impact from ({queue_over_nothing(case)}) order by impact desc, left_id"
    )
    plain = case.lake.rows(query)
    assert plain
    left, right, impact = plain[-1]
    assert impact > 0
    values = rows.format(left, right)
    case.lake.write(lambda: case.lake.connection.execute(f"insert into lake.main.{table} values {values}"), "worth")
    ranked = {(a, b): found for a, b, found in case.lake.rows(query)}
    assert ranked[left, right] == pytest.approx(impact * (1 + worth))
    assert next(iter(ranked)) == (left, right) or worth == 50


def test_unsure_joins_and_parts_nobody_and_is_asked_no_more(case):
    """A borderline pair that a steward cannot tell stays as it is, in this run and a full one, and leaves the queue."""
    _, _, before = run(case)
    query = queue_over_nothing(case)
    left, right = case.lake.rows(f"select left_id, right_id from ({query}) order by 1, 2 limit 1")[0]
    done = decide(case.store, left, right, "unsure", 1.0, Act("test", "cannot tell", NOW))
    assert done.moved == 0
    _, _, after = run(case)
    assert case.lake.rows(
        "select verdict from core__steward_links where left_id = ? and right_id = ?", sorted((left, right))
    ) == [("unsure",)]
    assert (left, right) not in set(case.lake.rows(f"select left_id, right_id from ({query})"))
    assert after == before
    forget(case.lake)
    assert run(case)[2] == before
    undo(case.store, done.changeset_id, Act("test", "ask again", NOW))
    run(case)
    assert (left, right) in set(case.lake.rows(f"select left_id, right_id from ({query})"))


def asked_of_several(case, assigned):
    """A question of the queue about customers with more records than the two it names: question, another pair of their records."""
    members = {}
    for record, customer in sorted(assigned.items()):
        members.setdefault(customer, []).append(record)
    query = "select left_id, right_id, left_customer, right_customer, weight, impact"
    for left, right, one, other, *worth in case.lake.rows(f"{query} from ({queue_over_nothing(case)}) order by 1, 2"):
        for beside in ((a, b) for a in members[one] for b in members[other] if {a, b} != {left, right}):
            return (left, right, *worth), beside
    raise AssertionError("no customer of the queue has two records")


def test_customers_of_whose_records_a_decision_stands_are_asked_about_no_more(case):
    """Whichever pair of records it named: another of theirs is the same question, in the queue that the next run makes too."""
    question, beside = asked_of_several(case, run(case)[2])
    done = decide(case.store, *beside, "different", 1.0, Act("test", "father and son", NOW))
    run(case)
    asked = f"select left_id, right_id, weight, impact from ({queue_over_nothing(case)})"

    def waiting():
        review.replace(case.store, [(*row, Jsonb({})) for row in case.lake.rows(asked)])
        return {(row["left_id"], row["right_id"]) for row in review.pairs(case.store, None)}

    assert question[:2] not in waiting()
    undo(case.store, done.changeset_id, Act("test", "ask again", NOW))
    run(case)
    assert question[:2] in waiting()
    case.store.execute("delete from review_pairs")


@pytest.mark.parametrize("verdict", ["same", "different", "unsure"])
def test_what_is_decided_while_a_run_makes_the_queue_is_not_asked_again_by_it(case, verdict):
    question, beside = asked_of_several(case, run(case)[2])
    row = (*question, Jsonb({}))
    assert review.replace(case.store, [row]) == 1
    done = decide(case.store, *beside, verdict, 1.0, Act("test", "said meanwhile", NOW))
    assert review.waiting(case.store) == 0, "nor by the queue as it stands"
    assert review.replace(case.store, [row]) == 0
    undo(case.store, done.changeset_id, Act("test", "ask again", NOW))
    assert review.replace(case.store, [row]) == 1
    case.store.execute("delete from review_pairs")


def test_decisions_are_labels_that_measure_a_model(case):
    """One pair that every model joins, told apart by a person, and one that none joins, called one."""
    same_values = [("Quentin", "Label", "1971-02-03", "quentin.label@post.cn", None, "QL11QL", "leeds")] * 2
    others = [("Quentin", "Label", "1971-02-03", "quentin.label@post.cn", None, "QL12QL", "york"), ("Berta", "Zander", "1988-09-10", "berta@post.cn", None, "BZ11BZ", "hull")]  # fmt: skip
    land(case.lake, [*same_values[:1], *others, *same_values], 12_000, anew=False)
    run(case)
    trained, act = artefact.load(case.workspace.path("models")), Act("test", "label", NOW)
    payloads = dict(case.lake.rows("select record_id, to_json({'given_key': given_key, 'first': first, 'root': root, 'family': family, 'words': words, "
        "'rest': rest, 'birth_date': birth_date, 'birth_full': birth_full, 'birth_year': birth_year, 'email': email, 'email_user': email_user, 'email_local': email_local, "
        "'phone': phone, 'postal_code': postal_code, 'district': district, 'city': city, 'records': 1})::varchar from core__payloads where record_id between 'web:order:012000' and 'web:order:012002'"))  # fmt: skip
    with case.store.transaction(force_rollback=True):
        for record, compared in payloads.items():
            case.store.execute("insert into payloads (record_id, compared, keys, row_hash) values (%s, %s, '{}', '')", [record, compared])  # fmt: skip
        assert labels.measure(case.store, trained).labels == 0
        decide(case.store, "web:order:012000", "web:order:012001", "different", 9.0, act)
        decide(case.store, "web:order:012000", "web:order:012002", "same", -9.0, act)
        decide(case.store, "web:order:012001", "web:order:012002", "unsure", 0.0, act)
        found = labels.measure(case.store, trained)
        for record in ("web:order:012003", "web:order:012004"):  # of the values of the first, under which theirs stand
            case.store.execute("insert into edges values ('web:order:012000', %s, 'identical', 'probabilistic', 20, 'm', '{}', '')", [record])  # fmt: skip
            decide(case.store, record, "web:order:012001", "same", 9.0, act)
        decide(case.store, "web:order:012003", "web:order:012004", "same", 20.0, act)
        more = labels.measure(case.store, trained)
    assert (found.labels, found.agreeing, found.missed, found.wrong, found.joined) == (2, 0, 1, 1, 1)
    assert (more.labels, more.agreeing, more.joined) == (5, 3, 4)


def test_two_who_share_one_value_each_with_a_third_share_nothing_once_it_is_kept_apart(case):
    """The batch's own: of the two phones of the first the others hold one each."""
    shared = ("+447700955501", "+447700955502")
    rows = [(None, None, None, None, shared[0], None, None), ("Una", "Star", None, None, shared[0], None, None), ("Rob", "Hill", None, None, shared[1], None, None)]  # fmt: skip
    land(case.lake, rows, 12_900, anew=False)
    first, *others = (f"web:order:{12_900 + at:06d}" for at in range(3))
    case.lake.rows("insert into core__record_identifiers select record_id, type, ? as value, first_seen, last_seen, blocked "
        "from core__record_identifiers where record_id = ? and type = 'phone'", [shared[1], first])  # fmt: skip
    assert len({run(case)[2][record] for record in (first, *others)}) == 1
    done = [decide(case.store, first, other, "different", 1.0, Act("test", "not hers", NOW)) for other in others]
    assert len({run(case)[2][record] for record in (first, *others)}) == 3
    for act in done:
        undo(case.store, act.changeset_id, Act("test", "put back", NOW))


def test_what_hangs_on_a_record_that_is_not_asked_for_hangs_on_the_first_that_is_value_by_value(case):
    """As after a split: b, c and d share values with a, and what two of them share of those they share without it."""
    rows = [
        ("a", "b", "phone", "exact", "1|2|5"), ("a", "c", "phone", "exact", "1|2"), ("a", "d", "phone", "exact", "2|3"), ("a", "e", "phone", "exact", "4"),
        ("a", "c", "order_reference", "rule", "o1"), ("a", "d", "order_reference", "rule", "o1"), ("a", "d", "identical", "probabilistic", None),
        ("a", "e", "identical", "probabilistic", None), ("a", "b", "similar", "probabilistic", None), ("b", "e", "email", "exact", "m"),
    ]  # fmt: skip
    with case.store.transaction(force_rollback=True):
        for left, right, kind, sort, said in rows:
            told = Jsonb({} if said is None else {"identifier": kind, "values": said, "values_shared": len(said.split("|"))})  # fmt: skip
            case.store.execute("insert into edges values (%s, %s, %s, %s, 20, 'm', %s, '')", [left, right, kind, sort, told])  # fmt: skip
        case.store.execute("insert into payloads (record_id, compared, keys, row_hash) values ('a', '{}', '{7}', '')")
        found = evidence.of_records(case.store, ["b", "c", "d", "e"])
    told = {edge[:3]: (edge[5].get("values"), edge[5].get("values_shared")) for edge in found.edges}
    assert told == {
        ("b", "c", "phone"): ("1|2", 2), ("b", "d", "phone"): ("2", 1), ("c", "d", "order_reference"): ("o1", 1), ("d", "e", "identical"): (None, None),
        ("b", "e", "email"): ("m", 1),
    }  # fmt: skip
    assert found.payloads == {"d": ({}, [7])}
    assert evidence.firsts(found) == {"d": "d", "e": "d"}


def test_a_split_says_nothing_again_that_a_steward_judged_and_what_it_says_is_nobodys_judgement(case):
    rows = [("Sid", "Word", "1966-02-03", "sid.word@post.cn", None, "SW11SW", "leeds")] * 4
    land(case.lake, rows, 12_950, anew=False)
    one, two, three, four = (f"web:order:{12_950 + at:06d}" for at in range(4))
    assigned = run(case)[2]
    act = Act("test", "seen together", NOW)
    judged = decide(case.store, one, two, "same", 9.0, act)
    done = split(case.store, assigned[one], [three], act, lambda: ids.uuid7(NOW))
    assert decisions.confirmed(case.store, [one, two, three, four]) == {(one, two): "test"}
    weights = {
        edge[4] for edge in evidence.of_records(case.store, [one, two, three, four]).edges if edge[3] == "steward"
    }
    assert weights == {evidence.CERTAIN, evidence.KEPT}
    for outcome in (done, judged):
        undo(case.store, outcome.changeset_id, act)


def test_a_phone_that_becomes_generic_takes_its_past_joins_back_in_a_run_over_new_data(case):
    """Two records with nothing but a phone in common are one person, until the phone stands under too many names."""
    phone = "+447700944444"
    pair = [("Uma", "Shared", None, None, phone, None, None), ("Uma", "Shared", None, None, phone, None, "leeds")]
    land(case.lake, pair, 13_000, anew=False)
    _, _, assigned = run(case)
    assert assigned["web:order:013000"] == assigned["web:order:013001"]
    crowd = [(given, family, None, None, phone, None, None) for given, family in
             zip(("Vera", "Wim", "Xia", "Yan", "Zoe", "Abel", "Bea", "Carl", "Dina", "Emil", "Fay", "Gus") * 2, ("Alder", "Birch", "Cedar", "Dogwood") * 6, strict=True)]  # fmt: skip
    most = shipped_rules().names
    land(case.lake, crowd[: most + 5], 13_100, anew=False)
    compared, _, assigned = run(case)
    assert compared.fresh < 60, "not a full run"
    assert len({assigned[f"web:order:{13_100 + at:06d}"] for at in range(most + 5)}) > most
    assert not case.lake.rows("select 1 from core__identifier_edges where left_id >= 'web:order:013000'")
    assert case.lake.rows("select count(*) from core__payloads where phone = ?", [phone]) == [(0,)]
    stepwise = partition(assigned)
    forget(case.lake)
    _, _, again = run(case)
    assert partition(again) == stepwise


def test_records_of_identical_values_are_scored_once_however_many_they_are(case):
    """300 receipts of one person are one payload: no pair more than one receipt makes."""
    receipt = ("Igor", "Receipt", "1969-04-05", "igor.receipt@post.cn", "+447700933333", "IR11IR", "leeds")
    land(case.lake, [receipt], 14_000, anew=False)
    alone = run(case)[0].candidates
    land(case.lake, [receipt] * 300, 15_000, anew=False)
    compared, _, assigned = run(case)
    assert compared.candidates <= alone + 1
    assert len({assigned[f"web:order:{15_000 + at:06d}"] for at in range(300)} | {assigned["web:order:014000"]}) == 1
    found = "left_id between 'web:order:014000' and 'web:order:015999'"
    assert case.lake.scalar(f"select count(*) from core__probabilistic_edges where {found}") <= 300
    assert case.lake.scalar(f"select count(*) from core__identifier_edges where {found}") <= 2 * 300


def test_two_accounts_of_a_source_that_gives_a_person_one_stay_two_people(case):
    twice = [("Paula", "Account", "1982-08-09", "paula.account@post.cn", "+447700922222", "PA11PA", "leeds")] * 2
    land(case.lake, twice, 16_000, anew=False)
    _, _, before = run(case)
    assert before["web:order:016000"] == before["web:order:016001"]
    case.lake.write(
        lambda: (
            case.lake.rows("update lake.main.core__contact_records set identifier = 'account' where record_id in ('web:order:016000', 'web:order:016001')"),
            delta.tell(case.lake, "core__contact_records", {"record_id": "select unnest(['web:order:016000', 'web:order:016001']) as record_id"}),
            register.record(case.lake, "core__contact_records", "accounts"),
        ),
        "accounts",
    )  # fmt: skip
    rules = IdentityRules.model_validate({**shipped_rules().model_dump(), "one_account": ["web"]})
    _, _, apart = run(case, rules)
    assert apart["web:order:016000"] != apart["web:order:016001"]
    reasons = case.lake.rows("select reason from core__identity_cuts where left_id = 'web:order:016000'")
    assert reasons == [("two accounts of a source that gives a person one",)]
    _, _, back = run(case, IdentityRules.model_validate({**shipped_rules().model_dump(), "one_account": []}))
    assert back["web:order:016000"] == back["web:order:016001"]


def test_homes_keep_their_ids_when_everything_is_made_again_and_when_somebody_moves_in(case):
    family = [("Nora", "Lasting", "1970-01-02", "nora.l@post.cn", None, "LH11LH", "leeds"), ("Otto", "Lasting", "1999-03-04", "otto.l@post.cn", None, "LH11LH", "leeds")]  # fmt: skip
    land(case.lake, family, 17_000, anew=False)

    def homes():
        run(case)
        households.build_households(case.lake, case.store, NOW)
        found = dict(case.lake.rows("select record_id, household_id from core__households"))
        case.store.execute("delete from households")
        with case.store.cursor() as cursor:
            cursor.executemany("insert into households (record_id, household_id, row_hash) values (%s, %s, '')", list(found.items()))  # fmt: skip
        return found

    before = homes()
    assert before["web:order:017000"] == before["web:order:017001"]
    forget(case.lake)
    assert homes() == before
    land(
        case.lake,
        [("Pia", "Lasting", "2004-05-06", "pia.l@post.cn", None, "LH11LH", "leeds")],
        17_500,
        anew=False,
    )
    after = homes()
    assert {after[r] for r in ("web:order:017000", "web:order:017001", "web:order:017500")} == {
        before["web:order:017000"]
    }
    case.store.execute("delete from households")


HOMES = {  # what two people of different given names have, and whether that is a home
    "one family name at one address": (("Hearth", None, None, "HH11HH", "leeds"), ("Hearth", None, None, "HH11HH", "leeds"), True),
    "one family name, another town of that code": (("Grate", None, None, "HH21HH", "leeds"), ("Grate", None, None, "HH21HH", "york"), False),
    "one address, other family names": (("Hearth", None, None, "HH31HH", "leeds"), ("Stove", None, None, "HH31HH", "leeds"), False),
    "one family name, no address": (("Ember", None, None, None, "leeds"), ("Ember", None, None, None, "leeds"), False),
    "one phone": (("Hearth", None, "+447700988101", None, None), ("Stove", None, "+447700988101", None, None), True),
    "one e-mail": (("Hearth", "both8817@post.cn", None, None, None), ("Stove", "both8817@post.cn", None, None, None), True),
    "a blocked phone": (("Hearth", None, "+447700988102", None, None), ("Stove", None, "+447700988102", None, None), False),
}  # fmt: skip


def test_a_tangle_of_thousands_falls_into_the_homes_it_is_made_of():
    """800 families of four, each tied to the next by one phone."""
    families = [[f"{family:04d}{member}" for member in "abcd"] for family in range(800)]
    tied = {pair for family in families for pair in combinations(family, 2)}
    tied |= {(one[3], other[0]) for one, other in pairwise(families)}
    across = {end: far for one, other in pairwise(families) for end, far in ((one[3], other[0]), (other[0], one[3]))}

    def near(a, b):
        of = [neighbours(person) | {person} for person in (a, b)]
        return len(of[0] & of[1]) / len(of[0] | of[1])

    def neighbours(person):
        return {*families[int(person[:4])], *([across[person]] if person in across else [])} - {person}

    found = households.grouped(sorted((a, b, near(a, b)) for a, b in tied))
    homes = found.group_by("home").agg(pl.col("customer_id").sort())["customer_id"].to_list()
    assert sorted(map(sorted, homes)) == sorted(families)
    large = [(a, b, 1.0) for a, b in combinations("abcdef", 2)]
    assert sorted(households.grouped([*large, ("a", "z", 0.25)])["customer_id"]) == list("abcdef"), (
        "who is alone has no home"
    )


def test_what_makes_a_home_and_what_does_not(case):
    at = {name: 17_900 + 2 * number for number, name in enumerate(HOMES)}
    given = iter(("Wendell", "Ysolde", "Barnaby", "Cressida", "Digby", "Euphemia", "Fergus", "Griselda", "Humphrey", "Isadora", "Jethro", "Keziah", "Lysander", "Minerva"))  # fmt: skip
    for name, (one, other, _) in HOMES.items():
        rows = [(next(given), family, f"19{born}-05", mail, phone, code, city) for born, (family, mail, phone, code, city) in (("61-03", one), ("88-11", other))]  # fmt: skip
        land(case.lake, rows, at[name], anew=False)
    change(case.lake, "core__record_identifiers", "update lake.main.core__record_identifiers set blocked = true where value = '+447700988102'", ["web:order:017912"])  # fmt: skip
    assigned = run(case)[2]
    households.build_households(case.lake, case.store, NOW)
    homes = dict(case.lake.rows("select record_id, household_id from core__households"))
    for name, (_, _, home) in HOMES.items():
        left, right = f"web:order:{at[name]:06d}", f"web:order:{at[name] + 1:06d}"
        assert assigned[left] != assigned[right], name
        assert (left in homes and homes.get(left) == homes.get(right)) == home, name


def test_a_model_aims_at_the_precision_that_the_rules_ask_for(case):
    def threshold(precision):
        rules = IdentityRules.model_validate({**shipped_rules().model_dump(), "precision": precision})
        return lifecycle.train_on(case.lake, rules).threshold

    assert threshold(0.5) == 0.0 < threshold(0.999_99)


def test_phones_shared_two_by_two_are_no_home_of_a_whole_street(case):
    """Each of nine shares one phone with the next; the first three also live under one name at one address."""
    names = ("Abe", "Bix", "Cia", "Dag", "Ewa", "Fay", "Gus", "Hal", "Ivo")
    phones = [f"+4477009661{at:02d}" for at in range(len(names))]
    said = {given: (given, "Chainer" if at < 3 else f"Street{given}", f"19{60 + at}-03-04", f"{given.lower()}.chain@post.cn", phones[at], "CH11CH" if at < 3 else None, "leeds") for at, given in enumerate(names)}  # fmt: skip
    land(case.lake, list(said.values()), 17_700, anew=False)
    records = [f"web:order:{17_700 + at:06d}" for at in range(len(names))]
    for at, record in enumerate(records[1:]):
        case.lake.rows("insert into core__record_identifiers select record_id, type, ? as value, first_seen, last_seen, blocked "
            "from core__record_identifiers where record_id = ? and type = 'phone'", [phones[at], record])  # fmt: skip
    assigned = run(case)[2]
    assert len({assigned[record] for record in records}) == len(names)
    households.build_households(case.lake, case.store, NOW)
    homes = dict(case.lake.rows("select record_id, household_id from core__households"))
    links = case.lake.rows(households.TIES, {"most": households.MOST})
    known = defaultdict(set)
    for one, other, _ in links:
        known[one] |= {one, other}
        known[other] |= {one, other}
    near = [len(known[one] & known[other]) / len(known[one] | known[other]) for one, other, _ in links]
    assert [shared for *_, shared in links] == pytest.approx(near)
    assert min(near) < 0.5 < max(near)
    assert len({homes[record] for record in records[:3]}) == 1
    assert homes[records[0]] != homes.get(records[-1])
    sizes = Counter(homes[record] for record in records if record in homes)
    assert 2 <= min(sizes.values()) <= max(sizes.values()) <= 5


def test_a_model_is_trained_listed_and_promoted_from_the_command_line(case):
    models = case.workspace.path("models")
    before = artefact.current(models)
    version = cdp(case.workspace, "model", "train").stdout.split()[-1]
    assert artefact.load(models, version).facts["records"] > 100
    assert version in cdp(case.workspace, "model", "list").stdout
    cdp(case.workspace, "model", "promote", version)
    assert artefact.current(models) == version
    if version != before:
        cdp(case.workspace, "model", "roll-back")
    assert artefact.current(models) == before
