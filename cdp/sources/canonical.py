"""Compile what a source's YAML says its rows mean into selects over its raw table, one for each canonical table.

The selects of all sources are united into `core__*` tables, so a new source adds rows, never code.
"""

from collections.abc import Callable, Iterable
from functools import cache

import sqlglot

from cdp.errors import ConfigError
from cdp.lake.build import Select
from cdp.lake.lineage import DIALECT
from cdp.sources.model import Consent, Interaction, Orders, Party, Source

FIELDS = (
    "given_name", "family_name", "full_name", "birth_date", "email", "phone", "postal_code", "city", "country",
    "language", "wechat_openid", "wechat_unionid",
)  # fmt: skip
EMPTY = {
    "core__party_mentions": "record_id varchar, source varchar, kind varchar, source_key varchar, identifier varchar, "
    + ", ".join(f"{name} varchar" for name in FIELDS)
    + ", first_seen timestamptz, last_seen timestamptz",
    "core__record_links": "type varchar, left_id varchar, right_id varchar, first_seen timestamptz, last_seen timestamptz",
    "core__order_rows": "source varchar, order_key varchar, record_id varchar, ordered_at timestamptz, currency varchar, "
    "original_key varchar, points_redeemed bigint, is_refund boolean, line_no bigint, sku varchar, name varchar, "
    "quantity bigint, unit_price decimal(18, 4), discount decimal(18, 4), file varchar, file_line bigint",
    "core__touches": "interaction_id varchar, record_id varchar, source varchar, kind varchar, occurred_at timestamptz, "
    "order_key varchar, details varchar",
    "core__consent_statements": "statement_key varchar, record_id varchar, purpose varchar, status varchar, "
    "captured_at timestamptz, received_at timestamptz, source varchar, method varchar, notice_version varchar, "
    "email varchar, phone varchar, basis varchar, jurisdiction varchar, expires_at timestamptz, confirmed_at timestamptz, "
    "separate_consent varchar, is_explicit boolean, evidence varchar",
    "core__opening_balances": "source varchar, record_id varchar, points bigint, opened_at timestamptz",
}

NO_CURRENCY = "XXX"  # ISO 4217: no currency is involved; an order whose source names none
TELLS = {"core__record_links": ("left_id", "right_id")}


def canonical_selects(sources: list[Source]) -> list[Select]:
    """One select for each canonical table over all sources.

    Raises:
        ConfigError: If an expression of a source is not SQL.
    """
    makers: dict[str, Callable[[Source], Iterable[str]]] = {
        "core__party_mentions": _mentions,
        "core__record_links": _links,
        "core__order_rows": _order_rows,
        "core__touches": _touches,
        "core__consent_statements": _statements,
        "core__opening_balances": _openings,
    }
    descriptions = {
        "core__party_mentions": "Grain: contact record × set of field values. What each source said of each party, and when.",
        "core__record_links": "Grain: pair of contact records × kind of evidence that their rows name both.",
        "core__order_rows": "Grain: order line as sent. Orders of all sources before returns are tied to their sale.",
        "core__touches": "Grain: interaction. Visits, tickets, reviews and other touches that are not orders.",
        "core__consent_statements": "Grain: decision about one purpose as stated by a source.",
        "core__opening_balances": "Grain: contact record. Points it had before; what a source says of it later changes nothing.",
    }
    found = []
    for table, maker in makers.items():
        parts = [part for source in sources for part in _checked(source, table, maker(source))]
        columns = [item.split()[0] for item in EMPTY[table].replace("(18, 4)", "").split(", ")]
        empty = ", ".join(f"cast(null as {kind}) as {name}" for name, kind in _typed(EMPTY[table]))
        named = [f"select {', '.join(columns)} from ({part})" for part in parts]
        united = "\nunion all\n".join(named) if named else f"select {empty} where false"
        found.append(Select(table, united, descriptions[table], TELLS.get(table, ())))
    return found


def _typed(definition: str) -> list[tuple[str, str]]:
    items = definition.replace("decimal(18, 4)", "decimal(18,4)").split(", ")
    return [(name, kind) for name, kind in (item.split(" ", 1) for item in items)]


