"""The identity endpoints over the reference case: who may ask, what they answer, what they change and take back."""

from dataclasses import dataclass

import psycopg
import pytest
from fastapi.testclient import TestClient

from api.app import create_app
from api.refs import ref
from cdp.clock import parse_as_of, system_now
from cdp.identity_rules import load_identity_rules
from cdp.lake import delta, held
from cdp.lake.engine import open_lake
from cdp.store import evidence, keys
from cdp.store.connect import connect, owner_address
from identity import artefact, graph, whatif
from identity.explain import assembled, without_identifier
from identity.scorer import Scorer
from tests.conftest import RETAIL_AS_OF, RetailCase, cdp

NOBODY = "0197f3a2-7c1e-7b3a-9d55-2f6f0c1a4e77"
WHY = {"reason": "a test"}
ENDPOINTS = [
    ("POST", "/v1/customers/resolve", "profiles:read", {"full_name": "Ann Clark"}),
    ("POST", "/v1/customers/merge", "review:write", {"customer_ids": [NOBODY, NOBODY[:-1] + "8"], **WHY}),
    ("POST", f"/v1/customers/{NOBODY}/split", "review:write", {"records": ["x"], **WHY}),
    ("POST", f"/v1/changesets/{NOBODY}/undo", "review:write", WHY),
    ("GET", f"/v1/customers/{NOBODY}/explanation", "profiles:read", None),
    ("POST", f"/v1/customers/{NOBODY}/explanation/what-if", "profiles:read", {"type": "email", "value": "a@b.cn"}),
    ("POST", "/v1/explanations/pair", "profiles:read", {"left": NOBODY, "right": NOBODY}),
    ("GET", "/v1/review/pairs", "review:write", None),
    ("POST", "/v1/review/pairs", "review:write", {"pair_id": "x", "verdict": "same", **WHY}),
]


@dataclass
class Api:
    client: TestClient
    store: psycopg.Connection
    case: RetailCase
    headers: dict[str, str]

    def post(self, path, body, status=200):
        response = self.client.post(path, json=body, headers=self.headers)
        assert response.status_code == status, response.text
        return response.json()

    def get(self, path, status=200):
        response = self.client.get(path, headers=self.headers)
        assert response.status_code == status, response.text
        return response.json()

    def split(self, customer, body, status=200):
        """As somebody does who read the customer before."""
        tag = self.client.get(f"/v1/customers/{customer}", headers=self.headers).headers["etag"]
        answer = self.client.post(
            f"/v1/customers/{customer}/split", json=body, headers=self.headers | {"If-Match": tag}
        )
        assert answer.status_code == status, answer.text
        return answer.json()

    def key(self, *scopes):
        name = f"i{self.store.execute('select count(*) from api_keys').fetchall()[0][0]}"
        text = keys.create(self.store, self.case.workspace.secrets["pepper"], name, list(scopes), system_now())
        return {"Authorization": f"Bearer {text}"}

    def state(self):
        """Everything that a merge touches."""
        return {
            "assignment": self.store.execute(
                "select record_id, customer_id::text from assignment order by 1"
            ).fetchall(),
            "profiles": self.store.execute(
                "select customer_id::text, kind, profile, row_hash from profiles order by 1"
            ).fetchall(),
            "living": self.store.execute(
                "select customer_id::text from customers where retired_at is null order by 1"
            ).fetchall(),
            "balances": self.store.execute(
                "select a.customer_id::text, sum(e.amount) from ledger_entries e join ledger_accounts l using (account_id) "
                "join assignment a using (record_id) group by 1 order by 1"
            ).fetchall(),
        }


@pytest.fixture(scope="module")
def api(retail_case: RetailCase):
    app = create_app(retail_case.workspace.settings, clock=lambda: parse_as_of(RETAIL_AS_OF))
    with (
        TestClient(app, raise_server_exceptions=False) as client,
        connect(owner_address(retail_case.workspace)) as store,
    ):
        made = Api(client, store, retail_case, {})
        made.headers = made.key("profiles:read", "review:write", "consent:read", "loyalty:read")
        yield made


