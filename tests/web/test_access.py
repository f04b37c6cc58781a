"""Who may call what: the matrix is made from the router, so that a new route is in it, with a rule or not at all."""

from __future__ import annotations

import re

import pytest
from fastapi import FastAPI
from fastapi.routing import APIRoute
from fastapi.testclient import TestClient
from web_server import PASSWORD, Server

from custodes.web.access import COOKIE, CSRF, rules_of_app
from custodes.web.accounts import ACCOUNT_ROLES, LIMIT, SCOPES, WINDOW
from custodes.web.app import create_app

LET_IN = {200, 201, 204, 404, 409, 422}
PUBLIC = {
    ("GET", "/api/health"),
    ("POST", "/api/sign-in"),
    ("POST", "/api/join"),
    ("GET", "/api/oidc/start"),
    ("GET", "/api/oidc/callback"),
}
"""What anybody may call: a longer list is a decision that this test asks for."""


def path_of(route: str) -> str:
    return re.sub(r"\{\w+\}", "nothing", route)


def test_only_these_routes_are_open_to_anybody(server: Server):
    assert {route for route, rule in rules_of_app(server.app).items() if rule.roles is None} == PUBLIC


def test_every_route_for_every_kind_of_caller(server: Server):
    people = {role: server.person(f"the-{role}", role) for role in ACCOUNT_ROLES}
    anybody = server.client()
    for (method, route), rule in rules_of_app(server.app).items():
        path = path_of(route)
        if rule.roles is None or path == "/api/sign-out":
            continue
        where = f"{method} {route}"
        assert anybody.request(method, path, json={}).status_code == 401, where
        for role, person in people.items():
            status = person.client.request(method, path, json={}).status_code
            assert (status in LET_IN) if role in rule.roles else (status == 403), f"{where} as {role}: {status}"


def test_every_change_needs_the_sessions_csrf_token(server: Server):
    lead = server.person("the-lead", "lead")
    token = lead.client.headers.pop(CSRF)
    for (method, route), rule in rules_of_app(server.app).items():
        if rule.roles is None or "lead" not in rule.roles or method == "GET":
            continue
        for wrong in ({}, {CSRF: ""}, {CSRF: token[:-1]}, {CSRF: "x"}):
            assert lead.client.request(method, path_of(route), json={}, headers=wrong).status_code == 403, route


def test_tokens_do_what_their_scope_and_their_accounts_role_allow(server: Server):
    people = {role: server.person(f"the-{role}", role) for role in ("annotator", "lead")}
    client = server.client()
    for role, person in people.items():
        for scope in SCOPES:
            _, secret = server.database.accounts.create_token(person.account, "t", [scope], 1)
            for (method, route), rule in rules_of_app(server.app).items():
                if rule.roles is None:
                    continue
                headers = {"Authorization": f"Bearer {secret}"}
                status = client.request(method, path_of(route), json={}, headers=headers).status_code
                allowed = role in rule.roles and rule.scope == scope
                assert (status in LET_IN) if allowed else (status == 403), f"{method} {route} {role} {scope}: {status}"


def test_a_route_without_a_rule_is_found(server: Server):
    app = FastAPI()
    app.add_api_route("/open", lambda: 1)
    with pytest.raises(RuntimeError, match="access rule"):
        rules_of_app(app)
    bare = next(r for r in app.routes if isinstance(r, APIRoute))
    whole = create_app(server.database)
    whole.router.routes.append(bare)
    with pytest.raises(RuntimeError, match="/open"):
        rules_of_app(whole)


def test_the_description_names_every_route_and_its_rule(server: Server):
    paths = server.app.openapi()["paths"]
    for (method, route), rule in rules_of_app(server.app).items():
        assert paths[route][method.lower()]["x-access"] == rule.described()


# ---------------------------------------------------------------- coming in


def test_a_session_is_new_at_every_sign_in_and_ends(server: Server):
    person = server.person("ann")
    first = person.client.cookies[COOKIE]
    fixed = server.client()
    fixed.cookies.set(COOKIE, "chosen by somebody else")
    signed = fixed.post("/api/sign-in", json={"name": "ann", "password": PASSWORD})
    assert signed.cookies[COOKIE] not in ("chosen by somebody else", first)
    assert "HttpOnly" in signed.headers["set-cookie"]
    assert "samesite=lax" in signed.headers["set-cookie"].lower()
    assert person.call("POST", "/sign-out").status_code == 204
    stolen = server.client()
    stolen.cookies.set(COOKIE, first)
    assert stolen.get("/api/me").status_code == 401


def test_guessing_passwords_is_slowed_down_across_processes(server: Server):
    server.person("ann")
    client = server.client()
    wrong, right = {"name": "ann", "password": "not the password"}, {"name": "ann", "password": PASSWORD}
    assert [client.post("/api/sign-in", json=wrong).status_code for _ in range(LIMIT)] == [401] * LIMIT
    other = TestClient(create_app(server.database))  # another process on the same database
    assert other.post("/api/sign-in", json=right).status_code == 429
    server.clock.now += WINDOW + 1
    assert client.post("/api/sign-in", json=right).status_code == 200