def _checked(source: Source, table: str, parts: Iterable[str]) -> list[str]:
    found = []
    for part in parts:
        if wrong := _mistake(part):
            raise ConfigError(
                f"sources/{source.source}.yaml: an expression for {table} is not SQL: {wrong}",
                "an expression is a column's name or SQL over columns; text goes in single quotes",
            )
        found.append(part)
    return found


@cache
def _mistake(query: str) -> str | None:
    """What keeps a text from being SQL."""
    try:
        sqlglot.parse_one(query, dialect=DIALECT)
    except sqlglot.errors.ParseError as error:
        return str(error).splitlines()[0]
    return None


def _current(source: Source) -> str:
    """The raw rows, of each key only the newest version."""
    if source.version is None:
        return source.raw_table
    return (
        f"(select * from {source.raw_table} qualify row_number() over "
        f'(partition by _key order by "{source.version}" desc, _file desc, _line desc) = 1)'
    )


def _record_id(source: Source, party: Party) -> str:
    """A row that was stripped of its person names nobody."""
    key = f"cast(({party.key}) as varchar)"
    named = f"'{party.source or source.source}:{party.kind}:' || {key}"
    return f"case when _redacted is null and ({party.when or 'true'}) then {named} end"


def _owner(source: Source, names: tuple[str, ...]) -> str:
    """The first of these parties that a row names."""
    ids = [f"({_record_id(source, source.parties[name])})" for name in names]
    return f"coalesce({', '.join(ids)})" if ids else "cast(null as varchar)"


def _mentions(source: Source) -> Iterable[str]:
    for party in source.parties.values():
        fields = ", ".join(
            f"cast(({party.fields[name]}) as varchar) as {name}"
            if name in party.fields
            else f"cast(null as varchar) as {name}"
            for name in FIELDS
        )
        keep = ", ".join(FIELDS)
        identifier = f"'{party.identifier}'" if party.identifier else "cast(null as varchar)"
        yield (
            f"select record_id, '{party.source or source.source}' as source, '{party.kind}' as kind, source_key, "
            f"{identifier} as identifier, {keep}, min(seen_at) as first_seen, max(seen_at) as last_seen from "
            f"(select {_record_id(source, party)} as record_id, cast(({party.key}) as varchar) as source_key, "
            f"{fields}, coalesce({source.seen_at}, _landed_at) as seen_at, {party.taken_back} as taken_back "
            f"from {source.raw_table}) as mention where record_id is not null and not taken_back group by record_id, source_key, {keep}"
        )


def row_parties(source: Source, table: str, order: str, line: str) -> str:
    """Grain: row × party that it names, as it names it. The row is numbered by `order` and `line`."""
    parts = []
    for party in source.parties.values():
        said = {str(name): expression for name, expression in party.fields.items()}
        fields = ", ".join(f"cast(({said.get(name, 'null')}) as varchar) as {name}" for name in FIELDS)
        identifier = f"'{party.identifier}'" if party.identifier else "cast(null as varchar)"
        device = str(party.identifier in ("browser", "device")).lower()
        parts.append(
            f"select * from (select {order} as _order, {line} as _line, {_record_id(source, party)} as record_id, "
            f"cast(({party.key}) as varchar) as source_key, {identifier} as identifier, {device} as is_device, {fields} "
            f"from {table}) as party where record_id is not null"
        )
    nothing = ", ".join(f"cast(null as varchar) as {name}" for name in FIELDS)
    empty = (
        "select cast(null as bigint) as _order, cast(null as bigint) as _line, cast(null as varchar) as record_id, "
        f"cast(null as varchar) as source_key, cast(null as varchar) as identifier, false as is_device, {nothing} where false"
    )
    return " union all ".join([empty, *parts])


def row_grants(source: Source, table: str, order: str, line: str) -> str | None:
    """Grain: row that states a grant, with the latest time at which one was captured; None where the source states none."""
    yes = "('true', 'yes', 'y', '1')"
    parts = []
    for consent in source.consents:
        granted = f"({consent.status}) = 'granted'"
        if consent.flags:
            granted = f"len(list_filter({consent.flags}, lambda flag: lower(flag.value) in {yes})) > 0"
        where = f" and ({consent.when})" if consent.when else ""
        parts.append(
            f"select {order} as _order, {line} as _line, {consent.captured_at} as captured_at from {table} "
            f"where {granted}{where}"
        )
    if not parts:
        return None
    return f"select _order, _line, max(captured_at) as captured_at from ({' union all '.join(parts)}) as g group by all"


