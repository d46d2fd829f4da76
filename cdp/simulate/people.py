"""Households of simulated people: who they are, and the traps that tell a careful resolver from a careless one."""

import random
from dataclasses import dataclass, field
from functools import lru_cache

from opencc import OpenCC
from pypinyin import lazy_pinyin

from cdp.simulate import vocabulary as words

_TRADITIONAL = OpenCC("s2t")


@dataclass
class Person:
    """One person as they truly are; what channels record of them is decided elsewhere."""

    person_id: str
    given: str
    family: str
    chinese: bool
    birthday: str
    email: str
    old_email: str | None
    phone: str
    postal_code: str
    city: str
    card: str
    web: str
    second_web: str | None
    app: str
    browser: str
    device: str
    partner: "Person | None" = field(default=None, repr=False)

    @property
    def country(self) -> str:
        """ISO 3166."""
        return "CN" if self.chinese else "GB"


def household(seed: str, number: int, first_person: int) -> list[Person]:
    """One to three people of one address; the same seed and number make the same people."""
    rng = random.Random(f"{seed}:household:{number}")
    size = rng.choices((1, 2, 3), (62, 28, 10))[0]
    chinese = rng.random() < 0.2
    family = rng.choice(words.CHINESE_FAMILY if chinese else words.FAMILY)
    city, code = rng.choice(words.CHINESE_CITIES if chinese else words.ENGLISH_CITIES)
    postal = (
        f"{int(code) + rng.randrange(9999):06d}"
        if chinese
        else f"{code}{rng.randrange(1, 40)} {rng.randrange(10)}{_letters(rng, 2)}"
    )
    phone = _phone(rng, chinese=chinese)
    birthday = _birthday(rng)
    people: list[Person] = []
    for member in range(size):
        given = _given(rng, chinese=chinese)
        shares_phone = member > 0 and rng.random() < 0.2
        sibling = member == 2 and rng.random() < 0.4
        local = (_pinyin(given) + "." + _pinyin(family)) if chinese else f"{given}.{family}".lower()
        local += str(first_person + member)
        domain = rng.choice(words.CHINESE_MAIL if chinese else words.MAIL)
        people.append(
            Person(
                person_id=f"P{first_person + member:06d}",
                given=given,
                family=family,
                chinese=chinese,
                birthday=people[-1].birthday if sibling else (birthday if member == 0 else _birthday(rng)),
                email=f"{local}@{domain}",
                old_email=f"{local}.old@{domain}" if rng.random() < 0.12 else None,
                phone=phone if member == 0 or shares_phone else _phone(rng, chinese=chinese),
                postal_code=postal,
                city=city,
                card=f"62{first_person + member:07d}{rng.randrange(1000):03d}",
                web=f"w-{first_person + member:08d}",
                second_web=f"w-9{first_person + member:08d}" if rng.random() < 0.06 else None,
                app=f"a-{first_person + member:08d}",
                browser=f"{rng.getrandbits(64):016x}",
                device=f"d{rng.getrandbits(60):015x}",
            )
        )
    if size > 1:
        people[0].partner, people[1].partner = people[1], people[0]
    return people


def written_name(rng: random.Random, person: Person) -> tuple[str, str]:
    """(given, family) as somebody typed it: case, transposed letters, and for Chinese names script or pinyin."""
    given, family = person.given, person.family
    if person.chinese:
        form = rng.random()
        if form < 0.2:
            return traditional(given), traditional(family)
        if form < 0.4:
            return _pinyin(given).capitalize(), _pinyin(family).capitalize()
        return given, family
    if rng.random() < 0.06:
        given = transposed(rng, given)
    if rng.random() < 0.06:
        family = transposed(rng, family)
    case = rng.random()
    if case < 0.15:
        return given.upper(), family.upper()
    return (given.lower(), family.lower()) if case < 0.3 else (given, family)


def written_phone(rng: random.Random, person: Person) -> str:
    """The phone as somebody typed it: international, spaced, dashed, or local."""
    digits = person.phone
    if person.chinese:
        return rng.choice((f"+86{digits}", digits, f"{digits[:3]} {digits[3:7]} {digits[7:]}"))
    local = "0" + digits
    return rng.choice(
        (
            f"+44{digits}",
            f"0044{digits}",
            local,
            f"{local[:5]} {local[5:]}",
            f"{local[:3]}-{local[3:7]}-{local[7:]}",
        )
    )


def transposed(rng: random.Random, text: str) -> str:
    """Two neighbouring letters change places."""
    if len(text) < 4:
        return text
    at = rng.randrange(1, len(text) - 1)
    return text[:at] + text[at + 1] + text[at] + text[at + 2 :]


@lru_cache(maxsize=10_000)
def traditional(text: str) -> str:
    """The name in traditional characters."""
    converted: str = _TRADITIONAL.convert(text)
    return converted


@lru_cache(maxsize=10_000)
def _pinyin(text: str) -> str:
    return "".join(lazy_pinyin(text))


def _given(rng: random.Random, *, chinese: bool) -> str:
    if chinese:
        return "".join(rng.sample(words.CHINESE_GIVEN, rng.choice((1, 2, 2, 2))))
    return rng.choice(words.GIVEN)


def _birthday(rng: random.Random) -> str:
    year = rng.randrange(1940, 2005)
    if rng.random() < 0.08:
        return f"{year}-01-01"  # what people choose who do not want to say
    return f"{year}-{rng.randrange(1, 13):02d}-{rng.randrange(1, 29):02d}"


def _phone(rng: random.Random, *, chinese: bool) -> str:
    if chinese:
        return f"1{rng.choice('356789')}{rng.randrange(10**9):09d}"
    return f"7{rng.choice('4578')}{rng.randrange(10**8):08d}"


def _letters(rng: random.Random, count: int) -> str:
    return "".join(rng.choice("abdefghjlnpqrstuwxyz") for _ in range(count))
