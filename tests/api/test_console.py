"""The console over a town: wrong roles first, then each task of an agent, a steward, a privacy officer and a manager."""

import re
from dataclasses import dataclass
from html import unescape
from html.parser import HTMLParser
from pathlib import Path
from types import SimpleNamespace

import psycopg
import pytest
from babel.messages.extract import extract_from_dir
from babel.messages.pofile import read_po
from fastapi.testclient import TestClient

import api.console
from api.app import create_app
from api.console import actions, manager, page, words
from api.console.phrases import DONE, PHRASES
from cdp import access, mask
from cdp.clock import system_now
from cdp.store import users
from cdp.store.connect import connect, owner_address
from cdp.workspace import Workspace
from tests.conftest import api_key, cdp

NOBODY = "0197f3a2-7c1e-7b3a-9d55-2f6f0c1a4e77"
PASSWORD = "seven quiet tills at noon"
EVERY = {"agent", "steward", "privacy", "admin"}
PAGES = [
    ("GET", "/console/", EVERY),
    ("POST", "/console/search", EVERY),
    ("GET", "/console/search", EVERY),
    ("GET", f"/console/customers/{NOBODY}", EVERY),
    ("GET", f"/console/customers/{NOBODY}/timeline?cursor=x", EVERY),
    ("GET", f"/console/customers/{NOBODY}/why", EVERY),
    ("POST", f"/console/customers/{NOBODY}/hide", EVERY),
    ("POST", f"/console/customers/{NOBODY}/reveal", {"agent", "privacy", "admin"}),
    ("POST", f"/console/customers/{NOBODY}/withdraw", {"agent", "privacy", "admin"}),
    ("POST", f"/console/customers/{NOBODY}/redeem", {"agent", "admin"}),
    ("POST", f"/console/customers/{NOBODY}/goodwill", {"agent", "admin"}),
    ("POST", f"/console/customers/{NOBODY}/approvals/{NOBODY}", {"agent", "admin"}),
    ("POST", f"/console/customers/{NOBODY}/correct", {"agent", "admin"}),
    ("POST", f"/console/customers/{NOBODY}/correct/{NOBODY}/undo", {"agent", "admin"}),
    ("POST", f"/console/customers/{NOBODY}/notes", {"agent", "admin"}),
    ("POST", f"/console/customers/{NOBODY}/notes/{NOBODY}/remove", {"agent", "admin"}),
    ("POST", f"/console/customers/{NOBODY}/split", {"steward", "admin"}),
    ("POST", f"/console/customers/{NOBODY}/merge", {"steward", "admin"}),
    ("POST", f"/console/changesets/{NOBODY}/undo", {"steward", "admin"}),
    ("GET", "/console/queue", {"steward", "admin"}),
    ("POST", "/console/queue", {"steward", "admin"}),
    ("POST", "/console/queue/undo", {"steward", "admin"}),
    ("GET", "/console/privacy", {"privacy", "admin"}),
    ("GET", f"/console/privacy/new/{NOBODY}", {"privacy", "admin"}),
    ("POST", f"/console/privacy/new/{NOBODY}", {"privacy", "admin"}),
    ("GET", f"/console/privacy/{NOBODY}", {"privacy", "admin"}),
    ("POST", f"/console/privacy/{NOBODY}", {"privacy", "admin"}),
    ("POST", f"/console/privacy/{NOBODY}/export", {"privacy", "admin"}),
    ("GET", "/console/manager", {"admin"}), ("GET", "/console/insight", {"admin"}),
]


@dataclass
class Person:
    """Somebody who is signed in."""

    client: TestClient

    def get(self, path, status=200, **headers):
        answer = self.client.get(path, headers=headers)
        assert answer.status_code == status, answer.text
        return answer.text

    @property
    def token(self):
        return re.search(r'name="csrf" value="([0-9a-f]+)"', self.client.get("/console/").text)[1]

    def post(self, path, status=200, headers=None, **said):
        answer = self.client.post(path, data={"csrf": self.token, **said}, headers=headers)
        assert answer.status_code == status, answer.text
        return answer.text


@dataclass
class Desk:
    """The console of one town."""

    app: object
    workspace: Workspace
    store: psycopg.Connection
    client: TestClient
    people: dict

    def person(self, name):
        if name not in self.people:
            client = TestClient(self.app, base_url="http://testserver")
            client.portal = self.client.portal  # one event loop for all: pools belong to theirs
            answer = client.post("/console/sign-in", data={"name": name, "password": PASSWORD})
            assert "/console/sign-in" not in str(answer.url), answer.text
            self.people[name] = Person(client)
        return self.people[name]

    def customer(self, where="true"):
        rows = self.store.execute(
            f"select customer_id::text, profile from profiles p where kind = 'known' and {where} order by customer_id limit 1"
        ).fetchall()
        return rows[0]


@pytest.fixture(scope="module")
def desk(town):
    app = create_app(town.settings)
    with connect(owner_address(town)) as store, TestClient(app, base_url="http://testserver") as client:
        for role in sorted(EVERY):
            users.create(store, role, access.hashed(PASSWORD, role), [role], "en", system_now())
        users.create(store, "second", access.hashed(PASSWORD, "second"), ["agent"], "en", system_now())
        yield Desk(app, town, store, client, {})


@pytest.mark.parametrize(("method", "path", "roles"), PAGES)
def test_who_is_not_signed_in_sees_the_sign_in_page_and_nothing_else(desk, method, path, roles):
    answer = desk.client.request(method, path, follow_redirects=False)
    assert (answer.status_code, answer.headers["location"]) == (303, "/console/sign-in")


