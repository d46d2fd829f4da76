"""Names of people in the forms in which they can be shown and compared, Latin and Chinese alike."""

import re
import unicodedata
from dataclasses import dataclass
from functools import lru_cache

from opencc import OpenCC

from cdp.standard.letters import plain

TITLES = frozenset(
    [
        "mr",
        "mrs",
        "ms",
        "miss",
        "mx",
        "dr",
        "prof",
        "professor",
        "sir",
        "dame",
        "lord",
        "lady",
        "rev",
        "reverend",
        "capt",
        "captain",
        "major",
        "col",
        "colonel",
        "baron",
        "baroness",
        "earl",
        "duke",
        "count",
        "viscount",
        "bart",
        "jr",
        "sr",
        "esq",
    ]
)
AFTER = frozenset(["jr", "sr", "esq", "bart"])
CHINESE_TITLES = ("先生", "女士", "小姐", "太太", "老师", "老師")
COMPOUND_SURNAMES = frozenset(
    [
        "欧阳",
        "司马",
        "上官",
        "诸葛",
        "东方",
        "皇甫",
        "尉迟",
        "公孙",
        "慕容",
        "令狐",
        "司徒",
        "端木",
        "夏侯",
        "南宫",
        "独孤",
        "西门",
        *[
            "长孙",
            "宇文",
            "鲜于",
            "轩辕",
            "百里",
            "东郭",
            "南郭",
            "淳于",
            "申屠",
            "濮阳",
            "公冶",
            "澹台",
            "万俟",
            "闻人",
            "赫连",
            "呼延",
            "钟离",
            "司空",
            "司寇",
            "拓跋",
            "纳兰",
            "完颜",
        ],
    ]
)
# The hundred most frequent, that of two single characters apart one is known as the surname.
COMMON_SURNAMES = frozenset(
    "王李张刘陈杨黄赵吴周徐孙马朱胡郭何高林罗郑梁谢宋唐许邓韩冯曹彭曾肖萧田董潘袁蔡蒋余于杜叶程魏苏吕丁任沈姚卢姜崔钟谭陆汪范金石廖贾夏韦付方白邹孟熊秦邱江尹薛闫"
    "段雷侯龙史陶黎贺顾毛郝龚邵万钱严覃武戴莫孔向汤"
)
# Characters that are read otherwise in a surname than elsewhere.
SURNAME_READINGS = {
    "曾": "zeng", "单": "shan", "解": "xie", "仇": "qiu", "区": "ou", "朴": "piao", "覃": "qin", "翟": "zhai", "查": "zha", "盖": "ge", "缪": "miao",
    "种": "chong", "尉迟": "yuchi", "万俟": "moqi", "澹台": "tantai", "长孙": "zhangsun", "牟": "mou", "卜": "bu", "乐": "yue", "员": "yun", "宓": "fu",
}  # fmt: skip
LATIN_READINGS = {"lv": "lu", "lyu": "lu"}  # 吕, as passports and keyboards write it
# Titles that are names as well: only before a given name and a surname.
ALSO_NAMES = frozenset(["major", "earl", "baron", "count", "duke", "lord"])
CJK = re.compile(r"[\u3400-\u9fff\uf900-\ufaff]")
_SIMPLIFY, _TRADITIONAL = OpenCC("t2s"), OpenCC("s2t")


@dataclass(frozen=True)
class Name:
    """A name, for people (`given`, `family`, `full`) and for comparison (`*_key`: a-z and spaces).

    `is_full` is false for a surname alone: it tells a family, not a person.
    """

    given: str | None
    family: str | None
    full: str | None
    given_key: str | None
    family_key: str | None
    full_key: str | None
    is_full: bool


@lru_cache(maxsize=200_000)
def name(given: str | None, family: str | None, full: str | None) -> Name:
    """Read a name given in parts or as one text (`Given Surname`, `Surname, Given`, `姓名`, a surname alone)."""
    first, last = _clean(given), _clean(family)
    if first is None and last is None:
        first, last = _parts(_clean(full))
    whole = _join(first, last)
    return Name(
        given=_show(first),
        family=_show(last),
        full=_show(whole),
        given_key=key(first),
        family_key=surname_key(last),
        full_key=" ".join(part for part in (key(first), surname_key(last)) if part) or None,
        is_full=first is not None and last is not None,
    )


