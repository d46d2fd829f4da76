"""Servers that take messages and keep them: a webhook and a mailbox."""

import http.server
import json
import socketserver
import threading

import pytest


@pytest.fixture
def hook():
    """A webhook that keeps what it is sent; `answers` is the status it gives."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self):
            self.server.got.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            self.send_response(self.server.answers)
            self.end_headers()

        def log_message(self, *_):
            pass

    with http.server.HTTPServer(("127.0.0.1", 0), Handler) as server:
        server.got, server.answers = [], 200
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server
        server.shutdown()


@pytest.fixture
def mailbox():
    """As much of an SMTP server as one message needs."""

    class Handler(socketserver.StreamRequestHandler):
        def handle(self):
            self.wfile.write(b"220 here\r\n")
            while line := self.rfile.readline():
                word = line[:4].upper()
                self.server.words.add(word)
                if word == b"DATA":
                    self.wfile.write(b"354 go on\r\n")
                    while (text := self.rfile.readline()) not in (b".\r\n", b""):
                        self.server.got.append(text.decode())
                if word == b"STAR":
                    self.wfile.write(b"220 go on\r\n")
                    try:
                        inside = self.server.context.wrap_socket(self.request, server_side=True)
                    except OSError:
                        return
                    self.rfile, self.wfile = inside.makefile("rb"), inside.makefile("wb", buffering=0)
                    continue
                answer = {b"QUIT": b"221 bye\r\n", b"EHLO": self.server.greeting}.get(word, b"250 yes\r\n")
                self.wfile.write(answer)

    with socketserver.TCPServer(("127.0.0.1", 0), Handler) as server:
        server.got, server.words, server.greeting = [], set(), b"250 yes\r\n"
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server
        server.shutdown()