@pytest.mark.parametrize("role", sorted(EVERY))
@pytest.mark.parametrize(("method", "path", "roles"), PAGES)
def test_every_page_denies_the_wrong_role(desk, method, path, roles, role):
    person = desk.person(role)
    data = {"csrf": person.token} if method == "POST" else None
    answer = person.client.request(method, path, data=data, follow_redirects=False)
    assert (answer.status_code == 403) == (role not in roles), (answer.status_code, answer.text[:300])
    assert answer.status_code < 500


def test_the_list_above_names_every_page(desk):
    console = api.console.create_console(None)
    told = {(m, re.sub(r"\{[^}]+\}", "*", r.path)) for r in _routes(console) for m in r.methods if m in ("GET", "POST")}
    listed = {(m, re.sub(NOBODY, "*", p.partition("?")[0]).removeprefix("/console")) for m, p, _ in PAGES}
    assert told - listed == {("GET", "/sign-in"), ("POST", "/sign-in"), ("POST", "/sign-out"), ("POST", "/language")}


def _routes(app):
    for route in app.router.routes:
        inner = getattr(route, "original_router", None) or getattr(route, "router", None)
        if inner is not None and not hasattr(route, "methods"):
            yield from (r for r in inner.routes if hasattr(r, "methods"))
        elif hasattr(route, "methods"):
            yield route


def test_a_form_of_another_site_or_without_the_token_is_refused(desk):
    agent = desk.person("agent")
    customer, _ = desk.customer()
    path = f"/console/customers/{customer}/notes"
    assert agent.client.post(path, data={"text": "x"}).status_code == 403
    assert agent.client.post(path, data={"text": "x", "csrf": "0" * 64}).status_code == 403
    agent.post(path, 403, headers={"Origin": "https://evil.example"}, text="x")
    assert desk.store.execute("select count(*) from notes").fetchall()[0][0] == 0
    other = TestClient(desk.app, base_url="http://testserver")
    other.portal = desk.client.portal
    foreign = {"Origin": "https://evil.example"}
    assert (
        other.post("/console/sign-in", data={"name": "agent", "password": PASSWORD}, headers=foreign).status_code == 403
    )


def test_five_wrong_passwords_lock_an_account_and_a_name_nobody_has_is_not_told_apart(desk):
    users.create(desk.store, "hasty", access.hashed(PASSWORD, "hasty"), ["agent"], "en", system_now())
    said = set()
    for name in ("hasty",) * 5 + ("nobody at all",):
        answer = desk.client.post("/console/sign-in", data={"name": name, "password": "wrong wrong wrong"})
        said.add((answer.status_code, re.sub(r"\s+", " ", answer.text)))
    assert len(said) == 1
    assert desk.client.post("/console/sign-in", data={"name": "hasty", "password": PASSWORD}).status_code == 401
    users.change(desk.store, "hasty", locked_until=None)
    answer = desk.client.post("/console/sign-in", data={"name": "HASTY", "password": PASSWORD}, follow_redirects=False)
    assert answer.status_code == 303
    assert {"HttpOnly", "SameSite=strict", "Path=/console"} <= set(answer.headers["set-cookie"].split("; "))
    desk.client.cookies.clear()


def test_a_session_ends_when_it_is_left_when_nobody_uses_it_and_when_the_account_is_closed(desk):
    users.create(desk.store, "brief", access.hashed(PASSWORD, "brief"), ["agent"], "en", system_now())
    brief = desk.person("brief")
    token = brief.client.cookies["cdp_session"]
    brief.post("/console/sign-out")
    brief.client.cookies.set("cdp_session", token, domain="testserver.local", path="/console")
    assert "Sign in" in brief.get("/console/")
    brief = desk.people.pop("brief") and desk.person("brief")
    desk.store.execute(
        "update sessions set seen_at = seen_at - interval '31 minutes' where user_id = (select user_id from users where name = 'brief')"
    )
    assert "Sign in" in brief.get("/console/")
    brief = desk.people.pop("brief") and desk.person("brief")
    cdp(desk.workspace, "users", "disable", "brief")
    assert "Sign in" in brief.get("/console/")
    assert "disabled" in cdp(desk.workspace, "users", "list").stdout


def test_a_weak_password_and_an_unknown_role_are_refused(desk):
    for password, said in (
        ("short", "12 to 200"),
        ("agent agent agent", "easy to guess"),
        ("aaaaaaaaaaaaaa", "easy to guess"),
    ):
        with pytest.raises(access.WeakPassword, match=said):
            access.hashed(password, "agent")
    with pytest.raises(access.UnknownRole, match="choose from agent"):
        raise_unknown()
    assert "choose from" in cdp(desk.workspace, "users", "create", "x", "--role", "boss", check=False).stderr


def raise_unknown():
    try:
        access.scopes(["boss"])
    except access.UnknownRole as error:
        raise access.UnknownRole(str(error)) from error


@pytest.mark.parametrize("kind", ["email", "phone", "card"])
def test_whoever_holds_an_identifier_is_found_and_the_term_is_in_no_url_and_no_log(desk, kind):
    rows = desk.store.execute(
        "select i.value, a.customer_id::text from identifiers i join assignment a using (record_id) where i.type = %s and (select count(distinct b.customer_id) "
        "from identifiers j join assignment b using (record_id) where j.type = i.type and j.value = i.value) = 1 order by 1 limit 1",
        [kind],
    ).fetchall()
    value, customer = rows[0]
    agent = desk.person("agent")
    answer = agent.client.post("/console/search", data={"csrf": agent.token, "q": value})
    assert answer.url.path == f"/console/customers/{customer}"
    assert "q=" not in str(answer.url)
    assert value not in desk.workspace.path("logs").joinpath("x").parent.as_posix()
    assert not desk.store.execute("select 1 from audit_log where audit_log::text like %s", [f"%{value}%"]).fetchall()


