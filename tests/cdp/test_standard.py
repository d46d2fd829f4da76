"""Contact points and names in the form in which they can be compared."""

import duckdb
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cdp.identity_rules import IdentityRules, shipped_rules
from cdp.lake.build import sql_file
from cdp.lake.engine import Lake
from cdp.standard import contact, dictionary, names
from cdp.standard.identify import candidates
from cdp.standard.words import words

REGIONS = ("GB", "CN")


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        ("SELINA_MARTIN2@YAHOO.CO.UK", "selina_martin2@yahoo.co.uk"),
        (" j.Doe+news@googlemail.com ", "jdoe@gmail.com"),
        ("ｍａｒｙ@example.org", "mary@example.org"),
        ("<mary@example.org>", "mary@example.org"),
        ("not an address", None),
        ("@example.org", None),
        ("", None),
    ],
)
def test_email(raw, expected):
    assert contact.email(raw) == expected


@pytest.mark.parametrize(
    "raw",
    ["07729 902080", "+447729902080", "00447729902080", "077-2990-2080", "(07729) 902080", "０７７２９９０２０８０"],
)
def test_every_writing_of_a_phone_is_one_number(raw):
    assert contact.phone(raw, REGIONS) == "+447729902080"


def test_a_bare_chinese_mobile_is_read_in_the_second_region():
    assert contact.phone("15645270025", REGIONS) == "+8615645270025"


@pytest.mark.parametrize("raw", ["", "abc", "12", "9" * 30])
def test_no_phone(raw):
    assert contact.phone(raw, REGIONS) is None


@given(st.text(max_size=60))
def test_nothing_a_person_types_breaks_the_readers(text):
    contact.email(text)
    contact.phone(text, REGIONS)
    names.name(None, None, text)
    candidates(None, text, REGIONS)


@given(st.text(max_size=40))
def test_standard_forms_are_stable(text):
    for read in (contact.email, lambda raw: contact.phone(raw, REGIONS)):
        once = read(text)
        assert once is None or read(once) == once


def test_one_chinese_name_in_all_its_writings_has_one_key():
    writings = [
        ("磊华", "郑", None),
        (None, None, "郑磊华"),
        (None, None, "鄭磊華"),
        (None, None, "磊华 郑"),
        (None, None, "郑 磊华"),
        (None, None, "郑，磊华"),
    ]
    keys = {(n.given_key, n.family_key) for n in (names.name(*w) for w in writings)}
    assert keys == {("leihua", "zheng")}
    assert names.name("Leihua", "Zheng", None).full_key == "leihua zheng"


@pytest.mark.parametrize(
    ("one", "other"),
    [("曾", "Zeng"), ("單", "Shan"), ("翟", "Zhai"), ("尉迟", "Yuchi"), ("吕", "Lü"), ("呂", "Lyu"), ("吕", "LV"), ("Smith-Jones", "Smith Jones")],
)
def test_a_surname_is_read_as_surnames_are(one, other):
    assert names.name("Wei", one, None).family_key == names.name("Wei", other, None).family_key


@pytest.mark.parametrize(("given", "family", "first", "last"), [("Van", "Le", "van", "le"), ("Y", "Wang", "y", "wang"), ("月", "杜", "yue", "du"), ("Ana", "de la Cruz", "ana", "cruz")])
def test_what_is_all_that_is_said_of_a_name_is_no_particle(given, family, first, last):
    read = words(*(names.key(part) for part in (given, family)))
    assert (read.first, read.family) == (first, last)


