"""A small word list for feedback before there is anything to learn from: tone and topics, in Chinese and English.

Its answers are marked as of low confidence. Chinese is folded to simplified characters before it is looked up.
"""

import re
from functools import cache

POSITIVE = (
    "great", "excellent", "perfect", "love", "loved", "good", "helpful", "fast", "quick", "friendly", "thank", "thanks", "happy", "satisfied", "recommend",
    "amazing", "beautiful", "pleased", "resolved", "easy", "kind", "lovely", "wonderful", "polite", "prompt",
    "满意", "喜欢", "不错", "很好", "太好", "好用", "推荐", "感谢", "谢谢", "漂亮", "优秀", "快捷", "及时", "热情", "耐心", "完美", "划算", "实惠", "开心", "方便", "专业", "赞", "棒",
)  # fmt: skip
NEGATIVE = (
    "bad", "terrible", "awful", "poor", "broken", "damaged", "late", "delay", "delayed", "slow", "rude", "wrong", "missing", "disappointed", "disappointing",
    "refund", "complaint", "unhappy", "angry", "never", "nobody", "waited", "waiting", "expensive", "overpriced", "faulty", "defective", "useless", "ignored",
    "worst", "cancel", "unacceptable", "frustrated", "lost", "cracked", "torn",
    "失望", "太差", "很差", "差评", "质量差", "坏了", "破损", "损坏", "太慢", "很慢", "没人", "不理", "退款", "退货", "投诉", "生气", "难看", "太贵", "贵了", "骗", "假货", "错误", "漏发", "少发",
    "没有到", "没到账", "糟糕", "垃圾", "恶劣", "敷衍", "问题", "不好", "后悔",
)  # fmt: skip
NOT = (
    "not",
    "no",
    "never",
    "isn't",
    "wasn't",
    "don't",
    "didn't",
    "cannot",
    "can't",
    "hardly",
    "不",
    "没",
    "没有",
    "不太",
    "并不",
    "毫不",
    "别",
)
BUT = ("but", "however", "although", "though", "但是", "但", "可是", "不过", "然而")
WINDOW = 3  # words of English between a negation and what it turns round
TOPICS = {
    "price": ("price", "expensive", "overpriced", "cheaper", "discount", "coupon", "cost", "价格", "太贵", "贵了", "便宜", "优惠", "降价", "涨价", "性价比", "划算"),
    "quality": ("quality", "broken", "damaged", "faulty", "defective", "cracked", "torn", "poor", "质量", "破损", "损坏", "坏了", "瑕疵", "做工", "假货", "色差"),
    "service": ("service", "rude", "nobody answered", "support", "staff", "agent", "reply", "answered", "helpful", "客服", "态度", "服务", "回复", "没人", "不理", "敷衍", "耐心"),
    "delivery": ("delivery", "deliver", "shipping", "shipped", "courier", "parcel", "late", "delay", "arrived", "arrive", "where is my order", "tracking", "物流", "快递", "发货", "配送", "送货", "没收到", "延迟", "包裹", "到货"),
    "personalisation": ("spam", "irrelevant", "unsubscribe", "too many emails", "not relevant", "骚扰", "不相关", "退订", "太多短信", "个性化", "推荐的不"),
    "returns": ("return", "refund", "exchange", "money back", "退货", "退款", "换货", "退换"),
    "points": ("points", "balance", "reward", "loyalty", "voucher", "tier", "membership", "积分", "会员", "等级", "奖励", "兑换", "到账"),
    "website": ("website", "app ", "login", "checkout", "payment", "crash", "网站", "登录", "支付", "闪退", "卡顿", "界面"),
}  # fmt: skip
WORD = re.compile(r"[a-z']+|[\u3400-\u9fff]+")
HAN = re.compile(r"[\u3400-\u9fff]")
KANA = re.compile(r"[\u3040-\u30ff]")


@cache
def _simplified() -> object:
    from opencc import OpenCC

    return OpenCC("t2s")


def folded(text: str) -> str:
    """Lower case, Chinese simplified, spaces single."""
    lowered = " ".join(text.lower().split())
    return str(_simplified().convert(lowered)) if HAN.search(lowered) else lowered  # type: ignore[attr-defined]


def language(text: str) -> str:
    """`zh`, `en`, or `other`, by script: Chinese characters without kana, Latin letters, anything else."""
    if KANA.search(text):
        return "other"
    if HAN.search(text):
        return "zh"
    return "en" if re.search(r"[A-Za-z]", text) else "other"


def topics(text: str) -> list[str]:
    """What it is about, in a fixed order; nothing where no word says."""
    said = folded(text)
    words = f" {' '.join(re.findall(r'[a-z]+', said))} "
    found = []
    for topic, names in TOPICS.items():
        if any((f" {name.strip()}" in words if name.isascii() else name in said) for name in names):
            found.append(topic)
    return found


def tone(text: str) -> float:
    """From −1 (ill) to 1 (well), 0 where no word says. What follows a "but" weighs twice; a negation turns round what it stands before."""
    said = folded(text)
    parts = re.split("|".join(rf"\b{word}\b" if word.isascii() else word for word in BUT), said)
    total = weight = 0.0
    for number, part in enumerate(parts):
        value, words = _part(part)
        heavy = 2.0 if number and number == len(parts) - 1 else 1.0
        total, weight = total + heavy * value, weight + heavy * words
    return max(-1.0, min(1.0, total / weight)) if weight else 0.0


def _part(text: str) -> tuple[float, int]:
    value, count = 0.0, 0
    words = WORD.findall(text)
    for at, word in enumerate(words):
        if HAN.search(word):
            more, seen = _chinese(word)
            value, count = value + more, count + seen
            continue
        sign = 1 if word in POSITIVE else -1 if word in NEGATIVE else 0
        if sign:
            turned = sum(w in NOT for w in words[max(0, at - WINDOW) : at] if w != word) % 2
            value, count = value + (-sign if turned else sign), count + 1
    return value, count


def _chinese(run: str) -> tuple[float, int]:
    """Longest words first, so that 不好 is not also 好; a 不 or 没 right before turns a word round."""
    value, count, rest = 0.0, 0, run
    for word, sign in sorted(
        [(w, 1) for w in POSITIVE if not w.isascii()] + [(w, -1) for w in NEGATIVE if not w.isascii()],
        key=lambda p: -len(p[0]),
    ):
        while (at := rest.find(word)) >= 0:
            before = rest[max(0, at - 2) : at]
            turned = any(before.endswith(no) for no in NOT if not no.isascii())
            value, count = value + (-sign if turned else sign), count + 1
            rest = rest[:at] + "＿" * len(word) + rest[at + len(word) :]
    return value, count