def some_customers(api, least=2, limit=2):
    return [
        c
        for (c,) in api.store.execute(
            "select customer_id::text from assignment join profiles using (customer_id) where kind = 'known' "
            "group by 1 having count(*) >= %s order by count(*) desc, 1 limit %s",
            [least, limit],
        ).fetchall()
    ]


@pytest.mark.parametrize(("method", "path", "scope", "body"), ENDPOINTS)
def test_401_then_403(api, method, path, scope, body):
    assert api.client.request(method, path, json=body).status_code == 401
    other = api.key("events:write", "loyalty:read")
    refused = api.client.request(method, path, json=body, headers=other)
    assert refused.status_code == 403
    assert scope in refused.json()["detail"]


@pytest.mark.parametrize(
    ("method", "path", "scope", "body"), [e for e in ENDPOINTS if NOBODY in e[1] or "merge" in e[1]]
)
def test_404_for_nobody(api, method, path, scope, body):
    assert api.client.request(method, path, json=body, headers=api.headers).status_code == 404


def test_resolve_finds_a_person_by_contact_point_and_says_how_sure_it_is(api):
    found = api.post("/v1/customers/resolve", {"email": "SELINA_MARTIN2@yahoo.co.uk"})
    assert found["decision"] == "exact"
    assert found["candidates"][0]["identifiers"] == ["email"]
    assert "elina" not in str(found)


def test_resolve_finds_a_person_by_a_misspelt_name_and_postcode_with_reasons(api):
    row = api.store.execute(
        "select p.compared, a.customer_id::text from payloads p join assignment a using (record_id) "
        "where compared ->> 'postal_code' is not null and length(compared ->> 'family') > 6 and compared ->> 'birth_full' is not null order by 1 limit 1"
    ).fetchall()[0]
    said = {
        "given_name": row[0]["given_key"],
        "family_name": row[0]["family"] + "s",
        "postal_code": row[0]["postal_code"],
        "birth_date": row[0]["birth_date"],
    }
    found = api.post("/v1/customers/resolve", said)
    assert found["candidates"][0]["customer_id"] == row[1]
    assert found["decision"] == "strong"
    assert {reason["field"] for reason in found["candidates"][0]["reasons"]} >= {"first", "family", "postal_code"}


def test_resolve_reads_chinese_names_in_any_script(api):
    row = api.store.execute(
        "select r.fields, a.customer_id::text from contact_records r join assignment a using (record_id) "
        "where r.fields ->> 'full_name' ~ '[一-龥]{2,}' and r.fields ->> 'email' is not null order by record_id limit 1"
    ).fetchall()[0]
    for name in (
        {"full_name": row[0]["full_name"]},
        {"given_name": row[0]["given_key"], "family_name": row[0]["family_key"]},
    ):
        found = api.post("/v1/customers/resolve", {**name, "email": row[0]["email"]})
        assert found["candidates"][0]["customer_id"] == row[1]
        assert found["decision"] in ("exact", "strong")


@pytest.mark.parametrize(
    "body", [{}, {"full_name": ""}, {"nickname": "x"}, {"full_name": "a\x00b"}, {"full_name": "x" * 400}]
)
def test_resolve_refuses_nothing_and_nonsense(api, body):
    api.post("/v1/customers/resolve", body, 422)


def test_an_identifier_of_another_given_name_is_no_proof(api):
    row = api.store.execute(
        "select fields ->> 'email' from contact_records where fields ->> 'given_key' = 'thomas' and fields ->> 'email' is not null order by record_id limit 1"
    ).fetchall()[0]
    found = api.post("/v1/customers/resolve", {"email": row[0], "given_name": "Mei", "family_name": "Zhang"})
    assert found["candidates"][0]["tier"] != "exact"