def test_an_order_and_a_ticket_number_find_their_customer(desk):
    agent = desk.person("agent")
    order, customer = desk.store.execute(
        "select o.order_id, a.customer_id::text from orders o join assignment a using (record_id) order by 1 limit 1"
    ).fetchall()[0]
    answer = agent.client.post("/console/search", data={"csrf": agent.token, "q": order})
    assert answer.url.path == f"/console/customers/{customer}"


def put_names(desk, *names):
    """People who are called so, as publish writes them."""
    from cdp.standard.names import name as read

    for number, said in enumerate(names):
        found = read(None, None, said)
        desk.store.execute(
            "update contact_records set fields = fields || jsonb_build_object('full_name', %s::text, 'full_key', %s::text) where record_id = "
            "(select record_id from contact_records join assignment using (record_id) order by record_id offset %s limit 1)",
            [found.full, found.full_key, number],
        )
    return [
        desk.store.execute("select customer_id::text from assignment join contact_records using (record_id) where fields ->> 'full_name' = %s", [read(None, None, said).full]).fetchall()[0][0]
        for said in names
    ]  # fmt: skip


def test_a_name_is_found_misspelt_in_any_order_by_pinyin_and_by_single_characters_in_both_scripts(desk):
    first, second, third = put_names(desk, "Margaret Thistlewood", "欧阳晓明", "陈伟强")
    agent = desk.person("agent")
    for asked, customer in (
        ("Margret Thistelwood", first), ("thistlewood margaret", first), ("Thistlew", first), ("ouyang xiaoming", second),
        ("歐陽曉明", second), ("晓明", second), ("曉", second), ("chen weiqiang", third), ("陳偉強", third), ("陈伟强先生", third),
    ):  # fmt: skip
        shown = agent.post("/console/search", q=asked, headers={"X-Fragment": "1"})
        assert customer in re.findall(r"/console/customers/([0-9a-f-]+)", shown)[:3], asked


def test_a_name_that_nobody_gives_any_more_is_forgotten(desk):
    put_names(desk, "Zebulon Quackenbush")
    assert desk.store.execute("select count(*) from names where name = 'Zebulon Quackenbush'").fetchall()[0][0] == 1
    put_names(desk, "Margaret Thistlewood")
    assert desk.store.execute("select count(*) from names where name = 'Zebulon Quackenbush'").fetchall()[0][0] == 0


def test_nobody_found_and_rubbish_are_said_calmly(desk):
    agent = desk.person("agent")
    for asked in ("qqqzzzxx", "%%%", "'; drop table users; --", "x" * 5000, "\u202e\u202d", "12", "@", "🙂"):
        assert "Nobody" in agent.post("/console/search", q=asked) or "alike" in agent.post("/console/search", q=asked)


def test_names_are_shown_as_text_whatever_they_hold(desk):
    (customer,) = put_names(desk, "Ann <script>alert(1)</script>")
    desk.store.execute(
        "update profiles set profile = jsonb_set(profile, '{name,full_name}', %s) where customer_id = %s",
        ['"<script>alert(1)</script>\u202eevil"', customer],
    )
    agent = desk.person("agent")
    agent.post(f"/console/customers/{customer}/reveal", reason="complaint")
    shown = agent.get(f"/console/customers/{customer}")
    assert "<script>alert" not in shown
    assert "<bdi" in shown
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in shown
    agent.post(f"/console/customers/{customer}/hide")


def test_every_page_forbids_foreign_and_inline_scripts_and_has_none(desk):
    customer, _ = desk.customer()
    for role, path in (("agent", "/console/"), ("agent", f"/console/customers/{customer}"), ("agent", f"/console/customers/{customer}/why"),
                       ("steward", "/console/queue"), ("privacy", "/console/privacy"), ("admin", "/console/manager")):  # fmt: skip
        answer = desk.person(role).client.get(path)
        policy = answer.headers["content-security-policy"]
        assert "default-src 'none'" in policy
        assert "unsafe" not in policy
        assert answer.headers["cache-control"] == "no-store"
        assert "style=" not in answer.text
        assert re.findall(r"<script[^>]*>", answer.text) == ['<script src="/console/static/console.js" defer>']
        assert not re.search(r"\son\w+=", answer.text)
        assert all(link[:1] in "/#" and link[:2] != "//" for link in re.findall(r'(?:src|href)="([^"]+)"', answer.text))


def test_values_are_masked_until_they_are_revealed_for_a_reason_and_for_minutes(desk):
    customer, profile = desk.customer("profile -> 'email' ->> 'value' is not null")
    agent, path = desk.person("agent"), f"/console/customers/{customer}"
    raw = profile["email"]["value"]
    assert raw not in agent.get(path)
    agent.post(f"{path}/reveal", 422, reason="because")
    assert raw not in agent.get(path)
    agent.post(f"{path}/reveal", reason="checking_identity")
    assert raw in agent.get(path)
    assert raw not in desk.person("steward").get(path)
    assert raw not in desk.person("second").get(path)
    desk.app.state.context.trail.flush()
    told = desk.store.execute(
        "select reason, actor, audit_log::text from audit_log where action = 'profile.reveal'"
    ).fetchall()
    assert ("checking_identity", "user:agent") in {row[:2] for row in told}
    assert not any(raw in row[2] for row in told)
    desk.store.execute("update reveals set until = now() - interval '1 second'")
    assert raw not in agent.get(path)


