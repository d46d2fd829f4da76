"""The reference case through the whole pipeline, judged by its truth and by independent recomputation."""

import csv
import itertools
import json
import random
from collections import Counter, defaultdict
from datetime import datetime
from decimal import Decimal
from fractions import Fraction
from math import floor

import pytest

from cdp.lake import register
from cdp.lake.engine import open_lake
from cdp.lake.tables import OPERATIONS, shapes
from cdp.loyalty import orders, replay
from cdp.loyalty.posting import post
from cdp.loyalty.programme import load_programme
from cdp.scores import score
from cdp.store.changes import sequence
from cdp.store.connect import connect, owner_address
from tests.conftest import RETAIL_AS_OF, ROOT, RetailCase, api_key, cdp

EXCLUDED = {"POST", "D", "M", "C2", "DOT", "S", "B", "BANK CHARGES", "CRUK", "AMAZONFEE"}


@pytest.fixture(scope="module")
def lake(retail_case: RetailCase):
    with open_lake(retail_case.workspace, read_only=True) as found:
        yield found


@pytest.fixture(scope="module")
def truth(retail_case: RetailCase):
    with (retail_case.truth / "records.csv").open(encoding="utf-8") as file:
        return list(csv.DictReader(file))


@pytest.fixture(scope="module")
def assigned(retail_case: RetailCase):
    with connect(owner_address(retail_case.workspace)) as store:
        return dict(store.execute("select record_id, customer_id::text from assignment").fetchall())


def test_every_table_has_the_columns_with_which_it_is_made_before_the_first_run(lake):
    """To agree on others: leave `{}` of shapes.json, run this test, read the difference."""
    made = sorted(table for table in lake.tables() if not table.startswith("raw_") and table not in OPERATIONS)
    found = {table: dict(register.described(lake, f"lake.main.{table}")) for table in made}
    if not shapes():
        lines = ",\n".join(f"{json.dumps(table)}: {json.dumps(columns)}" for table, columns in found.items())
        (ROOT / "cdp" / "lake" / "shapes.json").write_text(f"{{\n{lines}\n}}\n", encoding="utf-8")
        pytest.fail("shapes.json was empty and has been written: read it, commit it")
    assert found == shapes()


def test_the_lake_holds_what_the_register_says_of_each_table(lake):
    """Rows that a run reads from memory are those that it wrote."""
    summed = {table: entry.version for table, entry in register.entries(lake).items() if ":" in entry.version and "#" not in table}
    assert len(summed) > 90
    assert {table: register.summed(lake, f"lake.main.{table}") for table in summed} == summed


def test_reconciliation_equals_the_expected_counts_in_every_channel(lake, retail_case):
    expected = json.loads((retail_case.truth / "expected.json").read_text())["rows"]
    rows = lake.rows(
        "select source, sum(lines), sum(accepted), sum(duplicates), sum(quarantined) from ops__reconciliation group by all"
    )
    found = {
        s: dict(zip(("lines", "accepted", "duplicates", "quarantined"), map(int, numbers), strict=True))
        for s, *numbers in rows
    }
    assert found == expected
    assert (
        lake.rows("select * from ops__reconciliation where lines <> accepted + duplicates + quarantined + suppressed")
        == []
    )


def test_every_quarantined_line_has_its_reason_and_payload(lake):
    lines = lake.scalar("select count(*) from (select distinct source, file, line from ops__rejected_rows)")
    assert lines == lake.scalar("select sum(quarantined) from ops__reconciliation")
    assert lake.rows("select * from ops__rejected_rows where reason is null or payload = '' or line = 0") == []


def test_matching_reaches_its_targets_and_beats_exact_edges_alone(lake, truth, assigned, capsys):
    linkable = [(r["record_id"], r["person_id"]) for r in truth if r["linkable"] == "1"]
    ours = score(assigned, linkable)
    parent: dict[str, str] = {}

    def root(x):
        while parent.setdefault(x, x) != x:
            x = parent[x]
        return x

    for left, right in lake.rows("select left_id, right_id from core__edges where kind = 'exact' order by all"):
        parent[root(left)] = root(right)
    exact = score({record: root(record) for record, _ in linkable}, linkable)
    with capsys.disabled():
        print(
            f"\n  retail_case: P {ours.precision:.4f} F1 {ours.f1:.4f} B3 {ours.b_cubed:.4f}; exact edges alone: P {exact.precision:.4f} F1 {exact.f1:.4f} B3 {exact.b_cubed:.4f}"
        )
    assert ours.precision >= 0.99
    assert ours.f1 >= 0.90
    assert ours.b_cubed >= 0.915
    assert ours.f1 > exact.f1


