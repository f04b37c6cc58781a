"""Signing in by an OpenID Connect provider: the authorisation code flow with PKCE (RFC 7636), state and nonce.

Who somebody is, the provider says; what they may, an invitation says. Whoever comes from the provider for the first time
needs an invitation. From then on the pair of issuer and subject is theirs.
"""

from __future__ import annotations

import json
import secrets
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import urlsplit

import httpx
from authlib.integrations.base_client.errors import OAuthError
from authlib.integrations.httpx_client import OAuth2Client
from fastapi import HTTPException, Query, Request
from fastapi.responses import RedirectResponse
from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jwk import KeySet

from custodes.types import InputError
from custodes.web.access import ANYBODY, COOKIE, DatabaseOf, keep_session, route
from custodes.web.accounts import RefusedError
from custodes.web.people import joined

ALGORITHMS = ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512")
"""Of signatures that are believed: those with a public key, and never none."""
LEEWAY = 60
"""Seconds by which the provider's clock may differ."""
KEPT = 3600.0
"""Seconds after which the provider's description and keys are read again."""
TIMEOUT = 10.0
SIGNING_IN = "custodes_signing_in"
"""Cookie of a browser that is with the provider; it lasts ten minutes."""


@dataclass(frozen=True)
class PendingSignIn:
    """What the browser keeps between leaving for the provider and coming back."""

    state: str
    nonce: str
    verifier: str
    invitation: str = ""


@dataclass
class Provider:
    """An OpenID Connect provider, and this server's registration with it."""

    issuer: str
    client_id: str
    secret: str = field(repr=False)
    _discovered: tuple[float, dict[str, Any], KeySet] | None = field(default=None, repr=False)

    @classmethod
    def of(cls, issuer: str, client_id: str, secret_file: Path) -> Provider:
        """From what the command line is given. Raises InputError where the provider cannot be used or reached."""
        parts = urlsplit(issuer)
        local = parts.hostname in ("localhost", "127.0.0.1", "::1")
        if parts.scheme != "https" and not (parts.scheme == "http" and local):
            raise InputError(f"--oidc-issuer {issuer!r}: it should be an https:// address.")
        try:
            secret = secret_file.read_text(encoding="utf-8").strip()
        except (OSError, UnicodeDecodeError) as error:
            raise InputError(f"--oidc-secret-file {secret_file} cannot be read: {error}.") from None
        if not client_id or not secret:
            raise InputError("signing in by a provider needs --oidc-client-id and a secret in --oidc-secret-file.")
        provider = cls(issuer, client_id, secret)
        provider._about()
        return provider

    @property
    def name(self) -> str:
        """What people know it by."""
        return urlsplit(self.issuer).netloc

    def begin(self, back: str, invitation: str = "") -> tuple[str, PendingSignIn]:
        """(where the browser goes, what it keeps). ``back`` is the address to which the provider sends it."""
        about, _ = self._about()
        verifier, nonce = secrets.token_urlsafe(48), secrets.token_urlsafe(16)
        with self._client(back) as client:
            endpoint = about["authorization_endpoint"]
            url, state = client.create_authorization_url(endpoint, code_verifier=verifier, nonce=nonce)
        return str(url), PendingSignIn(str(state), nonce, verifier, invitation)

    def finish(self, back: str, pending: PendingSignIn, query: Mapping[str, str]) -> dict[str, Any]:
        """Claims of who came back with ``query`` in the address. Raises RefusedError where they are not to be believed."""
        about, _ = self._about()
        if not secrets.compare_digest(query.get("state", ""), pending.state) or "code" not in query:
            raise RefusedError("this sign-in was not begun here, or was refused there; begin again.")
        try:
            with self._client(back) as client:
                endpoint = about["token_endpoint"]
                token = client.fetch_token(endpoint, code=query["code"], code_verifier=pending.verifier)
        except (OAuthError, httpx.HTTPError, ValueError) as error:
            raise RefusedError(f"{self.name} did not confirm the sign-in ({error}); begin again.") from None
        return self._claims(str(token.get("id_token", "")), pending.nonce)

    def _claims(self, id_token: str, nonce: str) -> dict[str, Any]:
        required = {
            "iss": {"essential": True, "value": self.issuer},
            "aud": {"essential": True, "value": self.client_id},
            "sub": {"essential": True},
            "exp": {"essential": True},
            "nonce": {"essential": True, "value": nonce},
        }
        for fresh in (False, True):  # a provider may have changed its keys since they were read
            try:
                read = jwt.decode(id_token, self._about(fresh)[1], algorithms=ALGORITHMS)
                break
            except (JoseError, ValueError) as error:
                if fresh:
                    raise RefusedError(f"what {self.name} said is not signed by it ({error}); begin again.") from None
        try:
            jwt.JWTClaimsRegistry(leeway=LEEWAY, **required).validate(read.claims)  # type: ignore[arg-type]
        except JoseError as error:
            raise RefusedError(f"what {self.name} said is not for this sign-in ({error}); begin again.") from None
        audience, party = read.claims["aud"], read.claims.get("azp")
        if ((isinstance(audience, list) and len(audience) > 1) or party is not None) and party != self.client_id:
            raise RefusedError(f"what {self.name} said is for somebody else; begin again.")
        return dict(read.claims)

    def _client(self, back: str) -> OAuth2Client:
        options = {"scope": "openid profile email", "code_challenge_method": "S256", "timeout": TIMEOUT}
        return OAuth2Client(self.client_id, self.secret, redirect_uri=back, **options)

    def _about(self, fresh: bool = False) -> tuple[dict[str, Any], KeySet]:
        """The provider's description (OpenID Connect Discovery) and keys. Raises InputError where there is none."""
        if self._discovered is None or fresh or time.monotonic() - self._discovered[0] > KEPT:
            where = f"{self.issuer.rstrip('/')}/.well-known/openid-configuration"
            try:
                with httpx.Client(timeout=TIMEOUT) as http:
                    about = http.get(where).raise_for_status().json()
                    keys = KeySet.import_key_set(http.get(about["jwks_uri"]).raise_for_status().json())
            except (httpx.HTTPError, httpx.InvalidURL, JoseError, ValueError, KeyError, TypeError) as error:
                raise InputError(f"the provider {self.issuer} cannot be used: {error} at {where}.") from None
            if about.get("issuer") != self.issuer:
                said = about.get("issuer")
                raise InputError(f"the provider {self.issuer} calls itself {said!r}; give that as --oidc-issuer.")
            self._discovered = (time.monotonic(), about, keys)
        return self._discovered[1:]


