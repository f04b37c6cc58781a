"""A server of a test's own, at work in a thread."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import TypeVar

S = TypeVar("S", bound=HTTPServer)


@contextmanager
def serving(server: S) -> Iterator[S]:
    """Answers requests until the block ends."""
    with server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            yield server
        finally:
            server.shutdown()


class JsonHandler(BaseHTTPRequestHandler):
    """Takes and gives JSON, and says nothing of it on the terminal."""

    def asked_for(self) -> dict:
        """The body of the request."""
        return dict(json.loads(self.rfile.read(int(self.headers["content-length"]))))

    def reply(self, content: Mapping[str, object]) -> None:
        data = json.dumps(content).encode()
        self.send_response(200)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *words: object) -> None:
        pass