def test_two_people_who_share_a_phone_stay_two(lake, truth, assigned, capsys):
    """Of the pairs of records that two people make who share a phone, few are joined."""
    person = {r["record_id"]: r["person_id"] for r in truth if r["linkable"] == "1"}
    query = "select list(distinct record_id) from core__record_identifiers where type = 'phone' group by value"
    sharing = [{person[r] for r in holders if r in person} for (holders,) in lake.rows(query)]
    couples = {pair for people in sharing for pair in itertools.combinations(sorted(people), 2)}
    records = defaultdict(list)
    for record, whose in person.items():
        records[whose].append(record)
    pairs = [(a, b) for one, other in couples for a in records[one] for b in records[other]]
    joined = sum(assigned[a] == assigned[b] for a, b in pairs)
    with capsys.disabled():
        print(
            f"\n  retail_case: {joined} of {len(pairs)} pairs of two who share a phone are joined: {joined / len(pairs):.1%}"
        )
    assert len(couples) > 20
    assert joined <= 0.12 * len(pairs)


def test_no_unlinkable_visitor_is_joined_to_a_person(truth, assigned):
    people = {assigned[r["record_id"]] for r in truth if r["linkable"] == "1"}
    assert not [r["record_id"] for r in truth if r["linkable"] == "0" and assigned[r["record_id"]] in people]


def test_kiosks_join_nobody(lake, truth, assigned):
    person = {r["record_id"]: r["person_id"] for r in truth}
    logins = lake.rows(
        "select right_id, list(distinct left_id) from core__record_links where type = 'login' group by right_id"
    )
    kiosks = [browser for browser, users in logins if len({person.get(user) for user in users}) > 1]
    assert len(kiosks) >= 5
    members = defaultdict(list)
    for record, customer in assigned.items():
        members[customer].append(record)
    assert all(members[assigned[kiosk]] == [kiosk] for kiosk in kiosks)


def test_receipts_with_only_a_dummy_join_nobody(lake):
    query = """
        select c.kind, c.records from core__contact_records r
        join core__record_customers rc using (record_id) join core__customers c using (customer_id)
        where r.kind = 'txn' and r.record_id in (select record_id from core__record_identifiers where blocked)
            and r.record_id not in (select record_id from core__record_identifiers where not blocked)
    """
    found = lake.rows(query)
    assert len(found) > 50
    assert {records for _, records in found} == {1}


def test_every_value_of_a_profile_is_that_of_the_record_it_cites(lake):
    for field in ("email", "phone", "postal_code", "city", "birth_date"):
        wrong = lake.rows(
            f"select c.customer_id from core__customers c left join core__contact_records r on r.record_id = c.{field}_record_id "
            f"where c.{field} is not null and r.{field} is distinct from c.{field}"
        )
        assert wrong == [], field


def test_the_lake_and_the_store_agree_on_who_is_who(lake, assigned):
    assert dict(lake.rows("select record_id, customer_id from core__record_customers")) == assigned