def test_a_merge_is_felt_at_once_and_its_undo_restores_everything(api):
    first, second = some_customers(api)
    before = api.state()
    done = api.post("/v1/customers/merge", {"customer_ids": [first, second], **WHY})
    (winner,) = done["customers"]
    loser = second if winner == first else first
    profile = api.get(f"/v1/customers/{loser}")
    assert (profile["customer_id"], profile["merged_into"]) == (winner, winner)
    assert len(profile["records"]) == len([1 for _, c in before["assignment"] if c in (first, second)])
    together = dict(api.state()["balances"]).get(winner, 0)
    assert together == sum(dict(before["balances"]).get(c, 0) for c in (first, second))
    api.post(f"/v1/changesets/{done['changeset_id']}/undo", WHY)
    assert api.state() == before
    assert "undone" in api.post(f"/v1/changesets/{done['changeset_id']}/undo", WHY, 409)["detail"]


def test_the_profile_of_a_split_is_what_the_pipeline_would_publish_and_undo_takes_it_back(api):
    (customer,) = some_customers(api, least=5, limit=1)
    before = api.state()
    records = api.get(f"/v1/customers/{customer}/explanation")["records"]
    done = api.split(customer, {"records": [r["ref"] for r in records[:2]], **WHY})
    assert len(done["customers"]) == 2
    assert done["moved"] == 2
    (new,) = set(done["customers"]) - {customer}
    assert len(api.get(f"/v1/customers/{new}")["records"]) == 2
    merged = api.post("/v1/customers/merge", {"customer_ids": [customer, new], **WHY}, 409)
    assert "apart" in merged["detail"]
    api.post(f"/v1/changesets/{done['changeset_id']}/undo", WHY)
    assert api.state() == {**before, "living": before["living"]}


def test_what_a_split_does_to_points_is_shown_before_it_is_done(api):
    """Of a customer that spent over several accounts: the preview is what the split then does, and changes nothing itself."""
    customer = api.store.execute(
        "select a.customer_id::text from ledger_entries e join ledger_accounts l using (account_id) join assignment a using (record_id) "
        "where e.kind = 'redeem' group by a.customer_id, e.transaction_id having count(distinct e.account_id) > 1 order by 1 limit 1"
    ).fetchall()[0][0]
    spender = api.store.execute(
        "select record_id from ledger_entries join ledger_accounts using (account_id) join assignment using (record_id) "
        "where customer_id = %s and kind = 'redeem' order by amount limit 1", [customer],
    ).fetchall()[0][0]  # fmt: skip
    from api.refs import ref

    part = {"records": [ref(api.case.workspace.secrets["pepper"], spender)], **WHY}
    before = api.state()
    shown = api.post(f"/v1/customers/{customer}/split/preview", part)
    assert api.state() == before
    assert shown["stays"]["balance"] + shown["leaves"]["balance"] == shown["balance_before"]
    assert any(row["stays"] < 0 and row["leaves"] < 0 for row in shown["spent_together"])
    done = api.split(customer, part)
    (new,) = set(done["customers"]) - {customer}
    after = dict(api.state()["balances"])
    assert (after.get(customer, 0), after.get(new, 0)) == (shown["stays"]["balance"], shown["leaves"]["balance"])
    api.post(f"/v1/changesets/{done['changeset_id']}/undo", WHY)
    assert api.state() == before


def test_a_split_of_a_customer_that_changed_since_it_was_read_is_refused(api):
    (customer,) = some_customers(api, least=5, limit=1)
    path, headers = f"/v1/customers/{customer}", api.headers
    record = api.get(f"{path}/explanation")["records"][0]["ref"]
    body, before = {"records": [record], **WHY}, api.state()
    assert api.client.post(f"{path}/split", json=body, headers=headers).status_code == 428
    assert api.client.post(f"{path}/split", json=body, headers=headers | {"If-Match": ""}).status_code == 428
    tag = api.client.get(path + "?fields=name", headers=headers).headers["etag"]
    done = api.split(customer, body)
    stale = api.client.post(f"{path}/split", json=body, headers=headers | {"If-Match": tag})
    assert stale.status_code == 412
    assert "not the customer that you read" in stale.json()["detail"]
    api.post(f"/v1/changesets/{done['changeset_id']}/undo", WHY)
    assert api.state() == before


