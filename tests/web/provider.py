"""A small OpenID Connect provider: discovery, keys, authorisation with PKCE and one-time codes, tokens signed with RS256.

Whoever is sent here is signed in at once as ``subject``. It refuses what a provider refuses: unknown clients, secrets, addresses
to come back to, verifiers, and codes that were used.
"""

from __future__ import annotations

import base64
import hashlib
import json
import secrets
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

from joserfc import jwt
from joserfc.jwk import RSAKey

CLIENT, SECRET = "custodes", "the client's secret"


class OpenIDProvider:
    def __init__(self, back: str) -> None:
        self.back, self.subject, self.claims = back, "subject-1", {"preferred_username": "Ann.Lee"}
        self.change: dict[str, Any] = {}
        self.new_key()
        self._codes: dict[str, dict[str, str]] = {}
        provider = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                parts = urlsplit(self.path)
                query = {name: values[0] for name, values in parse_qs(parts.query).items()}
                if parts.path == "/.well-known/openid-configuration":
                    self.answer(200, provider.about())
                elif parts.path == "/keys":
                    self.answer(200, {"keys": [provider.key.as_dict(private=False)]})
                elif parts.path == "/authorize":
                    self.authorize(query)
                else:
                    self.answer(404, {})

            def authorize(self, query: dict[str, str]) -> None:
                right = query["client_id"] == CLIENT and query["redirect_uri"] == provider.back
                if not right or query["response_type"] != "code" or query["code_challenge_method"] != "S256":
                    return self.answer(400, {"error": "invalid_request"})
                code = secrets.token_urlsafe(16)
                provider._codes[code] = query
                self.send_response(302)
                self.send_header("Location", f"{provider.back}?{urlencode({'code': code, 'state': query['state']})}")
                self.end_headers()

            def do_POST(self) -> None:
                form = parse_qs(self.rfile.read(int(self.headers["Content-Length"])).decode())
                given = {name: values[0] for name, values in form.items()}
                scheme, _, word = self.headers.get("Authorization", "").partition(" ")
                asked = provider._codes.pop(given.get("code", ""), None)
                if scheme != "Basic" or base64.b64decode(word).decode() != f"{CLIENT}:{SECRET}":
                    return self.answer(401, {"error": "invalid_client"})
                digest = hashlib.sha256(given.get("code_verifier", "").encode()).digest()
                challenge = base64.urlsafe_b64encode(digest).rstrip(b"=").decode()
                if asked is None or asked["code_challenge"] != challenge or given["redirect_uri"] != provider.back:
                    return self.answer(400, {"error": "invalid_grant"})
                self.answer(
                    200, {"access_token": "x", "token_type": "Bearer", "id_token": provider.token(asked["nonce"])}
                )

            def answer(self, status: int, body: dict[str, Any]) -> None:
                content = json.dumps(body).encode()
                self.send_response(status)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

            def log_message(self, *_: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.issuer = f"http://127.0.0.1:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def new_key(self) -> None:
        self.key = RSAKey.generate_key(2048, {"kid": secrets.token_hex(4), "alg": "RS256", "use": "sig"})

    def about(self) -> dict[str, Any]:
        places = {name: f"{self.issuer}/{path}" for name, path in PLACES.items()}
        return {"issuer": self.issuer, **places, "response_types_supported": ["code"]}

    def token(self, nonce: str) -> str:
        now = int(time.time())
        claims = {"iss": self.issuer, "aud": CLIENT, "sub": self.subject, "iat": now, "exp": now + 300, "nonce": nonce}
        header = {"alg": "RS256", "kid": self.key.kid}
        return jwt.encode(header, {**claims, **self.claims, **self.change}, self.key)

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


PLACES = {"authorization_endpoint": "authorize", "token_endpoint": "token", "jwks_uri": "keys"}
