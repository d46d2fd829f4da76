"""Clients of a measurement, in a process of their own: connections that are kept, requests that were written before."""

import random
import socket
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass

CLIENTS = 8


@dataclass(frozen=True)
class Question:
    """A request over and over, with another body each time."""

    port: int
    path: str
    key: str
    bodies: Sequence[bytes]

    def write(self, body: bytes) -> bytes:
        """The request as it goes over the wire."""
        head = f"POST {self.path} HTTP/1.1\r\nHost: benchmark\r\nAuthorization: Bearer {self.key}\r\nContent-Type: application/json\r\n"
        return f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body


def closed(asked: Question, seconds: float) -> dict[str, float]:
    """As fast as it answers: each client asks again when it has its answer. Answers a second."""
    took = _clients(asked, seconds, None)
    return {"a second": round(len(took) / seconds), "p50 ms": _percentile(took, 0.5), "p99 ms": _percentile(took, 0.99)}


def paced(asked: Question, seconds: float, rate: float) -> dict[str, float]:
    """So many a second, whatever it does: time counts from when a request was due, not from when a client was free."""
    took = _clients(asked, seconds, rate)
    return {
        "a second": round(len(took) / seconds), "p50 ms": _percentile(took, 0.5), "p95 ms": _percentile(took, 0.95),
        "p99 ms": _percentile(took, 0.99), "slowest ms": _percentile(took, 1.0),
    }  # fmt: skip


def _percentile(took: list[float], share: float) -> float:
    return round(1000 * sorted(took)[min(len(took) - 1, int(len(took) * share))], 2)


def _clients(asked: Question, seconds: float, rate: float | None) -> list[float]:
    took: list[float] = []
    began = time.monotonic() + 0.2
    threads = [threading.Thread(target=_client, args=[asked, n, began, seconds, rate, took]) for n in range(CLIENTS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return took


def _client(asked: Question, number: int, began: float, seconds: float, rate: float | None, took: list[float]) -> None:
    chosen, done, due = random.Random(number), 0, began
    with socket.create_connection(("127.0.0.1", asked.port)) as line:
        line.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        file = line.makefile("rb")
        while True:
            if rate is not None:
                due = began + (done * CLIENTS + number) / rate
                time.sleep(max(0.0, due - time.monotonic()))
            now = time.monotonic()
            if (due if rate is not None else now) >= began + seconds:
                return
            line.sendall(asked.write(chosen.choice(asked.bodies)))
            _read(file)
            took.append(time.monotonic() - (due if rate is not None else now))
            done += 1


def _read(file: "socket.SocketIO | object") -> bytes:
    status, length = file.readline(), 0  # type: ignore[attr-defined]
    while (line := file.readline()) not in (b"\r\n", b""):  # type: ignore[attr-defined]
        if line.lower().startswith(b"content-length:"):
            length = int(line.split(b":")[1])
    body: bytes = file.read(length)  # type: ignore[attr-defined]
    if b" 200 " not in status:
        raise SystemExit(f"refused: {status.decode()} {body[:200].decode()}")
    return body


def once(asked: Question, body: bytes) -> bytes:
    """One answer."""
    with socket.create_connection(("127.0.0.1", asked.port)) as line:
        line.sendall(asked.write(body))
        return _read(line.makefile("rb"))