def test_points_recomputed_by_hand(lake, retail_case, assigned):
    """Every customer's points, from the raw rows, by code that shares nothing with the ledger's."""
    sales, refunds, redeemed = defaultdict(list), {}, []
    for source in ("web", "app"):
        query = f"select event, order_id, original_order_id, user_id, occurred_at, p.item_no, p.sku, p.quantity, p.price from (select *, unnest(products) as p from raw_{source}__events where event like 'Order%')"
        for event, order, original, user, at, number, sku, quantity, price in lake.rows(query):
            owner = f"{source}:user:{user}" if user else f"{source}:order:{order}"
            row = (number, sku.upper(), quantity, price)
            if event == "Order Refunded":
                refunds.setdefault((source, order), (original, at, []))[2].append(row)
            else:
                sales[source, order].append((owner, row))
    query = "select transaction_id, original_transaction_id, loyalty_card, phone, email, sold_at, line_no, sku, quantity, unit_price, coalesce(discount, 0), points_redeemed from raw_pos__sale_lines order by transaction_id, line_no"
    for order, original, card, phone, email, at, number, sku, quantity, price, _, points in lake.rows(query):
        owner = f"pos:card:{card}" if card else f"pos:txn:{order}" if phone or email else None
        row = (number, sku.upper(), quantity, price)
        if quantity < 0:
            refunds.setdefault(("pos", order), (original, at, []))[2].append(row)
        else:
            sales["pos", order].append((owner, row))
            if points and owner:
                redeemed.append((order, owner, points))
    known = {c for (c,) in lake.rows("select customer_id from core__customers where kind = 'known'")}
    balance = defaultdict(int)
    earned = {}
    for key, rows in sales.items():
        owner = rows[0][0]
        lines = sorted({r for _, r in rows})
        worth = {n: q * p for n, s, q, p in lines if s not in EXCLUDED}
        total = max(sum(worth.values(), Decimal(0)), Decimal(0))
        points = floor(total) if owner and assigned[owner] in known else 0
        share = {n: Fraction(points) * Fraction(v) / Fraction(total) for n, v in worth.items()} if total else {}
        by_line = {n: floor(v) for n, v in share.items()}
        for n in sorted(share, key=lambda n: (by_line[n] - share[n], n))[: points - sum(by_line.values())]:
            by_line[n] += 1
        earned[key] = (owner, points, total, by_line, lines)
        if owner:
            balance[assigned[owner]] += points
    by_number = defaultdict(list)
    for source, order in sales:
        by_number[order].append((source, order))
    against = defaultdict(list)
    for (source, order), (original, at, lines) in refunds.items():
        target = (
            (source, original)
            if (source, original) in sales
            else by_number[original][0]
            if len(by_number[original]) == 1
            else None
        )
        if target:
            against[target].append((at, f"{source}:{order}", sorted(set(lines))))
    restored = 0
    for key, items in against.items():
        owner, points, total, by_line, lines = earned[key]
        back, left = defaultdict(int), points
        for _, _, refund in sorted(items):
            taken, loose = 0, Decimal(0)
            for _, sku, quantity, price in refund:
                units = -quantity
                for n, s, q, _ in lines:
                    if s == sku:
                        now = min(units, q - back[n])
                        taken += by_line.get(n, 0) * (back[n] + now) // q - by_line.get(n, 0) * back[n] // q
                        back[n] += now
                        units -= now
                if sku not in EXCLUDED:
                    loose += units * price
            taken += floor(loose * points / total) if total else 0
            taken = min(taken, left)
            left -= taken
            if owner:
                balance[assigned[owner]] -= taken
        spent = next((points for order, _, points in redeemed if key == ("pos", order)), 0)
        paid, came_back, given = sum(q * p for _, _, q, p in lines), Decimal(0), 0
        for _, _, refund in sorted(items):
            came_back += abs(sum(q * p for _, _, q, p in refund))
            due = spent if came_back >= paid else floor(spent * came_back / paid)
            restored += due - given
            if owner:
                balance[assigned[owner]] += due - given
            given = due
    seen = set()
    for order, owner, points in redeemed:
        if order not in seen:
            seen.add(order)
            balance[assigned[owner]] -= points
    assert len(seen) > 50
    assert restored > 0, "some orders paid with points came back"
    with connect(owner_address(retail_case.workspace)) as store:
        ledger = dict(
            store.execute(
                "select a.customer_id::text, sum(e.amount)::bigint from ledger_entries e join ledger_accounts l using (account_id) "
                "join assignment a using (record_id) group by 1"
            ).fetchall()
        )
    assert {c: p for c, p in balance.items() if p} == {c: p for c, p in ledger.items() if p}


