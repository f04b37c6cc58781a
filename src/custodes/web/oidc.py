"""Signing in by an OpenID Connect provider: the authorisation code flow with PKCE (RFC 7636), state and nonce.

Who somebody is, the provider says; what they may, an invitation says: whoever comes from the provider for the first time needs
one, and from then on the pair of issuer and subject is theirs.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
from authlib.integrations.base_client.errors import OAuthError
from authlib.integrations.httpx_client import OAuth2Client
from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jwk import KeySet

from custodes.types import InputError
from custodes.web.accounts import RefusedError

ALGORITHMS = ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512")
"""Of signatures that are believed: those with a public key, and never none."""
LEEWAY = 60
"""Seconds by which the provider's clock may differ."""
KEPT = 3600.0
"""Seconds after which the provider's description and keys are read again."""
TIMEOUT = 10.0


@dataclass(frozen=True)
class Journey:
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
    _known: tuple[float, dict[str, Any], KeySet] | None = field(default=None, repr=False)

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

    def begin(self, back: str, invitation: str = "") -> tuple[str, Journey]:
        """(where the browser goes, what it keeps). ``back`` is the address to which the provider sends it."""
        about, _ = self._about()
        verifier, nonce = secrets.token_urlsafe(48), secrets.token_urlsafe(16)
        with self._client(back) as client:
            endpoint = about["authorization_endpoint"]
            url, state = client.create_authorization_url(endpoint, code_verifier=verifier, nonce=nonce)
        return str(url), Journey(str(state), nonce, verifier, invitation)

    def finish(self, back: str, journey: Journey, given: Mapping[str, str]) -> dict[str, Any]:
        """Claims of who came back with ``given`` in the address. Raises RefusedError where they are not to be believed."""
        about, _ = self._about()
        if not secrets.compare_digest(given.get("state", ""), journey.state) or "code" not in given:
            raise RefusedError("this sign-in was not begun here, or was refused there; begin again.")
        try:
            with self._client(back) as client:
                endpoint = about["token_endpoint"]
                token = client.fetch_token(endpoint, code=given["code"], code_verifier=journey.verifier)
        except (OAuthError, httpx.HTTPError, ValueError) as error:
            raise RefusedError(f"{self.name} did not confirm the sign-in ({error}); begin again.") from None
        return self._claims(str(token.get("id_token", "")), journey.nonce)

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
        return OAuth2Client(
            self.client_id,
            self.secret,
            scope="openid profile email",
            redirect_uri=back,
            code_challenge_method="S256",
            timeout=TIMEOUT,
        )

    def _about(self, fresh: bool = False) -> tuple[dict[str, Any], KeySet]:
        """The provider's description (OpenID Connect Discovery) and keys. Raises InputError where there is none."""
        if self._known is None or fresh or time.monotonic() - self._known[0] > KEPT:
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
            self._known = (time.monotonic(), about, keys)
        return self._known[1:]
