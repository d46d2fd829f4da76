"""What simulated people buy and bring back, online and at tills."""

import random
from datetime import datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from cdp.simulate import vocabulary as words
from cdp.simulate.lines import Line, Story
from cdp.simulate.people import Person

LONDON = ZoneInfo("Europe/London")
POSTAGE: dict[str, Any] = {"sku": "POST", "name": "POSTAGE", "price": 3.5, "quantity": 1}


def online_order(
    story: Story, channel: str, anonymous: str, who: dict[str, Any], records: list[tuple[str, str | None]], links: tuple[str, ...],
    guest: dict[str, Any] | None = None, person: Person | None = None,
) -> str:  # fmt: skip
    """An order on the web or in the app, now and then refunded; `guest` holds what a buyer without an account gives."""
    rng = story.rng
    at = story.moment(0.05)
    order = story.name(channel[0].upper())
    named = [*records, *([(f"{channel}:order:{order}", person.person_id)] if person else [])]
    products = [_product(rng) for _ in range(rng.choices((1, 2, 3, 5), (30, 35, 25, 10))[0])]
    properties = {"order_id": order, "currency": "GBP", "total": _total(products), "products": products} | (guest or {})
    privacy = {"globalPrivacyControl": True} if channel == "web" and rng.random() < 0.12 else {}
    body = story.event(
        channel,
        at,
        "track",
        anonymous,
        event="Order Completed",
        properties=properties,
        context=privacy,
        **who,
    )
    story.lines.append(Line(channel, at, body, named, links))
    if rng.random() < 0.15:
        _online_refund(story, channel, anonymous, who, records, links, order, products, at, guest, person)
    return order


def _online_refund(
    story: Story, channel: str, anonymous: str, who: dict[str, Any], records: list[tuple[str, str | None]], links: tuple[str, ...],
    order: str, products: list[dict[str, Any]], ordered: datetime, guest: dict[str, Any] | None, person: Person | None,
) -> None:  # fmt: skip
    """A refund; some name no order, return more than was bought, another article, or come before their order."""
    rng = story.rng
    back = [dict(rng.choice(products))]
    back[0]["quantity"] = -rng.randrange(1, back[0]["quantity"] + 1)
    trap = rng.random()
    original: str | None = order
    at = ordered + timedelta(days=rng.randrange(1, 20))
    if trap < 0.1:
        original = None
    elif trap < 0.2:
        back[0]["quantity"] -= 50
    elif trap < 0.3:
        back[0] |= {"sku": "99999Z", "product_id": "99999Z", "name": "ANOTHER ARTICLE"}
    elif trap < 0.4:
        at = ordered - timedelta(days=1)
    refund = story.name(f"{channel[0].upper()}C")
    named = [*records, *([(f"{channel}:order:{refund}", person.person_id)] if person else [])]
    properties = {
        "order_id": refund,
        "currency": "GBP",
        "total": abs(_total(back)),
        "products": back,
        "original_order_id": original,
    } | (guest or {})
    body = story.event(channel, at, "track", anonymous, event="Order Refunded", properties=properties, **who)
    story.lines.append(Line(channel, at, body, named, links))


def receipt(
    story: Story,
    card: str,
    phone: str,
    email: str,
    name: str,
    opt_in: str,
    record: tuple[str, str | None] | None,
) -> None:
    """A receipt of some lines, now and then partly returned. A record of `pos:txn:` is completed by its number."""
    rng = story.rng
    at = story.moment()
    transaction = story.name("S")
    named = [record] if record else []
    if record and record[0] == "pos:txn:":
        named = [(f"pos:txn:{transaction}", record[1])]
    sold = at.astimezone(LONDON).strftime("%d/%m/%Y %H:%M:%S")
    redeemed = "100" if card and rng.random() < 0.04 else ""
    store, till = f"ST{rng.randrange(1, 20):02d}", str(rng.randrange(1, 4))
    tender = rng.choice(("card", "cash", "wallet"))
    bought: list[dict[str, Any]] = []
    for number in range(1, rng.choices((2, 3, 4, 8), (25, 35, 30, 10))[0]):
        product = _product(rng) if rng.random() > 0.02 else POSTAGE
        bought.append(product)
        row = [transaction, number, store, till, sold, card, phone, email, name, opt_in, product["sku"], product["name"],
               product["quantity"], f"{product['price']:.2f}", "0.00", "GBP", tender, redeemed, ""]  # fmt: skip
        story.lines.append(Line("pos", at, row, named))
    if rng.random() < 0.1:
        later = (at + timedelta(days=rng.randrange(1, 20))).astimezone(LONDON).strftime("%d/%m/%Y %H:%M:%S")
        product = rng.choice(bought)
        refund = story.name("SC")
        if record and record[0] == "pos:txn:":
            named = [(f"pos:txn:{refund}", record[1])]
        row = [refund, 1, store, till, later, card, phone, email, name, "", product["sku"], product["name"],
               -product["quantity"], f"{product['price']:.2f}", "0.00", "GBP", tender, "", transaction if rng.random() < 0.85 else ""]  # fmt: skip
        story.lines.append(Line("pos", at, row, named))


def any_sku(rng: random.Random) -> str:
    """An article of the shop."""
    return f"{20000 + rng.randrange(300):05d}"


def _product(rng: random.Random) -> dict[str, Any]:
    number = rng.randrange(300)
    sku = f"{20000 + number:05d}"
    name = f"{words.COLOURS[number % 10]} {words.THINGS[number // 30]}"
    return {
        "product_id": sku,
        "sku": sku,
        "name": name,
        "price": (55 + number * 7 % 1300) / 100,
        "quantity": rng.choice((1, 1, 2, 3, 6, 12)),
    }


def _total(products: list[dict[str, Any]]) -> float:
    return float(round(sum(product["price"] * product["quantity"] for product in products), 2))
