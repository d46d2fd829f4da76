"""Contact points and names in the form in which they can be compared."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cdp.standard import contact, names
from cdp.standard.identify import candidates

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
    ("full", "given", "family", "is_full"),
    [
        ("Martin, selina", "Selina", "Martin", True),
        ("Dr. José O'Neil-Smith", "José", "O'Neil-Smith", True),
        ("marsham", None, "Marsham", False),
        ("欧阳娜娜", "娜娜", "欧阳", True),
        ("张女士", None, "张", False),
        ("Vincent van GOGH", "Vincent van", "Gogh", True),
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
