"""Where a webhook may go: never into the network that this machine stands in, unless the deployment says so.

A name is looked up once, every address it has is judged, and the call goes to the address that was judged: a name that
answers differently the second time gains nothing.
"""

import socket
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address, ip_network
from typing import Any
from urllib.parse import urlsplit

from cdp.errors import Invalid

Address = IPv4Address | IPv6Address
NAT64 = ip_network("64:ff9b::/96")
MOST_URL = 2_000  # characters


class Refused(Invalid):
    """An address that no webhook goes to."""


@dataclass(frozen=True)
class Target:
    """A judged place.

    Attributes:
        addresses: IP addresses to call, one after the other until one answers.
        host: The name it was found under: what the certificate must be for.
        path: Path and query.
    """

    addresses: tuple[str, ...]
    port: int
    host: str
    path: str
    tls: bool


def target(url: str, networks: Sequence[str], look_up: Callable[..., Sequence[Any]] = socket.getaddrinfo) -> Target:
    """Judge an address.

    Args:
        url: `https://…`; `http://…` only into `networks`.
        networks: Networks that are not public and allowed all the same (`10.1.0.0/16`).
        look_up: As `socket.getaddrinfo`.

    Raises:
        Refused: If it must not be called. The message names no part of the address: it may hold a secret.
        OSError: If the name cannot be looked up now.
    """
    host, port, path, tls = _parts(url)
    try:
        found = {ip_address(entry[4][0].split("%")[0]) for entry in look_up(host, port, type=socket.SOCK_STREAM)}
    except UnicodeError as error:  # an empty or endless label: the resolver's own encoding refuses it
        raise Refused("this is no address of the web") from error
    if not found:
        raise OSError("no address")
    allowed = [ip_network(network) for network in networks]
    inside = [any(address in network for network in allowed) for address in found]
    if not all(within or is_public(address) for address, within in zip(found, inside, strict=True)):
        raise Refused(
            "this address is not public", "a network of your own is allowed by CDP_WEBHOOK_NETWORKS, e.g. 10.1.0.0/16"
        )
    if not tls and not all(inside):
        raise Refused("a webhook needs https", "http is for the networks of CDP_WEBHOOK_NETWORKS alone")
    addresses = tuple(str(address) for address in sorted(found, key=lambda a: (a.version, int(a))))
    return Target(addresses, port, host, path, tls)


def is_public(address: Address) -> bool:
    """Whether an address is one of the public internet, also when it is an IPv4 address in the dress of an IPv6 one."""
    if isinstance(address, IPv6Address):
        worn = address.ipv4_mapped or address.sixtofour or (address.teredo or (None, None))[1]
        if worn is None and isinstance(NAT64, IPv6Network) and address in NAT64:
            worn = IPv4Address(int(address) & 0xFFFFFFFF)
        if worn is not None:
            return is_public(worn)
    odd = address.is_multicast or address.is_reserved or getattr(address, "is_site_local", False)
    return address.is_global and not odd


def _parts(url: str) -> tuple[str, int, str, bool]:
    try:
        parts = urlsplit(url)
        host, port = parts.hostname or "", parts.port
        host = host.encode("idna").decode() if not host.isascii() else host
    except (ValueError, UnicodeError) as error:
        raise Refused("this is no address of the web") from error
    if len(url) > MOST_URL or not url.isascii() or any(c <= " " for c in url) or parts.scheme not in ("https", "http"):
        raise Refused("a webhook's address begins with https:// and holds no spaces", "write other characters as %XX")
    if not host or parts.username is not None or parts.password is not None or parts.fragment:
        raise Refused("a webhook's address has a host, no user name and no fragment")
    tls = parts.scheme == "https"
    path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    return host, port or (443 if tls else 80), path, tls