def test_the_ledgers_books_balance(retail_case):
    query = """
        select count(*) from ledger_accounts a
        where (select coalesce(sum(amount), 0) from ledger_entries e where e.account_id = a.account_id)
           <> (select coalesce(sum(remaining), 0) from ledger_lots l where l.account_id = a.account_id)
            - (select coalesce(sum(amount), 0) from ledger_deficits d where d.account_id = a.account_id)
    """
    with connect(owner_address(retail_case.workspace)) as store:
        assert store.execute(query).fetchall() == [(0,)]
        assert store.execute("select count(*) from ledger_entries where amount = 0").fetchall() == [(0,)]


def test_every_order_earned_or_says_why_not(lake):
    assert lake.rows("select order_id from core__orders anti join core__loyalty_targets using (order_id)") == []
    reasons = {r for (r,) in lake.rows("select distinct reason from core__loyalty_targets where amount = 0")}
    assert reasons <= {
        "nobody",
        "anonymous",
        "spend",
        "nothing_to_earn",
        "return",
        "no_order_named",
        "order_absent",
        "other_currency",
    }


def test_a_withdrawal_after_a_grant_reads_as_not_allowed(lake):
    """Where the latest decision on an address is a denial the flag is off and names it, unless a later one was granted."""
    query = """
        with said as (
            select subject, status, decision_id, captured_at, row_number() over (partition by subject order by captured_at desc) as nth
            from core__consent_decisions where subject_type = 'email' and purpose = 'email_marketing'
        )
        select f.allowed, f.decided_by, s.decision_id, d.captured_at > s.captured_at, d.subject_type from said s
        join core__customer_consents f on f.contact_point = s.subject and f.purpose = 'email_marketing'
        join core__consent_decisions d on d.decision_id = f.decided_by
        where s.nth = 1 and s.status in ('denied', 'withdrawn')
    """
    found = lake.rows(query)
    assert len(found) > 100
    allowed = [row for row in found if row[0]]
    assert all(later and subject == "record" for *_, later, subject in allowed), (
        "only a newer grant of the person's own undoes it"
    )
    assert len(allowed) < len(found) * 0.2
    assert sum(decided == decision for _, decided, decision, _, _ in found) > len(found) * 0.5


HEARD = """
    with points as (
        select distinct a.customer_id::text as customer, i.record_id, i.value from identifiers i join assignment a using (record_id)
        where i.type = 'email'
    ),
    said as (
        select d.decision_id, d.record_id, d.subject_type, d.subject, d.status = 'granted' as yes, coalesce(d.captured_at, d.received_at) as at_, a.customer_id::text as customer
        from consent_decisions d left join assignment a using (record_id)
        where d.purpose = 'email_marketing' and d.status in ('granted', 'denied', 'withdrawn') and d.is_explicit and d.captured_at is not null
    )
    select distinct p.customer, p.value, s.decision_id, s.yes, s.at_, s.subject
    from points p join said s on s.subject = p.value
        or s.subject_type = 'record' and s.customer = p.customer and (not s.yes or s.record_id = p.record_id)
"""


@pytest.fixture(scope="module")
def heard(retail_case):
    """What was said about each address of each customer, oldest first, by plain SQL."""
    voices = defaultdict(list)
    with connect(owner_address(retail_case.workspace)) as store:
        for customer, value, decision, yes, at, subject in store.execute(HEARD).fetchall():
            voices[customer, value].append((at, not yes, decision, subject))
    return {key: sorted(found) for key, found in voices.items()}


@pytest.fixture(scope="module")
def asked(retail_case):
    """The API on the day of the case, with a key that may see all: a customer's flags by profile and by lookup."""
    from fastapi.testclient import TestClient

    from api.app import create_app

    now = datetime.fromisoformat(f"{RETAIL_AS_OF}T23:59:59+00:00")
    headers = api_key(retail_case.workspace, "profiles:read", "profiles:reveal")
    with TestClient(create_app(retail_case.workspace.settings, clock=lambda: now)) as client:

        def flags(customer, address):
            whole = client.get(f"/v1/customers/{customer}?reveal=true&reason=test", headers=headers).json()["consents"]
            body = {"type": "email", "value": address}
            found = client.post("/v1/customers/lookup", json=body, headers=headers).json()["customers"]
            short = next(match for match in found if match["customer_id"] == customer)["consents"]
            decided = {flag["decided_by"]: flag for flag in short if flag["purpose"] == "email_marketing"}
            mine = [f for f in whole if f["purpose"] == "email_marketing" and f["contact_point"] == address]
            assert [decided[flag["decided_by"]]["allowed"] for flag in mine] == [flag["allowed"] for flag in mine]
            return mine[0]

        yield flags


