"""Text in plain letters."""

import unicodedata


def plain(text: str) -> str:
    """In small letters without accents: José and JOSE are jose; other scripts keep their letters."""
    decomposed = unicodedata.normalize("NFKD", text.casefold())
    return "".join(letter for letter in decomposed if not unicodedata.combining(letter))