def surname_key(text: str | None) -> str | None:
    """The key of a surname: read as surnames are, and of one with a hyphen both names."""
    if text and CJK.search(text):
        return SURNAME_READINGS.get(simplified(text).strip()) or key(text)
    found = key(text.replace("-", " ")) if text else None
    return LATIN_READINGS.get(found, found) if found else None


def key(text: str | None) -> str | None:
    """Letters a-z and single spaces: pinyin for Chinese, accents folded away elsewhere; other scripts keep their letters."""
    if not text:
        return None
    if CJK.search(text):
        from pypinyin import Style, lazy_pinyin  # half a second, which most commands and runs do not need

        text = "".join(lazy_pinyin(simplified(text), style=Style.NORMAL, errors="default", v_to_u=True))
    words = re.sub(r"[^\w\s]|_", "", plain(text)).split()
    kept = [word for word in words if word not in TITLES] or words
    return " ".join(kept) or None


def without(full: str, family: str) -> str:
    """What a whole name says besides the family name; empty where that is all, or where it does not hold it."""
    if CJK.search(full):
        return full.strip().removeprefix(family.strip()) if full.strip().startswith(family.strip()) else ""
    known = {word.casefold() for word in family.split()}
    every = full.replace(",", " ").split()
    rest = [word for word in every if word.casefold() not in known]
    return " ".join(rest) if len(rest) < len(every) else ""


def simplified(text: str) -> str:
    """A text with its Chinese characters in simplified writing."""
    return str(_SIMPLIFY.convert(text)) if CJK.search(text) else text


def characters(text: str) -> list[list[str]]:
    """The Chinese characters of a text, each once, in simplified and in traditional writing; nothing where it has none."""
    found = "".join(sorted({letter for letter in text if CJK.match(letter)}))
    return [list(turn.convert(found)) for turn in (_SIMPLIFY, _TRADITIONAL)] if found else []


def _clean(text: str | None) -> str | None:
    if text is None:
        return None
    folded = unicodedata.normalize("NFKC", text)
    folded = "".join(letter for letter in folded if unicodedata.category(letter)[0] != "C")
    folded = " ".join(folded.split()).strip(" .")
    for title in CHINESE_TITLES:
        folded = folded.removesuffix(title)
    return _SIMPLIFY.convert(folded) or None if CJK.search(folded) else folded or None


def _parts(full: str | None) -> tuple[str | None, str | None]:
    """Given and family name of a full text. One Latin word, or one Chinese character, is a surname."""
    if full is None:
        return None, None
    for comma in (",", "，"):
        if comma in full:
            family, given = (part.strip() or None for part in full.split(comma, 1))
            return given, family
    if CJK.search(full):
        tight = full.replace(" ", "").replace("·", "")
        parts = full.split()
        if len(parts) == 2 and all(CJK.search(part) for part in parts):
            shorter, longer = sorted(parts, key=len)
            # '文涛 萧' is written given name first, '萧 文涛' surname first: the shorter word is the surname
            if len(shorter) < len(longer) and longer not in COMPOUND_SURNAMES:
                return longer, shorter
            surnames = COMPOUND_SURNAMES | COMMON_SURNAMES
            turned = parts[1] in surnames and parts[0] not in surnames
            return (parts[0], parts[1]) if turned else (parts[1], parts[0])
        size = 2 if tight[:2] in COMPOUND_SURNAMES and len(tight) > 2 else 1
        return tight[size:] or None, tight[:size]
    words = full.split()
    while (
        len(words) > 1
        and (title := words[0].casefold().strip(".")) in TITLES
        and not (title in ALSO_NAMES and len(words) < 3)
    ):
        words = words[1:]
    while len(words) > 1 and (
        (title := words[-1].casefold().strip(".")) in AFTER or (title in TITLES and len(words) > 2)
    ):
        words = words[:-1]
    if len(words) == 1:
        return None, words[0]
    return " ".join(words[:-1]), words[-1]


def _join(given: str | None, family: str | None) -> str | None:
    if given and family and CJK.search(given) and CJK.search(family):
        return family + given
    return " ".join(part for part in (given, family) if part) or None


def _show(text: str | None) -> str | None:
    """Upper- or lower-case typing is mended for display; mixed case (McDonald, van Gogh) is left as its owner wrote it."""
    if text is None or CJK.search(text) or not (text.isupper() or text.islower()):
        return text
    return " ".join(word.capitalize() for word in text.split())