def test_whoever_withdrew_after_a_grant_reads_as_not_allowed_in_profile_and_lookup(heard, asked):
    """The latest voice on the address is a denial that follows a grant; the flag is off and names that decision."""
    withdrew = {key: v for key, v in heard.items() if v[-1][1] and any(not no for _, no, *_ in v)}
    assert len(withdrew) > 100
    for (customer, address), voices in withdrew.items():
        flag = asked(customer, address)
        assert not flag["allowed"]
        assert flag["decided_by"] == voices[-1][2] or voices[-2][0] == voices[-1][0], "it names the decision"
        assert flag["decided"]["captured_at"]


def test_one_address_neither_silences_nor_opens_the_other(heard, asked):
    """Of a customer with two addresses each is answered by what was said last about it."""
    of = defaultdict(dict)
    for (customer, address), voices in heard.items():
        of[customer][address] = voices
    both = {c: points for c, points in of.items() if len({v[-1][1] for v in points.values()}) == 2}
    assert len(both) > 5
    opened = 0
    for customer, points in both.items():
        for address, voices in points.items():
            flag = asked(customer, address)
            opened += flag["allowed"]
            assert not (voices[-1][1] and flag["allowed"])
            assert flag["decided_by"] == voices[-1][2] or voices[-2][0] == voices[-1][0] or not flag["allowed"]
    assert opened > 5


def test_conflicts_across_channels_are_listed(lake, heard):
    rows = lake.rows(
        "select customer_id, contact_point, decided_source, opposing_source from core__consent_conflicts where purpose = 'email_marketing'"
    )
    across = {(customer, point) for customer, point, decided, opposing in rows if decided != opposing}
    assert len(across) > 20
    assert across <= {key for key, voices in heard.items() if len({no for _, no, *_ in voices}) == 2}


ROWS = "select '{0}', count(*), md5(string_agg(xmin::text || t::text, '|' order by t::text)) from {0} t"
SERVED = ("contact_records", "identifiers", "customers", "assignment", "assignment_history", "edges", "profiles", "orders", "interactions",
          "consent_decisions", "ledger_accounts", "ledger_entries", "ledger_lots", "ledger_allocations", "ledger_deficits", "changes")  # fmt: skip


def served_state(retail_case):
    """Content and transaction of every served row: a row written again would show, even with the same content."""
    with connect(owner_address(retail_case.workspace)) as store:
        sequence(store)  # what other tests changed through the API may still wait for its position
        return [store.execute(ROWS.format(table)).fetchall() for table in SERVED]


def test_a_second_run_writes_nothing(retail_case):
    before = served_state(retail_case)
    cdp(retail_case.workspace, "run", "--force", "--as-of", RETAIL_AS_OF)
    assert served_state(retail_case) == before


@pytest.mark.long
def test_a_full_rebuild_changes_no_id_no_entry_and_no_row(retail_case):
    before = served_state(retail_case)
    cdp(retail_case.workspace, "run", "--full", "--as-of", RETAIL_AS_OF)
    assert served_state(retail_case) == before


def test_the_change_feed_has_no_hole(retail_case):
    with connect(owner_address(retail_case.workspace)) as store:
        sequence(store)  # what other tests changed through the API may still wait for its position
        positions = [p for (p,) in store.execute("select position from changes order by position").fetchall()]
    assert positions == list(range(1, len(positions) + 1))


def test_no_personal_value_is_in_the_log_of_a_run(retail_case, lake):
    values = {
        v for (v,) in lake.rows("select value from core__record_identifiers where type in ('email', 'phone', 'card')")
    }
    assert not [v for v in values if v in retail_case.log]