def row_orders(source: Source, table: str, order: str, line: str) -> str:
    """Grain: row of an order, with the order's id."""
    empty = "select cast(null as bigint) as _order, cast(null as bigint) as _line, cast(null as varchar) as order_id where false"
    if source.orders is None:
        return empty
    key = f"'{source.source}:' || cast(({source.orders.key}) as varchar)"
    return f"select {order} as _order, {line} as _line, {key} as order_id from {table} where {has_order(source)}"


def has_order(source: Source) -> str:
    """Condition on a row: it is part of an order."""
    orders = source.orders
    return f"(({orders.key}) is not null and ({orders.when or 'true'}))" if orders else "false"


def states_decision(source: Source) -> str:
    """Condition on a row: it states a decision about consent."""
    stated = [
        f"({consent.when or 'true'}" + (f" and ({consent.flags}) is not null)" if consent.flags else ")")
        for consent in source.consents
    ]
    return f"coalesce({' or '.join(stated)}, false)" if stated else "false"


def kept_columns(source: Source) -> set[str]:
    """Columns that stay when a row loses its person: what its order needs, its key, and what the contract requires.

    Never a column that the contract marks as personal.
    """
    orders = source.orders
    expressions = [source.seen_at, *source.key, *([source.version] if source.version else [])]
    if orders:
        expressions += [
            part
            for name, part in orders.model_dump().items()
            if isinstance(part, str) and name not in ("owner", "lines")
        ]
    named = {
        column.parts[0].name
        for text in expressions
        for column in sqlglot.parse_one(text, dialect=DIALECT).find_all(sqlglot.exp.Column)
    }
    named |= {orders.lines} if orders and orders.lines else set()
    required = {name for name, column in source.columns.items() if column.required}
    return {name for name, column in source.columns.items() if name in named | required and not column.pii}


def _links(source: Source) -> Iterable[str]:
    for link in source.links:
        left, right = (_record_id(source, source.parties[name]) for name in (link.left, link.right))
        yield (
            f"select '{link.type}' as type, left_id, right_id, min(seen_at) as first_seen, max(seen_at) as last_seen "
            f"from (select {left} as left_id, {right} as right_id, coalesce({source.seen_at}, _landed_at) as seen_at from {source.raw_table}) "
            "as link where left_id is not null and right_id is not null group by left_id, right_id"
        )


def _order_rows(source: Source) -> Iterable[str]:
    orders: Orders | None = source.orders
    if orders is None:
        return
    rows = _current(source)
    where = f" and ({orders.when})" if orders.when else ""
    if orders.lines:
        # a row is the whole order: a page that is loaded again sends it again under another message id, the newest stands
        newest = (
            f"select * from {rows} as sent where ({orders.key}) is not null{where} qualify row_number() over (partition by {orders.key}, "
            f"coalesce({orders.refund}, false), case when {orders.refund} then cast({orders.lines} as varchar) end order by coalesce({orders.at}, {source.seen_at}, _landed_at) desc, _file desc, _line desc) = 1"
        )
        rows = f"(select *, unnest({orders.lines}) as item from ({newest}) as parent) as row_"
    quantity, price = f"coalesce({orders.quantity}, 0)", f"coalesce({orders.unit_price}, 0)"
    whole = f"{quantity} = cast({quantity} as bigint)"  # 1.5 kg is one unit at the price of 1.5 kg: money stays exact
    yield (
        f"select '{source.source}' as source, cast(({orders.key}) as varchar) as order_key, "
        f"{_owner(source, orders.owner)} as record_id, coalesce({orders.at}, {source.seen_at}, _landed_at) as ordered_at, "
        f"coalesce(upper({orders.currency}), '{NO_CURRENCY}') as currency, "
        f"{_text(orders.original)} as original_key, cast(({orders.points_redeemed or 'null'}) as bigint) as points_redeemed, "
        f"coalesce({orders.refund}, false) as is_refund, cast(({orders.line}) as bigint) as line_no, "
        f"cast(({orders.sku}) as varchar) as sku, cast(({orders.name}) as varchar) as name, "
        f"cast(case when {whole} then {quantity} when {quantity} < 0 then -1 else 1 end as bigint) as quantity, "
        f"cast(case when {whole} then {price} else abs({quantity}) * {price} end as decimal(18, 4)) as unit_price, "
        f"cast(({orders.discount}) as decimal(18, 4)) as discount, _file as file, _line as file_line from {rows} where ({orders.key}) is not null{where}"
    )