def test_one_click_withdraws_for_that_contact_point(desk):
    agent = desk.person("agent")
    granted = desk.store.execute(
        "select distinct a.customer_id::text from assignment a join identifiers i using (record_id) join consent_decisions c on c.subject_type = i.type "
        "and c.subject = i.value where c.status = 'granted' and c.purpose = 'email_marketing' order by 1"
    ).fetchall()

    def forms(path):
        hidden = r'name="purpose"\s+value="email_marketing"\s*/?><input type="hidden" name="point" value="([0-9a-f]+)"'
        return re.findall(hidden, agent.get(path))

    path = next(path for (customer,) in granted if forms(path := f"/console/customers/{customer}"))
    before = forms(path)
    assert "holds from now on" in agent.post(f"{path}/withdraw", purpose="email_marketing", point=before[0])
    assert forms(path) == before[1:]
    agent.post(f"{path}/withdraw", 404, purpose="email_marketing", point="0" * 24)


def with_points(desk):
    return desk.store.execute(
        "select a.customer_id::text, sum(l.balance)::bigint from ledger_accounts l join assignment a using (record_id) join profiles p using (customer_id) "
        "group by 1 having sum(l.balance) > 50 order by 2 desc limit 1"
    ).fetchall()[0]


def test_points_are_spent_once_however_often_the_form_is_sent(desk):
    customer, balance = with_points(desk)
    agent, path = desk.person("agent"), f"/console/customers/{customer}"
    for _ in range(3):
        agent.post(f"{path}/redeem", points="7", reason="call", once="the same form")
    assert with_balance(desk, customer) == balance - 7
    agent.post(f"{path}/redeem", 409, points=str(balance), reason="call", once="another form")
    for wrong in ("0", "-5", "1.5", "many", ""):
        agent.post(f"{path}/redeem", 422, points=wrong, reason="call")
    assert with_balance(desk, customer) == balance - 7


def with_balance(desk, customer):
    return desk.store.execute(
        "select sum(l.balance)::bigint from ledger_accounts l join assignment a using (record_id) where a.customer_id = %s",
        [customer],
    ).fetchall()[0][0]


def test_goodwill_above_the_limit_waits_for_somebody_else(desk):
    customer, balance = with_points(desk)
    agent, path = desk.person("agent"), f"/console/customers/{customer}"
    assert "The points are given" in agent.post(f"{path}/goodwill", points="3", reason="late parcel", once="a")
    limit = desk.app.state.context.programme.adjust_limit
    assert "waits until somebody else" in agent.post(
        f"{path}/goodwill", points=str(limit + 1), reason="lost parcel", once="b"
    )
    assert with_balance(desk, customer) == balance + 3
    own = agent.get(path)
    assert "Somebody else has to approve it" in own
    approval = re.search(r"/approvals/([0-9a-f-]+)", desk.person("second").get(path))[1]
    agent.post(f"{path}/approvals/{approval}", 409, answer="approve", once="c")
    assert "Approved" in desk.person("second").post(f"{path}/approvals/{approval}", answer="approve", once="d")
    assert with_balance(desk, customer) == balance + 3 + limit + 1


def test_notes_and_flags_follow_their_person_and_are_in_an_export(desk):
    customer, _ = desk.customer()
    agent, path = desk.person("agent"), f"/console/customers/{customer}"
    agent.post(f"{path}/notes", text="Calls on Mondays <b>only</b>", flag="vulnerable")
    shown = agent.get(path)
    assert "Calls on Mondays" not in shown, "what people write holds names and numbers"
    assert "Vulnerable person" in shown
    agent.post(f"{path}/reveal", reason="complaint")
    shown = agent.get(path)
    assert "Calls on Mondays &lt;b&gt;only&lt;/b&gt;" in shown
    agent.post(f"{path}/notes", 422, text="")
    agent.post(f"{path}/notes", 422, text="x", flag="rich")
    from cdp.privacy import export

    held = export.export(desk.store, desk.app.state.context.policy, customer, system_now())
    assert "Calls on Mondays" in str(held)
    note = re.search(r"/notes/([0-9a-f-]+)/remove", shown)[1]
    agent.post(f"{path}/notes/{note}/remove")
    assert "Calls on Mondays" not in agent.get(path)


def test_the_story_is_filtered_and_paged_to_its_end(desk):
    customer = desk.store.execute(
        "select a.customer_id::text from assignment a join interactions i using (record_id) group by 1 order by count(*) desc limit 1"
    ).fetchall()[0][0]
    agent, path = desk.person("agent"), f"/console/customers/{customer}"
    shown, seen = agent.get(path), []
    while True:
        seen += re.findall(r'<time datetime="([^"]+)"', shown)
        more = re.search(r'data-more href="([^"]+)"', shown)
        if not more:
            break
        shown = agent.get(unescape(more[1]), **{"X-Fragment": "1"})
    rows = desk.store.execute(
        "select (select count(*) from orders join assignment using (record_id) where customer_id = %(c)s) + (select count(*) from interactions "
        "join assignment using (record_id) where customer_id = %(c)s) + (select count(*) from consent_decisions join assignment using (record_id) "
        "where customer_id = %(c)s) + (select count(*) from ledger_entries join ledger_accounts using (account_id) join assignment using (record_id) "
        "where customer_id = %(c)s)",
        {"c": customer},
    ).fetchall()[0][0]
    assert len(seen) == rows > 25
    assert seen == sorted(seen, reverse=True)
    only = agent.get(f"{path}?kind=points")
    assert set(re.findall(r"<b>(\w+)</b>\s*<b class", only.split('id="story"')[1])) <= {"Points"}