def test_every_identifier_a_record_ever_had_stays_with_its_dates(lake):
    """People change their e-mail: the account keeps both, each with when it was first and last seen."""
    query = """
        select record_id, list(value order by first_seen), list(first_seen order by first_seen), list(last_seen order by first_seen)
        from core__record_identifiers where type = 'email' and record_id like '%:user:%' group by record_id having count(*) > 1
    """
    found = lake.rows(query)
    assert len(found) > 10
    assert all(first[0] <= last[0] and first[0] <= first[1] for _, _, first, last in found)


def test_returns_are_tied_to_their_order(lake):
    tied, named, absent = lake.rows(
        "select count(original_order_id), count(original_key), count(*) filter (where original_key is null) from core__orders where kind = 'return'"
    )[0]
    assert tied > 0.95 * named > 800
    assert absent > 50
    assert (
        lake.rows(
            "select r.order_id from core__orders r join core__orders s on s.order_id = r.original_order_id where s.kind <> 'sale'"
        )
        == []
    )


def postings(lake, programme):
    """What the orders post, as the pipeline would post it for a programme."""
    rows = lake.records(
        "select * from core__loyalty_targets where record_id is not null and amount <> 0 order by posting_key"
    )
    for row in rows:
        row |= {
            "revision": 0,
            "difference": row["amount"],
            "posting_key": row["posting_key"].replace("default|", f"{programme.programme}|", 1),
        }
    return [orders.posting(row, programme) for row in rows]


STANDS = (
    "select record_id, l.occurred_at, l.amount, l.remaining, l.expires_at from ledger_lots l join ledger_accounts using (account_id) where remaining > 0 order by 1, 2, 3, 4",
    "select record_id, sum(d.amount)::bigint from ledger_deficits d join ledger_accounts using (account_id) group by 1 order by 1",
    "select record_id, posting_key, sum(amount)::bigint from ledger_entries join ledger_accounts using (account_id) group by 1, 2 having sum(amount) <> 0 order by 1, 2",
    "select record_id, balance from ledger_accounts where balance <> 0 order by 1",
)


@pytest.mark.long
def test_every_order_replayed_five_times_in_shuffled_order_adds_no_entry(lake, retail_case):
    programme, shuffle = load_programme(retail_case.workspace), random.Random(5).shuffle
    todo, now = postings(lake, programme), datetime.fromisoformat(f"{RETAIL_AS_OF}T00:00:00+00:00")
    assert len(todo) > 4000
    with connect(owner_address(retail_case.workspace)) as store:
        before = store.execute("select count(*), max(posted_at) from ledger_entries").fetchall()
        for _ in range(5):
            shuffle(todo)
            for start in range(0, len(todo), 1000):
                with store.transaction():
                    assert post(store, todo[start : start + 1000], programme, now) == 0
        assert store.execute("select count(*), max(posted_at) from ledger_entries").fetchall() == before


@pytest.mark.long
def test_any_order_of_first_arrival_ends_in_equal_balances_lots_and_legs(lake, retail_case):
    """The ledger emptied, the same orders in shuffled batches, against what the pipeline posted; all of it undone at the end."""
    programme = load_programme(retail_case.workspace)
    todo, now = postings(lake, programme), datetime.fromisoformat(f"{RETAIL_AS_OF}T00:00:00+00:00")
    random.Random(7).shuffle(todo)
    with connect(owner_address(retail_case.workspace)) as store, store.transaction(force_rollback=True):
        before = [store.execute(query).fetchall() for query in STANDS]
        assert len(before[0]) > 1000
        store.execute("truncate ledger_accounts cascade")
        for start in range(0, len(todo), 700):
            post(store, todo[start : start + 700], programme, now)
        for query, stood in zip(STANDS, before, strict=True):
            assert store.execute(query).fetchall() == stood