def test_a_split_names_own_records_and_not_all_of_them(api):
    (customer,) = some_customers(api, least=5, limit=1)
    records = api.get(f"/v1/customers/{customer}/explanation")["records"]
    api.split(customer, {"records": [r["ref"] for r in records], **WHY}, 422)
    api.split(customer, {"records": ["nobody's"], **WHY}, 404)


class Batch:
    """The batch's own clustering over the lake, of a few records, less some of its evidence."""

    def __init__(self, lake, workspace):
        self.lake, self.rules = lake, load_identity_rules(workspace)
        self.threshold = artefact.load(workspace.path("models")).threshold

    def groups(self, records, less):
        """Clusters of these records, largest first, without the rows that `less` names by table."""
        self.lake.rows("create or replace temp table touched as select unnest($r) as key", {"r": records})
        with delta.shadowed(self.lake, {table: f"not ({rows})" for table, rows in less.items()}):
            found = graph.resolve(self.lake, self.threshold, self.rules, "semi join touched on record_id = key")
        groups = {}
        for record, label in zip(sorted(records), found.label.tolist(), strict=True):
            groups.setdefault(label, []).append(record)
        return sorted(groups.values(), key=lambda group: (-len(group), group))

    def without(self, step):
        if step.type == "identical":  # a record left alone for its values holds none of theirs in common
            return {"core__payloads": f"record_id = '{step.right_id}'"}
        if step.type != "similar":
            return {
                "core__edges": f"left_id = '{step.left_id}' and right_id = '{step.right_id}' and type = '{step.type}'"
            }
        one, other = (
            f"(select node from lake.main.core__payloads where record_id = '{record}')"
            for record in (step.left_id, step.right_id)
        )
        return {"core__scored_pairs": f"(l = {one} and r = {other}) or (l = {other} and r = {one})"}


@pytest.fixture
def batch(api):
    with open_lake(api.case.workspace, read_only=True) as lake:
        yield Batch(lake, api.case.workspace)