def test_whoever_is_put_out_is_out_at_once(server: Server):
    lead, ann = server.person("lead", "lead"), server.person("ann")
    _, secret = server.database.accounts.create_token(ann.account, "t", ["read"], 1)
    assert lead.call("PATCH", f"/accounts/{ann.account}", {"disabled": True}).status_code == 204
    assert ann.call("GET", "/me").status_code == 401
    assert server.client().get("/api/me", headers={"Authorization": f"Bearer {secret}"}).status_code == 401
    assert lead.call("PATCH", f"/accounts/{lead.account}", {"disabled": True}).status_code == 422


def test_a_token_is_shown_once_and_ends_when_it_is_revoked(server: Server):
    ann = server.person("ann")
    made = ann.call("POST", "/tokens", {"name": "laptop", "scopes": ["read"], "days": 2.0}).json()
    client, headers = server.client(), {"Authorization": f"Bearer {made['token']}"}
    assert client.get("/api/me", headers=headers).json()["csrf"] is None
    assert ann.call("DELETE", f"/tokens/{made['id']}").status_code == 204
    assert client.get("/api/me", headers=headers).status_code == 401


def test_who_came_and_who_did_not_is_in_the_ledger(server: Server):
    server.person("ann")
    lead = server.person("lead", "lead")
    server.client().post("/api/sign-in", json={"name": "ann", "password": "wrong"})
    log = [entry["what"] for entry in lead.call("GET", "/access").json()]
    for what in ("joined", "signed in", "sign-in refused"):
        assert f"access: {what}" in log
    assert server.database.ledger.verify().ok


# ---------------------------------------------------------------- what is sent


@pytest.mark.parametrize(
    "content", [b"", b"{", b"[]", b"null", b'"x"', b"\xff\xfe", b'{"name": 1, "password": {}}', b'{"a": ' * 5000]
)
def test_malformed_bodies_are_refused_in_one_sentence(server: Server, content):
    said = server.client().post("/api/sign-in", content=content, headers={"Content-Type": "application/json"})
    assert said.status_code in (400, 422)
    assert isinstance(said.json()["detail"], str)


def test_oversized_bodies_and_floods_are_refused(server: Server):
    client = server.client()
    assert client.post("/api/sign-in", json={}, headers={"Content-Length": str(1 << 40)}).status_code == 413
    flooded = create_app(server.database, requests_a_minute=5)
    assert [TestClient(flooded).get("/api/health").status_code for _ in range(7)] == [200] * 5 + [429] * 2


def test_a_stranger_cannot_have_a_large_body_read(server: Server):
    lead, ann = server.person("lead", "lead"), server.person("ann")
    large = b'{"text": "' + b"x" * (5 << 20) + b'", "tasks": []}'
    json = {"Content-Type": "application/json"}
    for headers in ({}, {"Authorization": "Bearer made-up"}, {"Cookie": f"{COOKIE}=made-up"}):
        for path in ("/api/sign-in", "/api/join", "/api/projects", "/api/nothing", "/"):
            said = server.client().post(path, content=large, headers=headers | json)
            assert said.status_code == 413, path
    assert ann.client.post("/api/assignments/x/judgments", content=large, headers=json).status_code == 413
    assert lead.client.post("/api/projects", content=large, headers=json).status_code == 422
    chunks = (large[n : n + 1000] for n in range(0, len(large), 1000))  # without a length
    assert lead.client.post("/api/projects", content=chunks, headers=json).status_code == 413


def test_what_a_header_says_gives_nobody_a_count_of_their_own(server: Server):
    ann = server.person("ann")
    _, token = server.database.accounts.create_token(ann.account, "t", ["read"], 1)
    client = TestClient(create_app(server.database, requests_a_minute=5))
    made_up = [client.get("/api/me", headers={"Authorization": f"Bearer {n}"}).status_code for n in range(4)]
    made_up += [client.get("/api/me", headers={"Cookie": f"{COOKIE}={n}"}).status_code for n in range(4)]
    assert made_up == [401] * 5 + [429] * 3
    other = TestClient(create_app(server.database, requests_a_minute=5))
    known = {"Authorization": f"Bearer {token}"}
    assert [other.get("/api/me", headers=known).status_code for _ in range(7)] == [200] * 6 + [
        429
    ]  # the first was checked
    assert [other.get("/api/health").status_code for _ in range(6)] == [200] * 5 + [429]  # and took nobody's count


def test_every_answer_tells_browsers_to_be_careful(server: Server):
    for path in ("/api/health", "/api/me", "/nothing"):
        headers = server.client().get(path).headers
        assert headers["X-Content-Type-Options"] == "nosniff"
        assert "default-src 'self'" in headers["Content-Security-Policy"]
        assert headers["Cache-Control"] == "no-store"