@pytest.mark.long
def test_a_correction_shows_at_once_survives_a_run_and_is_gone_when_it_is_taken_back(desk):
    customer, profile = desk.customer(
        "p.customer_id in (select customer_id from assignment group by 1 having count(*) > 1)"
    )
    agent, path = desk.person("agent"), f"/console/customers/{customer}"
    agent.post(f"{path}/correct", 422, reason="said so")
    agent.post(f"{path}/correct", 422, email="nonsense", reason="said so")
    agent.post(f"{path}/correct", 422, family_name="Alone", reason="said so")
    shown = agent.post(
        f"{path}/correct",
        email="Corrected.Person@Example.ORG",
        given_name="Zoë",
        family_name="Corrected",
        city="Leeds",
        postal_code="ls1 4dy",
        reason="said so",
    )
    assert "shows as a correction" in shown

    def now():
        found = desk.store.execute("select profile from profiles where customer_id = %s", [customer]).fetchall()[0][0]
        return {"name": found["name"]["full_name"], **{n: found[n]["value"] for n in ("email", "city", "phone")}}

    corrected = now()
    assert (corrected["name"], corrected["email"], corrected["city"]) == (
        "Zoë Corrected",
        "corrected.person@example.org",
        "leeds",
    )
    assert corrected["phone"] == profile["phone"]["value"]
    cdp(desk.workspace, "run", "--as-of", "2026-03-01")
    assert now() == corrected
    rows = desk.store.execute(
        "select customer_id::text from assignment where record_id like 'console:edit:%'"
    ).fetchall()
    assert rows == [(customer,)]
    assert (
        agent.client.post("/console/search", data={"csrf": agent.token, "q": "corrected.person@example.org"}).url.path
        == path
    )
    change = re.search(r"/correct/([0-9a-f-]+)/undo", agent.get(path))[1]
    assert "taken back" in agent.post(f"{path}/correct/{change}/undo")
    before = {"name": profile["name"]["full_name"], **{n: profile[n]["value"] for n in ("email", "city", "phone")}}
    assert now() == before
    cdp(desk.workspace, "run", "--as-of", "2026-03-01")
    assert now() == before
    assert not desk.store.execute("select 1 from contact_records where record_id like 'console:%'").fetchall()
    assert not desk.store.execute("select 1 from assignment where record_id like 'console:%'").fetchall()
    landed = desk.workspace.path("landing", "console")
    assert "corrected.person" in "".join(file.read_text(encoding="utf-8") for file in landed.iterdir())
    officer = desk.person("privacy")
    asked = officer.client.post(f"/console/privacy/new/{customer}", data={"csrf": officer.token, "kind": "erasure"})
    officer.post(asked.url.path, act="verify", method="in_person")
    cdp(desk.workspace, "run", "--as-of", "2026-03-01")
    left = "".join(file.read_text(encoding="utf-8") for file in landed.iterdir())
    assert "corrected.person" not in left.lower()
    assert "Zoë" not in left


def state(desk):
    return [
        desk.store.execute(query).fetchall()
        for query in (
            "select record_id, customer_id::text from assignment order by 1",
            "select customer_id::text, profile from profiles order by 1",
        )
    ]


def test_a_split_is_previewed_done_and_undone_and_the_preview_changes_nothing(desk):
    customer, _ = desk.customer("p.customer_id in (select customer_id from assignment group by 1 having count(*) > 2)")
    steward, path = desk.person("steward"), f"/console/customers/{customer}"
    before = state(desk)
    why = steward.get(f"{path}/why")
    assert "joins record" in why
    records = re.findall(r'name="record" value="([0-9a-f]+)"', why)
    steward.post(f"{path}/split", 422)
    shown = steward.post(f"{path}/split", record=records[-1])
    assert shown.count("<h3>") == 3
    assert state(desk) == before
    tag = unescape(re.search(r'name="tag" value="([^"]+)"', shown)[1])
    steward.post(f"{path}/split", 422, record=records[-1], confirm="yes", tag=tag)
    steward.post(f"{path}/split", 412, record=records[-1], confirm="yes", tag='"old"', reason="asked")
    done = steward.post(f"{path}/split", record=records[-1], confirm="yes", tag=tag, reason="asked on the phone")
    assert "two customers now" in done
    assert state(desk) != before
    undo = re.search(r"/console/changesets/([0-9a-f-]+)/undo", done)[1]
    assert "as it was before" in steward.post(f"/console/changesets/{undo}/undo", customer_id=customer)
    assert state(desk) == before


def test_a_merge_is_found_previewed_done_and_undone(desk):
    first, second = (
        row[0]
        for row in desk.store.execute(
            "select customer_id::text from profiles where kind = 'known' order by customer_id desc limit 2"
        )
    )
    steward, path = desk.person("steward"), f"/console/customers/{first}"
    before = state(desk)
    value = desk.store.execute("select i.value from identifiers i join assignment a using (record_id) where a.customer_id = %s and type in ('email', 'phone', 'card') limit 1", [second]).fetchall()[0][0]  # fmt: skip
    assert f'value="{second}"' in steward.post(f"{path}/merge", q=value)
    shown = steward.post(f"{path}/merge", other=second)
    assert shown.count("<h3>") == 3
    assert state(desk) == before
    done = steward.post(f"{path}/merge", other=second, confirm="yes", reason="the same, asked")
    assert "one customer now" in done
    kept = {row[0] for row in desk.store.execute("select customer_id::text from assignment")}
    (retired,) = {first, second} - kept
    assert "merged" in desk.person("agent").client.get(f"/console/customers/{retired}").text
    assert "confirmed by user:steward" in steward.get(f"/console/customers/{retired}/why")
    undo = re.search(r"/console/changesets/([0-9a-f-]+)/undo", done)[1]
    steward.post(f"/console/changesets/{undo}/undo", customer_id=first)
    assert state(desk) == before


