"""Pages: templates filled in the visitor's language, under a strict content security policy."""

from functools import lru_cache
from pathlib import Path
from typing import Any

from fastapi.responses import HTMLResponse
from jinja2 import Environment, FileSystemLoader, StrictUndefined

from api.console import phrases, words

HERE = Path(__file__).parent
POLICY = (
    "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self'; connect-src 'self'; form-action 'self'; "
    "base-uri 'none'; frame-ancestors 'none'"
)
HEADERS = {
    "Content-Security-Policy": POLICY,
    "Referrer-Policy": "same-origin",  # with no referrer at all browsers send `Origin: null`, and a forged form could not be told
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Cache-Control": "no-store",  # a page of a person must not come back from a browser's memory after sign-out
    "Cross-Origin-Opener-Policy": "same-origin",
}


@lru_cache
def environment(language: str) -> Environment:
    """Templates of one language; whatever a value holds is shown as text."""
    made = Environment(
        loader=FileSystemLoader(HERE / "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        extensions=["jinja2.ext.i18n"],
    )
    made.install_gettext_translations(words.translations(language), newstyle=True)  # type: ignore[attr-defined]
    made.filters["moment"] = lambda at: words.moment(at, language)
    made.filters["day"] = lambda at: words.day(at, language)
    made.filters["money"] = lambda amount, currency: words.money(amount, currency, language)
    made.filters["number"] = lambda value: words.number(value, language)
    made.filters["units"] = lambda parts, scale: words.units(parts, scale, language)
    translate = words.translations(language).gettext
    made.filters["say"] = lambda code: phrases.say(code, translate)
    made.filters["segment"] = lambda name: phrases.say(phrases.segment(name), translate)
    made.globals["done_words"] = {code: translate(text) for code, text in phrases.DONE.items()}
    made.globals["language"] = language
    made.globals["languages"] = words.NAMES
    return made


def render(template: str, language: str, status: int = 200, **values: Any) -> HTMLResponse:
    """One page."""
    return HTMLResponse(environment(language).get_template(template).render(**values), status, headers=HEADERS)
