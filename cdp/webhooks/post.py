"""One call of a webhook: to the address that was judged, without redirects, with an end."""

import contextlib
import http.client
import socket
import ssl
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

from cdp.webhooks.guard import Target

SECONDS = 15.0  # for a whole call, as Standard Webhooks advises
LONGEST_WAIT = 24 * 60 * 60  # seconds that a receiver may ask us to wait


@dataclass(frozen=True)
class Answer:
    """What came back.

    Attributes:
        status: HTTP status; None where there was no answer.
        wait: Seconds that the receiver asks us to wait.
        reason: Why it was not taken, without anything that the receiver wrote.
    """

    status: int | None
    wait: int = 0
    reason: str = ""

    @property
    def taken(self) -> bool:
        """Only 2xx says so."""
        return self.status is not None and 200 <= self.status < 300


def post(where: Target, body: bytes, headers: Mapping[str, str], seconds: float = SECONDS) -> Answer:
    """Call it once; whatever goes wrong on the way is an answer too."""
    try:
        with _connected(where, seconds) as line:
            line.request("POST", where.path, body, dict(headers))
            answer = line.getresponse()  # its body is not read: nothing in it matters
            wait = answer.getheader("retry-after", "")
            asked = min(int(wait), LONGEST_WAIT) if wait.isascii() and wait.isdigit() and len(wait) < 10 else 0
            return Answer(answer.status, asked, f"answered {answer.status}")
    except (OSError, http.client.HTTPException) as error:
        return Answer(None, 0, "took too long" if isinstance(error, TimeoutError) else f"no answer: {_named(error)}")


@contextmanager
def _connected(where: Target, seconds: float) -> Iterator[http.client.HTTPConnection]:
    """A connection that is cut off when the time is over, however slowly the other side talks."""
    kind = http.client.HTTPSConnection if where.tls else http.client.HTTPConnection
    line, ended, until = kind(where.host, where.port, timeout=seconds), threading.Event(), time.monotonic() + seconds

    def cut() -> None:
        ended.set()
        # it may not have a socket yet: connecting has a timeout of its own
        with contextlib.suppress(OSError, TypeError):
            socket.socket.shutdown(line.sock, socket.SHUT_RDWR)

    timer = threading.Timer(seconds, cut)
    timer.daemon = True
    timer.start()
    try:
        line.sock = _dialled(where, until)
        if where.tls:  # shaken by hand: the timer must hold the socket by then
            line.sock = ssl.create_default_context().wrap_socket(
                line.sock, server_hostname=where.host, do_handshake_on_connect=False
            )
            line.sock.do_handshake()
        yield line
    except (OSError, http.client.HTTPException) as error:
        if ended.is_set():
            raise TimeoutError from error
        raise
    finally:
        timer.cancel()
        line.close()


def _dialled(where: Target, until: float) -> socket.socket:
    """The first of the addresses that answers; each of those left has an equal part of the time that is left."""
    failed: OSError = ConnectionError()
    for place, address in enumerate(where.addresses):
        left = (until - time.monotonic()) / (len(where.addresses) - place)
        try:
            dialled = socket.create_connection((address, where.port), timeout=max(left, 0.001))
            dialled.settimeout(max(until - time.monotonic(), 0.001))
        except OSError as error:
            failed = error
        else:
            return dialled
    raise failed


def _named(error: Exception) -> str:
    """The kind of failure: a message could quote what the receiver sent."""
    return "the certificate is not valid" if isinstance(error, ssl.SSLCertVerificationError) else type(error).__name__