def test_the_queue_shows_what_matters_most_and_keeps_the_word(desk):
    steward = desk.person("steward")
    left, right = (
        row[0]
        for row in desk.store.execute("select min(record_id) from assignment group by customer_id order by 1 limit 2")
    )
    for one, other, impact in ((left, right, 7.0),):
        desk.store.execute("insert into review_pairs (left_id, right_id, weight, impact, details) values (%s, %s, 1.5, %s, '{}')", [*sorted((one, other)), 1e9 + impact])  # fmt: skip
    shown = steward.get("/console/queue")
    pair = re.search(r'name="pair_id" value="([0-9a-f]+)"', shown)[1]
    steward.post("/console/queue", 422, pair_id=pair, verdict="maybe")
    assert "two people" in steward.post("/console/queue", pair_id=pair, verdict="different").lower()
    assert "you decided 1" in steward.get("/console/queue")
    assert "as it was before" in steward.post("/console/queue/undo")
    assert "you decided 0" in steward.get("/console/queue")


def test_a_request_is_opened_proven_exported_and_an_erasure_says_what_it_takes(desk):
    officer = desk.person("privacy")
    customer, profile = desk.customer("profile -> 'email' ->> 'value' is not null")
    officer.post(f"/console/privacy/new/{customer}", 422, kind="gossip")
    page_ = officer.client.post(f"/console/privacy/new/{customer}", data={"csrf": officer.token, "kind": "access"})
    here = page_.url.path
    assert "prove who the person is" in page_.text
    officer.post(f"{here}/export", 409)
    officer.post(here, 422, act="verify", method="hunch")
    officer.post(here, act="verify", method="called_back")
    answer = officer.client.post(f"{here}/export", data={"csrf": officer.token})
    assert answer.headers["content-disposition"].startswith("attachment")
    assert profile["email"]["value"] in answer.text
    erasure = officer.client.post(f"/console/privacy/new/{customer}", data={"csrf": officer.token, "kind": "erasure"})
    assert "What the erasure takes away" in erasure.text
    officer.post(erasure.url.path, 422, act="refuse", reason="")
    assert "is refused" in officer.post(erasure.url.path, act="refuse", reason="withdrawn by the person")
    assert "Erasure" in officer.get("/console/privacy")


@pytest.mark.parametrize(
    ("typed", "scale", "parts"),
    [("12", 0, 12), ("12.5", 2, 1250), ("0.01", 2, 1), ("12.5", 0, None), ("0.001", 2, None), ("0", 2, None), ("-3", 0, None), ("1e3", 0, None), ("①", 0, None), ("", 2, None)],
)  # fmt: skip
def test_points_are_typed_and_shown_in_whole_units_of_a_programme_that_counts_in_parts(typed, scale, parts):
    terms = SimpleNamespace(scale=scale)
    said = SimpleNamespace(said=lambda _: typed, app=SimpleNamespace(programme=SimpleNamespace(terms=terms)))
    if parts is None:
        with pytest.raises(actions.Unsaid):
            actions.amount(said, "points")
    else:
        assert actions.amount(said, "points") == parts
        assert words.units(parts, scale, "en") == str(float(typed) if scale else int(typed))


def test_the_way_back_leads_to_what_was_found_and_no_address_holds_what_was_asked(desk):
    put_names(desk, "Margaret Thistlewood", "欧阳晓明", "陈伟强")
    agent = desk.person("agent")
    found = agent.client.post("/console/search", data={"csrf": agent.token, "q": "Thistlewood"})
    assert found.url.path == "/console/search"
    assert not found.url.query
    again = agent.client.get("/console/search")
    people = re.findall(r"/console/customers/([0-9a-f-]+)", found.text)
    assert people
    assert re.findall(r"/console/customers/([0-9a-f-]+)", again.text) == people
    assert 'value="Thistlewood"' in again.text
    fresh = TestClient(desk.app, base_url="http://testserver")
    assert fresh.get("/console/search", follow_redirects=False).status_code == 303


def test_a_refused_form_keeps_the_page_around_it_and_leads_back(desk):
    agent = desk.person("agent")
    customer, _ = desk.customer()
    here = f"http://testserver/console/customers/{customer}"
    for came, back in ((here, f'href="/console/customers/{customer}"'), ("https://elsewhere.example/x", None)):
        shown = agent.post(f"/console/customers/{customer}/notes", 422, headers={"Referer": came}, text="")
        assert "Write something, or choose a flag" in shown
        assert 'id="q"' in shown
        assert ("Back to where you were" in shown) == (back is not None)
        assert back is None or back in shown


def test_a_name_that_begins_as_typed_comes_before_one_that_shares_more_letters(desk):
    first, second, _ = put_names(desk, "Arthur Ostrowicke", "John Ostrowick", "陈伟强")
    shown = desk.person("agent").post("/console/search", q="Art Ostrowick", headers={"X-Fragment": "1"})
    found = re.findall(r"/console/customers/([0-9a-f-]+)", shown)
    assert found.index(first) < found.index(second)
    assert mask.name("Arthur Ostrowick") == "A••• O•••"
    assert mask.name("陈伟强") == "陈•••"


def test_figures_are_those_of_the_store(desk):
    manager._kept.clear()
    shown = desk.person("admin").get("/console/manager")
    known = desk.store.execute("select count(*) from profiles where kind = 'known'").fetchall()[0][0]
    assert f"<b>{known:,}</b>" in shown
    total = desk.store.execute(
        "select sum(amount)::bigint from ledger_entries e join ledger_accounts l using (account_id) join assignment a using (record_id) where unit = 'points'"
    ).fetchall()[0][0]
    assert f"<b>{total:,}</b>" in shown
    assert "<svg" in shown