# ---------------------------------------------------------------- the addresses: out to the provider, and back from it


@route("GET", "/oidc/start", ANYBODY, response_class=RedirectResponse, status_code=302)
def start(request: Request, invitation: Annotated[str, Query(max_length=200)] = "") -> RedirectResponse:
    """To the provider. ``invitation`` is for whoever has no account yet."""
    url, pending = _provider(request).begin(str(request.url_for("callback")), invitation)
    answer = RedirectResponse(url, 302)
    options: Any = {"max_age": 600, "httponly": True, "samesite": "lax", "secure": request.url.scheme == "https"}
    answer.set_cookie(SIGNING_IN, json.dumps(asdict(pending)), path="/api/oidc", **options)
    return answer


@route("GET", "/oidc/callback", ANYBODY, response_class=RedirectResponse, status_code=302)
def callback(request: Request, database: DatabaseOf) -> RedirectResponse:
    """Back from the provider: a new session."""
    provider = _provider(request)
    try:
        pending = PendingSignIn(**json.loads(request.cookies.get(SIGNING_IN, "")))
    except (ValueError, TypeError):
        raise HTTPException(403, "this sign-in was not begun here, or too long ago; begin again.") from None
    source = f"from {request.client.host if request.client else 'unknown'}, by {provider.name}"
    try:
        claims = provider.finish(str(request.url_for("callback")), pending, request.query_params)
        identity = (provider.issuer, str(claims["sub"]))
        if pending.invitation and database.accounts.of_identity(*identity) is None:
            account = database.accounts.accept_identity(pending.invitation, *identity, _account_name(claims))
            joined(database, account, f"as {account.role}, by {provider.name}")
        account, session = database.accounts.log_in_identity(*identity, ended=request.cookies.get(COOKIE))
    except RefusedError as error:
        database.log_access("sign-in refused", "", source)
        raise HTTPException(403, str(error)) from None
    database.log_access("signed in", account.id, source)
    answer = RedirectResponse("/", 302)
    answer.delete_cookie(SIGNING_IN, path="/api/oidc")
    keep_session(request, answer, session)
    return answer


def _account_name(claims: Mapping[str, Any]) -> str:
    """A name that an account can have, from what the provider calls the person."""
    given = str(claims.get("preferred_username") or claims.get("email") or claims.get("name") or "person")
    name = "".join(c for c in given.lower() if c.isalnum() or c in "._-@+")[:70]
    return name if len(name) > 1 else f"person-{secrets.token_hex(3)}"


def _provider(request: Request) -> Provider:
    provider: Provider | None = request.app.state.provider
    if provider is None:
        raise HTTPException(404, "this server has no provider to sign in by.")
    return provider