@pytest.mark.long
def test_explanations_are_true(api, batch):
    """Where a step says what would be without its edge, the batch without that edge makes just that of the lake."""
    scorer = Scorer(artefact.load(api.case.workspace.path("models")))
    steps = []
    for customer in some_customers(api, least=3, limit=12):
        material = evidence.of_customers(api.store, [customer])
        assert batch.groups(material.records, {}) == [sorted(material.records)], customer
        told = assembled(material, scorer)
        assert len(told) >= len(material.records) - 1
        steps += [(material.records, step) for step in told]
    steps = steps[:: max(1, len(steps) // 50)]
    for records, step in steps:
        assert batch.groups(records, batch.without(step)) == step.without, step
    assert sum(len(step.without) > 1 for _, step in steps) > 10
    assert {"similar", "identical"} < {step.type for _, step in steps}


def hung_on_one(api):
    """Customers of whose records three or more hang on one, the first that holds what they share; and that one."""
    rows = api.store.execute(
        "select a.customer_id::text, e.left_id from edges e join assignment a on a.record_id = e.left_id "
        "join assignment b on b.record_id = e.right_id and b.customer_id = a.customer_id "
        "where e.kind = 'exact' or e.type = 'identical' group by 1, 2 having count(distinct e.right_id) >= 3 order by 1, 2"
    )
    return list(dict(rows.fetchall()).items())


def like_the_first(api, first):
    query = "select right_id from edges where left_id = %s and type = 'identical'"
    return [record for (record,) in api.store.execute(query, [first])]


def split_off(api, customer, record):
    return api.split(customer, {"records": [ref(api.case.workspace.secrets["pepper"], record)], **WHY})["changeset_id"]


def test_who_hung_on_a_record_that_was_split_off_is_explained_by_what_they_share(api):
    scorer = Scorer(artefact.load(api.case.workspace.path("models")))
    wanted = [(customer, first) for customer, first in hung_on_one(api) if len(like_the_first(api, first)) > 1][:5]
    assert wanted
    for customer, first in wanted:
        before = api.state()
        rest = sorted(r for r, c in before["assignment"] if c == customer and r != first)
        done = split_off(api, customer, first)
        material = evidence.of_records(api.store, rest)
        steps = assembled(material, scorer)
        assert len(steps) == len(rest) - 1, "the tree has no holes"
        told = [step.type != "decision" for step in steps]
        assert any(told), "what they share, not only that a split left them together"
        assert told == sorted(told, reverse=True), "and that first"
        heir, *others = sorted(set(like_the_first(api, first)) & set(rest))
        assert {(heir, other, "identical") for other in others} <= {edge[:3] for edge in material.edges}
        assert heir in material.payloads
        said = api.post("/v1/explanations/pair", {"left": steps[0].left_id, "right": steps[0].right_id})
        assert not any("full name" in reason for reason in said["reasons"])
        api.post(f"/v1/changesets/{done}/undo", WHY)
        assert api.state() == before


@pytest.mark.long
def test_explanations_are_true_after_a_split_of_what_the_rest_hung_on(api):
    """The batch, which knows the record that is gone and that it must stay apart, makes of the rest what is told of it."""
    before, wanted = api.state(), hung_on_one(api)
    wanted = wanted[:: max(1, len(wanted) // 10)]
    done = [split_off(api, customer, first) for customer, first in wanted]
    cdp(api.case.workspace, "run", "--as-of", RETAIL_AS_OF)
    scorer, compared = Scorer(artefact.load(api.case.workspace.path("models"))), set()
    with open_lake(api.case.workspace, read_only=True) as lake:
        batch = Batch(lake, api.case.workspace)
        for customer, first in wanted:
            rest = sorted(r for r, c in before["assignment"] if c == customer and r != first)
            material = evidence.of_records(api.store, rest)
            apart = {customer: batch.groups([*rest, first], {})}
            assert apart == {customer: sorted([rest, [first]], key=lambda group: (-len(group), group))}
            for step in assembled(material, scorer):
                less = batch.without(step)
                if "core__edges" in less:  # what hangs on one of the rest hung on the one that is gone
                    less["core__edges"] = (
                        f"{less['core__edges']} or (left_id = '{first}' and right_id = '{step.right_id}' and type = '{step.type}')"
                    )
                found = batch.groups([*rest, first], less)
                assert [group for group in found if group != [first]] == step.without, step
                compared.add((step.type, step.left_id, step.right_id))
    assert len(compared) > 20
    assert {"identical", "email"} <= {kind for kind, *_ in compared}
    for changeset in reversed(done):
        api.post(f"/v1/changesets/{changeset}/undo", WHY)
    cdp(api.case.workspace, "run", "--as-of", RETAIL_AS_OF)
    assert api.state() == before


def batch_less(lake, workspace, records, kind, value):
    """The groups of these records where the whole batch runs over a lake in which they never gave the value."""
    trained, rules = artefact.load(workspace.path("models")), load_identity_rules(workspace)
    held.let_go(lake)
    at = {"value": value, "records": records}
    less = {
        "core__record_identifiers": f"select * from core__record_identifiers where not (type = '{kind}' and value = $value and record_id in (select unnest($records)))",
        "core__contact_records": f"select * replace (case when {kind} = $value and record_id in (select unnest($records)) then null else {kind} end as {kind}) from core__contact_records",
    }
    for table, query in less.items():
        delta.shadow(lake, table, query, at)
    whatif.shadow_evidence(lake)
    found, groups = whatif.clustered(lake, trained, rules), {}
    for record, number in lake.rows(
        "select record_id, no from record_numbers where record_id in (select unnest($r)) order by 1", {"r": records}
    ):
        groups.setdefault(int(found.label[number]), []).append(record)
    return sorted(groups.values(), key=lambda group: (-len(group), group))


@pytest.mark.long
def test_what_would_be_without_an_identifier_is_what_the_batch_makes_without_it(api):
    rows = api.store.execute(
        "select distinct on (2) e.evidence ->> 'values', a.customer_id::text, e.type from edges e join assignment a on a.record_id = e.left_id "
        "where e.type in ('email', 'phone') and (e.evidence ->> 'values_shared')::int = 1 order by 2, 1"
    ).fetchall()
    scorer, apart = Scorer(artefact.load(api.case.workspace.path("models"))), 0
    with open_lake(api.case.workspace, read_only=True) as lake:
        for value, customer, kind in rows[:: len(rows) // 16]:
            material = evidence.of_customers(api.store, [customer])
            told = without_identifier(material, scorer, kind, value)
            assert told == batch_less(lake, api.case.workspace, material.records, kind, value), kind
            apart += len(told) > 1
    assert apart > 3


def test_what_if_an_identifier_were_not_there(api):
    rows = api.store.execute(
        "select distinct on (2) e.evidence ->> 'values', a.customer_id::text from edges e join assignment a on a.record_id = e.left_id "
        "where e.type = 'email' and (e.evidence ->> 'values_shared')::int = 1 order by 2, 1 limit 60"
    ).fetchall()
    apart = 0
    for value, customer in rows:
        whole = api.get(f"/v1/customers/{customer}/explanation")["records"]
        groups = api.post(f"/v1/customers/{customer}/explanation/what-if", {"type": "email", "value": value})
        assert sum(groups["sizes"]) == len(whole)
        apart += len(groups["sizes"]) > 1
    assert apart > 5, "somebody is one customer by an e-mail alone"
    row = rows[0]
    api.post(f"/v1/customers/{row[1]}/explanation/what-if", {"type": "email", "value": "not an address"}, 422)


def test_why_and_why_not(api):
    first, second = some_customers(api)
    apart = api.post("/v1/explanations/pair", {"left": first, "right": second})
    assert not apart["together"]
    assert apart["reasons"]
    records = [
        r for (r,) in api.store.execute("select record_id from assignment where customer_id = %s order by 1", [first])
    ]
    same = api.post("/v1/explanations/pair", {"left": records[0], "right": records[-1]})
    assert same["together"]
    assert same["reasons"]


@pytest.mark.long
def test_review_a_decision_is_kept_obeyed_by_a_later_run_and_reversible(api):
    queue = api.get("/v1/review/pairs")
    impacts = [pair["impact"] for pair in queue["pairs"]]
    assert impacts == sorted(impacts, reverse=True)
    assert queue["waiting"] >= len(impacts) > 0
    before = api.state()
    pair = queue["pairs"][0]
    done = api.post("/v1/review/pairs", {"pair_id": pair["pair_id"], "verdict": "same", **WHY})
    assert done["effective"] == "now"
    held = api.state()
    assert held["assignment"] != before["assignment"]
    cdp(api.case.workspace, "run", "--as-of", RETAIL_AS_OF)
    assert api.state()["assignment"] == held["assignment"]
    api.post(f"/v1/changesets/{done['changeset_id']}/undo", WHY)
    cdp(api.case.workspace, "run", "--as-of", RETAIL_AS_OF)
    assert api.state()["assignment"] == before["assignment"]
    assert api.state()["profiles"] == before["profiles"]
    api.post("/v1/review/pairs", {"pair_id": "none", "verdict": "same", **WHY}, 404)