@pytest.mark.parametrize(
    ("full", "given", "family", "is_full"),
    [
        ("Martin, selina", "Selina", "Martin", True),
        ("Dr. José O'Neil-Smith", "José", "O'Neil-Smith", True),
        ("marsham", None, "Marsham", False),
        ("欧阳娜娜", "娜娜", "欧阳", True),
        ("张女士", None, "张", False),
        ("Vincent van GOGH", "Vincent van", "Gogh", True),
        ("John Major", "John", "Major", True),
        ("Earl Warren", "Earl", "Warren", True),
        ("Lord John Russell", "John", "Russell", True),
        ("Mr Smith Jr.", None, "Smith", False),
        ("王 伟", "伟", "王", True),
        ("伟 王", "伟", "王", True),
        ("欧阳 娜", "娜", "欧阳", True),
        ("长孙无忌", "无忌", "长孙", True),
    ],
)
def test_full_names(full, given, family, is_full):
    read = names.name(None, None, full)
    assert (read.given, read.family, read.is_full) == (given, family, is_full)


def test_an_identifier_without_a_type_is_tried_as_each_it_could_be():
    found = dict(candidates(None, "07729 902080", REGIONS))
    assert found["phone"] == "+447729902080"
    assert "email" not in found
    assert found["card"] == "07729902080"


def test_a_value_is_blocked_where_a_pattern_of_its_type_takes_it_and_no_pattern_is_lost_by_asking_all_at_once():
    patterns = [
        ("any", "^null$"),
        ("email", "^a|b$"),
        ("email", "(?i)^NOBODY@"),
        ("phone", "0{7,}$"),
        ("card", "^(0+|1+)$"),
    ]
    values = ["null", "ab", "x@b", "bx", "nobody@x", "nobody", "+440000000", "000", "11", "12", "x"]
    engine = duckdb.connect()
    lake = Lake(engine, "test")
    engine.execute("create table core__blocked_patterns (type varchar, pattern varchar)")
    engine.executemany("insert into core__blocked_patterns values (?, ?)", patterns)
    for name in ("emails", "phones"):
        kind = name.removesuffix("s")
        engine.execute(
            f"create table core__standard_{name} as select v as raw, v as {kind} from (select unnest(?) as v)", [values]
        )
    engine.execute(
        "create table core__party_mentions as select v as record_id, v as email, v as phone, 'card' as identifier, v as source_key, "
        "null::varchar as wechat_openid, null::varchar as wechat_unionid, null::timestamp as first_seen, null::timestamp as last_seen "
        "from (select unnest(?) as v)", [values],
    )  # fmt: skip
    query = sql_file("standardise", "core__record_identifiers").sql
    found = lake.rows(f"select type, value, blocked from ({query})", dictionary.bound(lake, query))
    should = lake.rows(
        "select t, v, exists (from core__blocked_patterns where type in ('any', t) and regexp_matches(lower(v), pattern)) "
        "from (select unnest($values) as v), (select unnest(['email', 'phone', 'card']) as t)", {"values": values},
    )  # fmt: skip
    assert sorted(found) == sorted(should)
    assert sum(blocked for *_, blocked in found) > 8
    engine.execute("delete from core__blocked_patterns")
    assert not any(blocked for (blocked,) in lake.rows(f"select blocked from ({query})", dictionary.bound(lake, query)))
    assert dictionary.bound(lake, "select 1") is None
    assert "$blocked" in query, "a pattern out of a table is compiled for each value: 200 times the time"


@pytest.mark.parametrize(("pattern", "said"), [("a(?=b)", "look-around"), (r"\Qa.b", "quotes by"), ("(unclosed", "no pattern")])
def test_a_pattern_that_cannot_be_asked_with_the_others_is_refused(pattern, said):
    with pytest.raises(ValueError, match=said):
        IdentityRules.model_validate({**shipped_rules().model_dump(), "blocked": {"email": (pattern,)}})


@pytest.mark.parametrize(
    "wrong",
    [{"limits": {"emial": {"any": {"most": 1, "priority": 1}}}}, {"people": {"phone": 0}}, {"people": {"telephone": 2}}],
)
def test_a_rule_of_no_identifier_or_for_nobody_is_refused(wrong):
    """Read and never applied, it would switch a protection off without a word."""
    with pytest.raises(ValueError, match=r"emial|phone"):
        IdentityRules.model_validate({**shipped_rules().model_dump(), **wrong})