@pytest.mark.parametrize("language", ["en", "zh_Hans", "zh_Hant"])
def test_managers_see_loyalty_measured_with_what_each_figure_means_and_which_models_to_trust(desk, language):
    boss = desk.person("admin")
    boss.post("/console/language", language=language, back="/console/")
    text = boss.get("/console/insight")
    expected = {"en": ("Average order", "orders in the period", "do not trust", "Customers by type of loyalty"), "zh_Hans": ("平均订单金额", "期内订单", "不可信", "各忠诚类型的客户"), "zh_Hant": ("平均訂單金額", "期內訂單", "不可信")}
    assert [word for word in expected[language] if word not in text] == []
    assert "GBP" in text
    boss.post("/console/language", language="en", back="/console/")


def test_others_of_one_home_are_shown_and_stay_customers_of_their_own(desk):
    one, other, stranger = (
        row[0] for row in desk.store.execute("select customer_id::text from profiles where kind = 'known' order by customer_id desc limit 3").fetchall()
    )  # fmt: skip
    homes = desk.store.execute("delete from households returning record_id, household_id, row_hash").fetchall()
    put = "insert into households (record_id, household_id, row_hash) values (%s, %s, %s)"
    records = [desk.store.execute("select min(record_id) from assignment where customer_id = %s", [each]).fetchall()[0][0] for each in (one, other, stranger)]  # fmt: skip
    try:
        for record, home in zip(records, ("home 1", "home 1", "home 2"), strict=True):
            desk.store.execute(put, [record, home, ""])
        page = desk.person("agent").get(f"/console/customers/{one}")
        listed = page[page.index("Same household, perhaps") :]
        assert f"/console/customers/{other}" in listed
        assert f"/console/customers/{stranger}" not in listed
        assert "Same household, perhaps" not in desk.person("agent").get(f"/console/customers/{stranger}")
    finally:
        desk.store.execute("delete from households")
        for row in homes:
            desk.store.execute(put, row)


def test_an_agent_sees_scores_only_of_who_allows_it(desk):
    customer = desk.store.execute(
        "select s.customer_id::text from customer_scores s where s.scores ->> 'loyalty' is not null and not exists (select 1 from consent_decisions d join assignment a using (record_id) "
        "where a.customer_id = s.customer_id and d.purpose in ('analytics', 'processing')) order by 1 limit 1"
    ).fetchall()[0][0]
    agent = desk.person("agent")
    before = agent.get(f"/console/customers/{customer}")
    assert "What we know of their loyalty" in before
    assert "Analytics – never asked" in before
    assert "Chance to stay away" not in before
    headers = api_key(desk.workspace, "consent:write")
    assert desk.client.post(f"/v1/customers/{customer}/consents", json={"purpose": "analytics", "status": "granted"}, headers=headers).status_code == 201
    after = agent.get(f"/console/customers/{customer}")
    assert "Chance to stay away" in after


@pytest.mark.parametrize(
    ("language", "said"), [("zh_Hans", "来电者是谁？"), ("zh_Hant", "來電者是誰？"), ("en", "Who is calling?")]
)
def test_pages_speak_the_persons_language(desk, language, said):
    agent = desk.person("agent")
    agent.post("/console/language", language=language, back="/console/")
    shown = agent.get("/console/")
    assert said in shown
    assert f'<html lang="{language.replace("_", "-")}">' in shown
    customer, _ = desk.customer()
    assert agent.client.get(f"/console/customers/{customer}").status_code == 200
    agent.post("/console/language", language="en", back="https://evil.example/")


def test_before_sign_in_the_browsers_language_counts(desk):
    client = TestClient(desk.app, base_url="http://testserver")
    client.portal = desk.client.portal
    for accepted, said in (("zh-TW,zh;q=0.9", "密碼"), ("zh-CN", "密码"), ("fr, en;q=0.5", "Password")):
        assert said in client.get("/console/sign-in", headers={"Accept-Language": accepted}).text


def test_every_word_of_the_console_is_in_the_catalogue():
    here = Path(api.console.__file__).parent
    found = {
        message
        for _, _, message, _, _ in extract_from_dir(
            here, [("**.html", "jinja2"), ("**.py", "python")], {"**.html": {"trimmed": "true", "newstyle_gettext": "true"}},
            keywords={"_": None, "gettext": None, "n_": None},
        )
    }  # fmt: skip
    with words.CATALOGUE.open("rb") as file:
        catalogue = read_po(file)
    assert sorted(m for m in found if not (catalogue.get(m) and catalogue.get(m).string)) == []
    for message in catalogue:
        if message.id:
            assert sorted(re.findall(r"%\(\w+\)s", message.id)) == sorted(re.findall(r"%\(\w+\)s", message.string)), (
                message.id
            )
    assert {*PHRASES.values(), *DONE.values()} <= found


def test_every_level_of_likeness_has_words():
    """Those that say something; of a missing value nothing is shown."""
    from api.console.phrases import NUMBER
    from identity import fields

    labels = {test.label for comparison in fields.comparisons(frozenset(fields.COLUMNS)) for test in comparison.tests[1:]}
    assert len(labels) > 15
    assert {label for label in labels if NUMBER.sub("#", label) not in PHRASES} == set()


def test_dates_money_and_numbers_are_written_as_the_language_does():
    assert words.day("2026-03-01T10:00:00+00:00", "en") == "Mar 1, 2026"
    assert words.day("2026-03-01T10:00:00+00:00", "zh_Hans") == "2026年3月1日"
    assert words.money("1234.5", "CNY", "zh_Hans") == "¥1,234.50"
    assert words.money("1234.5", "GBP", "en") == "£1,234.50"
    assert words.money("n/a", "GBP", "en") == "n/a GBP"
    assert words.moment(None, "en") == "–"