def _touches(source: Source) -> Iterable[str]:
    for touch in source.interactions:
        yield _touch(source, touch)


def _touch(source: Source, touch: Interaction) -> str:
    details = ", ".join(f"'{name}': cast(({value}) as varchar)" for name, value in touch.details.items())
    where = f" and ({touch.when})" if touch.when else ""
    owner = _owner(source, touch.party)
    return (
        f"select '{source.source}:' || cast(({touch.key}) as varchar) as interaction_id, {owner} as record_id, "
        f"'{source.source}' as source, coalesce({touch.kind}, 'unknown') as kind, "
        f"coalesce({touch.at}, {source.seen_at}, _landed_at) as occurred_at, {_text(touch.order)} as order_key, "
        f"cast(to_json({{{details}}}) as varchar) as details from {_current(source)} as row_ where {owner} is not null and ({touch.key}) is not null{where}"
    )


def _statements(source: Source) -> Iterable[str]:
    for number, consent in enumerate(source.consents):
        yield _statement(source, number, consent)


def _statement(source: Source, number: int, consent: Consent) -> str:
    rows, purpose, status = source.raw_table, consent.purpose, consent.status
    where = f" and ({consent.when})" if consent.when else ""
    if consent.flags:
        rows = f"(select *, unnest({consent.flags}) as flag from {source.raw_table} as parent) as row_"
        purpose = "flag.name"
        status = (
            "case when lower(flag.value) in ('true', 'yes', 'y', '1') then 'granted' "
            "when lower(flag.value) in ('false', 'no', 'n', '0') then 'denied' else 'unknown' end"
        )
    owner, method = _owner(source, consent.party), f"coalesce({consent.method}, 'unspecified')"
    stated = (
        consent.basis,
        consent.jurisdiction,
        consent.expires_at,
        consent.confirmed_at,
        consent.separate_consent,
        consent.explicit,
    )
    extra = [part for part in stated if part not in ("'consent'", "null", "true")]  # what is not stated changes no key
    return (
        f"select md5(concat_ws('|', '{source.source}', '{number}', {owner}, {purpose}, {status}, "
        f"cast(coalesce({consent.captured_at}, {consent.received_at}) as varchar), {method}, {consent.notice_version}, "
        f"{consent.email}, {consent.phone}{''.join(f', cast(({part}) as varchar)' for part in extra)})) as statement_key, "
        f"{owner} as record_id, {purpose} as purpose, {status} as status, {consent.captured_at} as captured_at, "
        f"min(coalesce({consent.received_at}, _landed_at)) as received_at, '{source.source}' as source, {method} as method, "
        f"{consent.notice_version} as notice_version, {consent.email} as email, {consent.phone} as phone, "
        f"{_text(consent.basis)} as basis, {_text(consent.jurisdiction)} as jurisdiction, "
        f"cast(({consent.expires_at}) as timestamptz) as expires_at, cast(({consent.confirmed_at}) as timestamptz) as confirmed_at, "
        f"{_text(consent.separate_consent)} as separate_consent, {consent.explicit} as is_explicit, cast(to_json({_text(consent.evidence)}) as varchar) as evidence "
        f"from {rows} where {owner} is not null{where} group by all"
    )


def _openings(source: Source) -> Iterable[str]:
    opening = source.openings
    if opening is None:
        return
    owner, at = _owner(source, opening.party), f"coalesce({opening.at}, _landed_at)"
    where = f" and ({opening.when})" if opening.when else ""
    yield (
        f"select '{source.source}' as source, record_id, points, opened_at from (select {owner} as record_id, "
        f"cast(({opening.points}) as bigint) as points, {at} as opened_at, row_number() over (partition by {owner} order by {at}, _file, _line) as nth "
        f"from {source.raw_table} where ({opening.points}) is not null{where}) as first where nth = 1 and record_id is not null"
    )


def _text(expression: str | None) -> str:
    return f"cast(({expression or 'null'}) as varchar)"
