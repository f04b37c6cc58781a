"""A server of OpenAI's chat protocol on the loopback address, whose answers a test decides."""

from __future__ import annotations

import json
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


class Server(ThreadingHTTPServer):
    """Answers chat requests by ``answer(body)``: a message, or bytes and a status to send as they are."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.bodies: list[dict[str, Any]] = []
        self.answer: Any = lambda body: {"content": "Hello."}
        self.url = f"http://127.0.0.1:{self.server_address[1]}/v1"


class Handler(BaseHTTPRequestHandler):
    server: Server

    def do_GET(self) -> None:
        self.reply(200, json.dumps({"data": [{"id": "m", "owned_by": "test"}]}).encode())

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.server.bodies.append(body)
        said = self.server.answer(body)
        if isinstance(said, tuple):
            self.reply(*said)
        else:
            choice = {"index": 0, "message": {"role": "assistant", **said}, "finish_reason": "stop"}
            self.reply(200, json.dumps({"choices": [choice], "usage": {}}).encode())

    def reply(self, status: int, data: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *arguments: object) -> None:
        pass
