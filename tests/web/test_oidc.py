"""Signing in by an OpenID Connect provider, a real one in a thread: who gets in, and what is not believed."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from fastapi.testclient import TestClient
from provider import CLIENT, SECRET, OpenIDProvider
from web_server import Server

from custodes.types import InputError
from custodes.web.access import COOKIE
from custodes.web.app import create_app
from custodes.web.oidc import SIGNING_IN, Provider

BACK = "http://testserver/api/oidc/callback"


@pytest.fixture
def there() -> Iterator[OpenIDProvider]:
    made = OpenIDProvider(BACK)
    yield made
    made.close()


@pytest.fixture
def client(server: Server, there: OpenIDProvider, tmp_path: Path) -> TestClient:
    (tmp_path / "secret").write_text(f"{SECRET}\n")
    provider = Provider.of(there.issuer, CLIENT, tmp_path / "secret")
    return TestClient(create_app(server.database, provider=provider), follow_redirects=False)


def go(client: TestClient, invitation: str = "") -> httpx.Response:
    """To the provider and back, as a browser goes."""
    started = client.get("/api/oidc/start", params={"invitation": invitation} if invitation else {})
    assert started.status_code == 302
    away = httpx.get(started.headers["location"])
    assert away.status_code == 302, away.text
    return client.get(away.headers["location"])


def test_who_is_invited_joins_and_comes_again_without(server: Server, client: TestClient):
    refused = go(client)
    assert (refused.status_code, refused.json()["detail"][:23]) == (403, "you have no account her")
    back = go(client, server.database.accounts.invite("reviewer", "test", {"country": "DE"}))
    assert (back.status_code, back.headers["location"]) == (302, "/")
    me = client.get("/api/me").json()
    assert (me["name"], me["role"]) == ("ann.lee", "reviewer")
    first = client.cookies[COOKIE]
    assert go(client).status_code == 302
    assert client.cookies[COOKIE] != first
    assert client.get("/api/me").json()["account"] == me["account"]
    stolen = TestClient(client.app, cookies={COOKIE: first})
    assert stolen.get("/api/me").status_code == 401  # the session from before is over
    log = [(d.what, d.subject) for d in server.database.ledger.decisions(server.database.run)]
    assert ("access: joined", me["account"]) in log
    assert log.count(("access: signed in", me["account"])) == 2


def test_who_is_put_out_stays_out_and_nobody_has_a_password(server: Server, client: TestClient):
    go(client, server.database.accounts.invite("annotator", "test"))
    account = client.get("/api/me").json()["account"]
    signed = client.post("/api/sign-in", json={"name": "ann.lee", "password": ""})
    assert signed.status_code == 422
    signed = client.post("/api/sign-in", json={"name": "ann.lee", "password": "ann.lee"})
    assert signed.status_code == 401
    server.database.accounts.disable(account)
    assert go(client).status_code == 403


def test_two_of_one_name_are_two(server: Server, client: TestClient, there: OpenIDProvider):
    names = []
    for n in range(3):
        there.subject = f"subject-{n}"
        assert go(client, server.database.accounts.invite("annotator", "test")).status_code == 302
        names.append(client.get("/api/me").json()["name"])
    assert names == ["ann.lee", "ann.lee-2", "ann.lee-3"]


def test_an_invitation_is_good_once(server: Server, client: TestClient, there: OpenIDProvider):
    invitation = server.database.accounts.invite("annotator", "test")
    assert go(client, invitation).status_code == 302
    there.subject = "somebody else"
    assert "used or out of date" in go(client, invitation).json()["detail"]


@pytest.mark.parametrize(
    "change",
    [
        {"iss": "https://other.example"},
        {"aud": "another client"},
        {"aud": [CLIENT, "another client"]},
        {"azp": "another client"},
        {"nonce": "of another sign-in"},
        {"exp": 1_700_000_000},
    ],
    ids=str,
)
def test_what_is_not_for_this_sign_in_is_not_believed(
    server: Server, client: TestClient, there: OpenIDProvider, change
):
    there.change = change
    assert go(client, server.database.accounts.invite("annotator", "test")).status_code == 403
    assert COOKIE not in client.cookies


def test_signatures_of_others_and_none_are_not_believed(server: Server, client: TestClient, there: OpenIDProvider):
    invitation = server.database.accounts.invite("annotator", "test")
    whole, kid = there.token, there.key.kid
    there.token = lambda nonce: whole(nonce)[:-8] + "AAAAAAAA"  # type: ignore[method-assign]
    assert go(client, invitation).status_code == 403
    unsigned = "eyJhbGciOiJub25lIn0."  # {"alg":"none"}
    there.token = lambda nonce: unsigned + whole(nonce).split(".")[1] + "."  # type: ignore[method-assign]
    assert go(client, invitation).status_code == 403
    there.token = whole  # type: ignore[method-assign]
    there.new_key()  # keys change now and then
    assert there.key.kid != kid
    assert go(client, invitation).status_code == 302


def test_a_sign_in_that_was_not_begun_here_is_none(server: Server, client: TestClient):
    started = client.get("/api/oidc/start")
    away = httpx.get(started.headers["location"]).headers["location"]
    other = TestClient(client.app, follow_redirects=False)
    assert other.get(away).status_code == 403  # no journey in this browser
    other.get("/api/oidc/start")
    assert other.get(away).status_code == 403  # another one's
    assert client.get(away.replace("state=", "state=x")).status_code == 403
    client.cookies.set(SIGNING_IN, json.dumps({"nonsense": 1}), path="/api/oidc")
    assert client.get(away).status_code == 403


def test_without_a_provider_there_is_no_such_address(server: Server):
    for path in ("start", "callback"):
        assert server.client().get(f"/api/oidc/{path}").status_code in (403, 404)


def test_providers_that_cannot_be_used_are_one_sentence(there: OpenIDProvider, tmp_path: Path):
    (tmp_path / "secret").write_text(SECRET)
    for issuer, said in (
        ("http://example.org", "an https:// address"),
        ("https://127.0.0.1:9", "cannot be used"),
        (f"{there.issuer}/", "calls itself"),
    ):
        with pytest.raises(InputError, match=said):
            Provider.of(issuer, CLIENT, tmp_path / "secret")
    with pytest.raises(InputError, match="cannot be read"):
        Provider.of(there.issuer, CLIENT, tmp_path / "nothing")
    (tmp_path / "empty").write_text("")
    with pytest.raises(InputError, match="needs --oidc-client-id"):
        Provider.of(there.issuer, CLIENT, tmp_path / "empty")