def test_what_if_under_the_same_version_reproduces_the_ledger(lake, retail_case):
    """Every open lot, deficit and leg of every known customer, out of orders alone and in memory."""
    programme, now = load_programme(retail_case.workspace), datetime.fromisoformat(f"{RETAIL_AS_OF}T00:00:00+00:00")
    with connect(owner_address(retail_case.workspace)) as store:
        posted = {
            "lots": Counter(store.execute("select record_id, amount, remaining, l.occurred_at, l.expires_at from ledger_lots l join ledger_accounts using (account_id)").fetchall()),
            "legs": Counter(store.execute("select record_id, amount, occurred_at from ledger_entries join ledger_accounts using (account_id) where amount <> 0").fetchall()),
        }  # fmt: skip
        found = {"lots": Counter(), "legs": Counter()}
        customers = 0
        for person in replay.people(lake, store, programme, programme, now):
            customers += 1
            for state in person.states.values():
                at = {name: lot.ends_at for name, lot in state.expired.items()}
                found["lots"].update(
                    (lot.account.split(":", 2)[2], lot.amount, lot.remaining, lot.at, lot.expires_at)
                    for lot in state.lots.values()
                )
                found["legs"].update(
                    (account.split(":", 2)[2], amount, at.get(fact) or person.times[fact])
                    for (fact, account), amount in state.legs.items()
                    if amount
                )
    assert customers > 1500
    assert found == posted


def test_vintages_add_up_and_are_the_open_lots(lake, retail_case):
    rows = lake.records("select * from mart__loyalty_liability")
    assert len(rows) > 12
    for row in rows:
        assert row["issued"] == row["redeemed"] + row["taken_back"] + row["expired"] + row["outstanding"], row[
            "vintage"
        ]
    with connect(owner_address(retail_case.workspace)) as store:
        open_lots = store.execute(
            "select to_char(occurred_at at time zone 'UTC', 'YYYY-MM'), sum(remaining)::bigint from ledger_lots group by 1"
        ).fetchall()
    assert {row["vintage"]: row["outstanding"] for row in rows} == dict(open_lots)
    assert sum(row["liability"] for row in rows) == pytest.approx(0.01 * sum(n for _, n in open_lots))


def test_measures_and_levels_recomputed_by_plain_sql(lake):
    found = dict(lake.rows("select measure, value from mart__loyalty_measures"))
    since = "timestamptz '2010-12-31T00:00:00Z' + interval '1' day"
    members = lake.scalar("select count(*) from core__customers where kind = 'known'")
    orders = lake.rows(
        f"select c.customer_id, count(*) filter (where o.kind = 'sale'), sum(o.total) filter (where o.currency = 'GBP') from core__orders o join core__record_customers c using (record_id) "
        f"join core__customers k on k.customer_id = c.customer_id and k.kind = 'known' where o.ordered_at > {since} group by 1"
    )  # fmt: skip
    active, again = sum(n > 0 for _, n, _ in orders), sum(n > 1 for _, n, _ in orders)
    assert found["members"] == members
    assert found["active_share"] == pytest.approx(active / members)
    assert found["repeat_rate"] == pytest.approx(again / active)
    assert found["revenue"] == pytest.approx(float(sum(total or 0 for _, _, total in orders)))
    earned, redeemed = lake.rows(f"select sum(amount) filter (where kind = 'earn'), -sum(amount) filter (where kind in ('redeem', 'restore')) from core__ledger_entries where occurred_at > {since}")[0]  # fmt: skip
    assert found["burn_rate"] == pytest.approx(redeemed / earned, rel=0.02), "members alone against all accounts"
    assert found["cost"] == pytest.approx(0.01 * redeemed, rel=0.02)
    # points of the year before, less what came back of those orders, decide the level
    levels = dict(lake.rows("select level, count(*) from core__customer_tiers group by 1"))
    by_hand = dict(
        lake.rows(
            "with sold as (select order_id, min(occurred_at) as at from core__ledger_entries where kind = 'earn' group by 1), "
            "points as (select r.customer_id, sum(case when coalesce(s.at, e.occurred_at) > timestamptz '2010-12-31T00:00:00Z' then e.amount else 0 end) as n "
            "from core__ledger_entries e join core__record_customers r using (record_id) left join sold s on s.order_id = e.original_order_id "
            "where e.kind in ('earn', 'clawback') group by 1) "
            "select case when n >= 2000 then 'gold' when n >= 500 then 'silver' else 'bronze' end, count(*) from points group by 1"
        )
    )  # fmt: skip
    assert levels == by_hand