def test_an_id_that_is_none_is_refused_and_the_audit_log_goes_on(desk):
    agent = desk.person("agent")
    for path in ("customers/foo", "customers/foo/why", "customers/%00", "changesets/x/undo"):
        assert agent.client.get(f"/console/{path}").status_code in (404, 405, 422)
    desk.app.state.context.trail.flush()
    assert desk.app.state.context.trail.waiting == 0
    for said in ("a\x00b", "\x1b[0m"):
        agent.post("/console/search", 422, q=said)


def test_a_correction_to_what_somebody_else_holds_goes_to_a_steward(desk):
    customer, _ = desk.customer()
    value = desk.store.execute(
        "select i.value from identifiers i join assignment a using (record_id) where i.type = 'email' and a.customer_id <> %s order by 1 limit 1",
        [customer],
    ).fetchall()[0][0]
    shown = desk.person("agent").post(f"/console/customers/{customer}/correct", 409, email=value, reason="said so")
    assert "ask a steward" in shown
    assert value not in shown


def test_a_correction_that_was_merged_since_is_taken_back_from_there(desk):
    first, second = (
        row[0]
        for row in desk.store.execute(
            "select customer_id::text from profiles where kind = 'known' order by customer_id desc limit 2"
        )
    )
    before = state(desk)
    agent, steward = desk.person("agent"), desk.person("steward")
    agent.post(f"/console/customers/{first}/correct", email="merged.later@example.org", reason="said so")
    done = steward.post(f"/console/customers/{first}/merge", other=second, confirm="yes", reason="the same")
    merged = re.search(r'data-customer="([0-9a-f-]+)"', done)[1]
    change = re.search(r"/correct/([0-9a-f-]+)/undo", agent.get(f"/console/customers/{merged}"))[1]
    agent.post(f"/console/customers/{merged}/correct/{change}/undo")
    assert "merged.later@example.org" not in str(state(desk))
    undo = re.search(r"/console/changesets/([0-9a-f-]+)/undo", steward.get(f"/console/customers/{merged}/why"))[1]
    steward.post(f"/console/changesets/{undo}/undo", customer_id=merged)
    assert state(desk) == before


def test_sign_ins_from_one_place_are_limited(desk):
    limiter = desk.app.state.context.limiter
    while limiter.take("sign-in testclient", 120).remaining >= 0:
        pass
    answer = desk.client.post("/console/sign-in", data={"name": "agent", "password": PASSWORD}, follow_redirects=False)
    assert answer.status_code == 429
    limiter._windows.clear()


def test_a_very_long_name_is_kept_and_found(desk):
    (customer,) = put_names(desk, "Wolfeschlegel " + "".join(chr(97 + (n * 7919) % 26) for n in range(6000)))
    assert customer in desk.person("agent").post("/console/search", q="wolfeschlegel", headers={"X-Fragment": "1"})
    put_names(desk, "Margaret Thistlewood")


def test_errors_are_said_in_the_persons_language(desk):
    customer, balance = with_points(desk)
    agent = desk.person("agent")
    agent.post("/console/language", language="zh_Hans", back="/console/")
    shown = agent.post(
        f"/console/customers/{customer}/redeem", 409, points=str(balance + 1000), reason="call", once="zh"
    )
    agent.post("/console/language", language="en", back="/console/")
    assert "可用" in shown


class _Labels(HTMLParser):
    """Fields of forms that no label names."""

    def __init__(self):
        super().__init__()
        self.fields, self.labels, self.ids = [], set(), []

    def handle_starttag(self, tag, attributes):
        said = dict(attributes)
        if "id" in said:
            self.ids.append(said["id"])
        if tag == "label" and "for" in said:
            self.labels.add(said["for"])
        if (
            tag in ("input", "select", "textarea")
            and said.get("type") != "hidden"
            and "aria-label" not in said
            and said.get("id") != "keys-on"
        ):
            self.fields.append(said.get("id"))


def test_every_field_has_a_label_and_every_id_is_there_once(desk):
    customer, _ = desk.customer()
    for role, path in (("admin", "/console/"), ("admin", f"/console/customers/{customer}"), ("admin", f"/console/customers/{customer}/why"),
                       ("admin", "/console/privacy"), ("admin", f"/console/privacy/new/{customer}")):  # fmt: skip
        seen = _Labels()
        seen.feed(desk.person(role).get(path))
        assert set(seen.fields) <= seen.labels, path
        assert len(seen.ids) == len(set(seen.ids)), path


def test_data_that_is_behind_is_said_to_be(desk):
    shown = desk.person("agent").get("/console/")
    assert 'role="alert"' in shown
    assert "The data is behind" in shown


def test_a_page_weighs_little(desk):
    customer, _ = desk.customer()
    agent = desk.person("agent")
    whole = len(agent.get("/console/").encode()) + sum(
        (page.HERE / "static" / name).stat().st_size for name in ("console.css", "console.js")
    )
    assert whole < 100_000
    assert len(agent.get(f"/console/customers/{customer}").encode()) < 100_000


def test_when_the_store_is_down_a_page_says_so(desk, monkeypatch):
    def broken():
        raise psycopg.OperationalError("gone")

    agent = desk.person("agent")
    monkeypatch.setattr(desk.app.state.context.pools, "store", broken)
    answer = agent.client.get("/console/")
    assert answer.status_code == 503
    assert "try again in a moment" in answer.text
