"""What one household does over the period, as the lines that each channel records of it."""

import random
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

from cdp.simulate import vocabulary as words
from cdp.simulate.lines import Line, Story, rfc3339
from cdp.simulate.people import Person, written_name, written_phone
from cdp.simulate.purchases import any_sku, online_order, receipt

PEOPLE_PER_KIOSK = 400
DUMMIES = (("00000000000", ""), ("0123456789", ""), ("", "noemail@shop.example"))


def tell(seed: str, number: int, people: list[Person], until: datetime) -> list[Line]:
    """All lines of a household, in no particular order; the same arguments give the same lines."""
    story = Story(
        random.Random(f"{seed}:story:{number}"),
        until.replace(hour=0, minute=0, second=0, microsecond=0, tzinfo=UTC),
        number,
        seed,
    )
    for person in people:
        _live(story, person)
    if len(people) > 1 and story.rng.random() < 0.05:
        _pass_card_on(story, people[0], people[1])
    for _ in range(story.rng.choices((0, 1, 3), (70, 22, 8))[0]):
        _anonymous(story)
    if story.rng.random() < 0.06:
        _dummy_receipt(story)
    return story.lines


def _live(story: Story, person: Person) -> None:
    rng = story.rng
    habits: list[tuple[float, Callable[[Story, Person], None]]] = [
        (0.5, _web_account), (0.25, _app_account), (0.3, _guest), (0.42, _card), (0.55, _receipts), (0.35, _ticket),
    ]  # fmt: skip
    chosen = [habit for share, habit in habits if rng.random() < share] or [_receipts]
    for habit in chosen:
        habit(story, person)


def _traits(story: Story, person: Person, email: str) -> dict[str, Any]:
    rng = story.rng
    given, family = written_name(rng, person)
    traits: dict[str, Any] = {
        "firstName": given,
        "lastName": family,
        "email": email.upper() if rng.random() < 0.2 else email,
    }
    if rng.random() < 0.5:
        traits["phone"] = written_phone(rng, person)
    if rng.random() < 0.4:
        traits["birthday"] = person.birthday
    if rng.random() < 0.9:
        traits["address"] = {"postalCode": person.postal_code, "city": person.city, "country": person.country}
    return traits


def _consent(story: Story, at: datetime, source: str, purposes: tuple[str, ...]) -> dict[str, Any]:
    preferences = {purpose: story.rng.random() < 0.5 for purpose in purposes}
    captured = at - timedelta(days=1) if story.rng.random() < 0.2 else at
    return {
        "consent": {
            "categoryPreferences": preferences,
            "capturedAt": rfc3339(captured),
            "noticeVersion": "1",
            "source": source,
        }
    }


