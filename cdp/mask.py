"""How personal values look to those who may not see them: enough to recognise what one knows, no more."""


def email(value: str | None) -> str | None:
    """`s•••@yahoo.co.uk`."""
    if not value or "@" not in value:
        return value and "•••"
    local, domain = value.split("@", 1)
    return f"{local[:1]}•••@{domain}"


def phone(value: str | None) -> str | None:
    """`+44•••5546`: the last four digits are what people are asked for."""
    if not value:
        return value
    return f"{value[:3]}•••{value[-4:]}" if len(value) >= 9 else "•••"


def text(value: str | None) -> str | None:
    """`S•••`, `萧•••`: the first character."""
    return f"{value[:1]}•••" if value else value


def name(value: str | None) -> str | None:
    """`A••• H•••`, `萧•••`: the first character of each word, so that people of one list can be told apart."""
    return " ".join(f"{word[:1]}•••" for word in value.split()) if value else value


def identifier(kind: str, value: str) -> str:
    """An identifier by its type; technical ids stand as they are."""
    if kind == "email":
        return email(value) or ""
    if kind == "phone":
        return phone(value) or ""
    return f"•••{value[-4:]}" if kind in ("card", "wechat_openid", "wechat_unionid") else value
