"""One-click unsubscribe links: a token that says nothing and cannot be guessed."""

import hashlib
import hmac


def token(pepper: str, purpose: str, point: str) -> str:
    """The token of a purpose and contact point: a keyed hash, so that a link holds no address and is always the same."""
    return hmac.new(pepper.encode(), f"unsubscribe|{purpose}|{point}".encode(), hashlib.sha256).hexdigest()