def _account(story: Story, person: Person, channel: str, user: str, anonymous: str) -> None:
    rng = story.rng
    locale = "zh-CN" if person.chinese else "en-GB"
    account, visitor = f"{channel}:user:{user}", f"{channel}:anon:{anonymous}"
    both: list[tuple[str, str | None]] = [(account, person.person_id), (visitor, person.person_id)]
    start = story.moment()
    email = person.old_email or person.email
    purposes = ("email_marketing", "sms_marketing", "personalisation")
    signup = story.event(channel, start, "identify", anonymous, locale=locale, userId=user, traits=_traits(story, person, email),
                         context=_consent(story, start, f"{channel}-signup", purposes))  # fmt: skip
    story.lines.append(Line(channel, start, signup, both, (visitor,)))
    page = story.event(
        channel,
        start - timedelta(minutes=2),
        "screen" if channel == "app" else "page",
        anonymous,
        locale=locale,
        name=rng.choice(words.PAGES),
    )
    story.lines.append(Line(channel, start, page, both[1:]))
    if person.old_email:
        later = start + timedelta(days=30)
        change = story.event(
            channel,
            later,
            "identify",
            anonymous,
            locale=locale,
            userId=user,
            traits=_traits(story, person, person.email),
        )
        story.lines.append(Line(channel, later, change, both, (visitor,)))
    if channel == "web" and rng.random() < 0.05:
        kiosk = kiosk_id(story.seed, int(person.person_id[1:]) // PEOPLE_PER_KIOSK)
        at = story.moment()
        login = story.event(
            "web",
            at,
            "identify",
            kiosk,
            locale=locale,
            userId=user,
            traits=_traits(story, person, person.email),
        )
        story.lines.append(Line("web", at, login, [both[0], (f"web:anon:{kiosk}", None)]))
    if rng.random() < 0.3:
        at = story.moment()
        enrolled = story.event(
            channel,
            at,
            "track",
            anonymous,
            event="Loyalty Enrolled",
            userId=user,
            properties={"card_no": person.card},
        )
        story.lines.append(
            Line(channel, at, enrolled, [*both, (f"pos:card:{person.card}", person.person_id)], (visitor,))
        )
    if rng.random() < 0.2:
        at = story.moment()
        update = story.event(channel, at, "track", anonymous, event="Consent Updated", userId=user, properties={},
                             context=_consent(story, at, f"{channel}-preferences", purposes[:2]))  # fmt: skip
        story.lines.append(Line(channel, at, update, both, (visitor,)))
    for name in ("Product Reviewed", "Product Shared", "Friend Referred"):
        if rng.random() < 0.06:
            at = story.moment()
            touch = story.event(
                channel,
                at,
                "track",
                anonymous,
                event=name,
                userId=user,
                properties={"product_id": any_sku(rng), "rating": rng.randrange(1, 6)},
            )
            story.lines.append(Line(channel, at, touch, both, (visitor,)))
    for _ in range(rng.choices((0, 1, 2, 4), (30, 40, 20, 10))[0]):
        online_order(story, channel, anonymous, {"userId": user}, both, (visitor,))


def _web_account(story: Story, person: Person) -> None:
    _account(story, person, "web", person.web, person.browser)
    if person.second_web:
        _account(story, person, "web", person.second_web, f"{story.rng.getrandbits(64):016x}")


def _app_account(story: Story, person: Person) -> None:
    _account(story, person, "app", person.app, person.device)


def _guest(story: Story, person: Person) -> None:
    """An order without an account, from the person's browser or from another one."""
    rng = story.rng
    browser = person.browser if rng.random() < 0.5 else f"{rng.getrandbits(64):016x}"
    given, family = written_name(rng, person)
    name = f"{given} {family}" if not person.chinese or rng.random() < 0.5 else f"{family}{given}"
    phone = written_phone(rng, person) if rng.random() < 0.3 else None
    email = person.old_email if person.old_email and rng.random() < 0.5 else person.email
    guest = {"email": email, "shipping": {"name": name, "postalCode": person.postal_code, "phone": phone}}
    visitor = f"web:anon:{browser}"
    online_order(story, "web", browser, {}, [(visitor, person.person_id)], (visitor,), guest, person)


def _card(story: Story, person: Person) -> None:
    """Receipts on a loyalty card; now and then the partner uses it and leaves their own name and phone."""
    rng = story.rng
    for _ in range(rng.choices((1, 2, 4), (45, 35, 20))[0]):
        user = person.partner if person.partner and rng.random() < 0.08 else person
        given, family = written_name(rng, user)
        opted = rng.random() < 0.35
        record = (f"pos:card:{person.card}", person.person_id)
        phone, name = (written_phone(rng, user), f"{family}, {given}") if opted else ("", "")
        receipt(story, person.card, phone, "", name, rng.choice("YN") if opted else "", record)


def _receipts(story: Story, person: Person) -> None:
    """Receipts with a typed phone or an e-mail, sometimes with a surname."""
    rng = story.rng
    for _ in range(rng.choices((1, 2, 3), (60, 30, 10))[0]):
        given, family = written_name(rng, person)
        by_mail = rng.random() < 0.2
        name = "" if by_mail else rng.choice(("", family, f"{family}, {given}"))
        phone = "" if by_mail else written_phone(rng, person)
        receipt(
            story,
            "",
            phone,
            person.email if by_mail else "",
            name,
            "",
            ("pos:txn:", person.person_id),
        )


def _dummy_receipt(story: Story) -> None:
    phone, email = story.rng.choice(DUMMIES)
    receipt(story, "", phone, email, "", "", ("pos:txn:", None))


def _pass_card_on(story: Story, giver: Person, taker: Person) -> None:
    """A card first enrolled by one person, then by another: whose it is depends on the date, so it is in nobody's truth."""
    at = story.moment(0.7)
    for line in story.lines:
        line.records = [(r, None if r == f"pos:card:{giver.card}" else p) for r, p in line.records]
    for when, person in ((at - timedelta(days=200), giver), (at, taker)):
        user, browser = f"web:user:{person.web}", f"web:anon:{person.browser}"
        body = story.event(
            "web",
            when,
            "track",
            person.browser,
            event="Loyalty Enrolled",
            userId=person.web,
            properties={"card_no": giver.card},
        )
        records: list[tuple[str, str | None]] = [
            (user, person.person_id),
            (browser, person.person_id),
            (f"pos:card:{giver.card}", None),
        ]
        story.lines.append(Line("web", when, body, records, (browser,)))


def _ticket(story: Story, person: Person) -> None:
    """A help-desk ticket, sometimes updated, sometimes about an order (now and then the partner's)."""
    rng = story.rng
    at = story.moment()
    given, family = written_name(rng, person)
    requester: dict[str, Any] = {
        "name": f"{family}{given}" if person.chinese and rng.random() < 0.7 else f"{given} {family}"
    }
    if rng.random() < 0.6:
        requester["phone"] = written_phone(rng, person)
    if rng.random() < 0.5:
        requester["email"] = person.email
    subjects, texts = (
        (words.CHINESE_SUBJECTS, words.CHINESE_COMPLAINTS) if person.chinese else (words.SUBJECTS, words.COMPLAINTS)
    )
    asker = person.partner if person.partner and rng.random() < 0.05 else person
    own = {asker.person_id}
    orders = [
        line.body["properties"]["order_id"]
        for line in story.lines
        if line.channel == "web" and line.body.get("event") == "Order Completed" and {p for _, p in line.records} & own
    ]
    story.serial += 1
    number = story.number * 1000 + story.serial
    body = {
        "id": number, "created_at": rfc3339(at), "updated_at": rfc3339(at + timedelta(days=rng.randrange(1, 15))),
        "via": {"channel": rng.choice(("phone", "email", "chat", "wechat"))}, "requester": requester, "subject": rng.choice(subjects),
        "description": rng.choice(texts), "status": rng.choice(("open", "solved", "closed")),
        "order_ref": rng.choice(orders) if orders and rng.random() < 0.5 else None,
        "tags": ["unsubscribe"] if rng.random() < 0.06 else [], "satisfaction_rating": rng.choice((None, "good", "bad")),
        "nps": rng.choice((None, 3, 6, 8, 9, 10)),
    }  # fmt: skip
    record = (f"service:ticket:{number}", person.person_id)
    story.lines.append(Line("service", at, body, [record]))
    if rng.random() < 0.05:
        newer = body | {"updated_at": rfc3339(at + timedelta(days=20)), "status": "solved"}
        story.lines.append(Line("service", at + timedelta(days=20), newer, [record]))


def _anonymous(story: Story) -> None:
    """A browser or installation that looks at pages and never says who it is: the long tail."""
    rng = story.rng
    channel = "web" if rng.random() < 0.9 else "app"
    visitor = f"{rng.getrandbits(64):016x}"
    for _ in range(rng.choices((1, 2, 4), (60, 30, 10))[0]):
        at = story.moment()
        page = story.event(channel, at, "page" if channel == "web" else "screen", visitor, name=rng.choice(words.PAGES))
        story.lines.append(Line(channel, at, page, [(f"{channel}:anon:{visitor}", f"A{visitor}")]))


def kiosk_id(seed: str, number: int) -> str:
    """The browser of a store kiosk, where many people log in."""
    return f"{random.Random(f'{seed}:kiosk:{number}').getrandbits(64):016x}"
