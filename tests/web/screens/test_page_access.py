"""Who may see which page: the matrix is made from the pages, so that a new one is in it, with a rule or not at all."""

from __future__ import annotations

import re

import httpx
import pytest
from nicegui import app as host
from site_under_test import Site

from custodes.web.access import COOKIE
from custodes.web.accounts import ACCOUNT_ROLES
from custodes.web.screens import page_rules

PUBLIC = {"/sign-in", "/join", "/static/{version}/{name}"}
"""What anybody may see: a longer list is a decision that this test asks for."""


def test_only_these_pages_are_open_to_anybody():
    assert {path for path, rule in page_rules().items() if rule.roles is None} == PUBLIC


def test_every_page_for_every_kind_of_caller(site: Site):
    sessions = {role: site.session(role) for role in ACCOUNT_ROLES}
    with httpx.Client(base_url=site.address, timeout=60) as client:
        for route, rule in page_rules().items():
            if rule.roles is None:
                continue
            path = re.sub(r"\{\w+\}", "nothing", route)
            sent = client.get(path)
            assert (sent.status_code, sent.headers["location"]) == (303, f"/sign-in?next={path}"), route
            for role, secret in sessions.items():
                seen = client.get(path, headers={"Cookie": f"{COOKIE}={secret}", "Accept": "text/html"})
                assert seen.status_code == (200 if role in rule.roles else 403), f"{route} as {role}"
                assert seen.headers["X-Content-Type-Options"] == "nosniff"
                if seen.status_code == 200:
                    assert "'nonce-" in seen.headers["Content-Security-Policy"]
                    assert "'unsafe-inline'" not in seen.headers["Content-Security-Policy"].split("style-src")[0]


def test_tokens_open_no_page(site: Site):
    account = next(a for a in site.database.accounts.all() if a.name == "owner")
    _, secret = site.database.accounts.create_token(account.id, "t", ["read", "annotate", "manage"], 1)
    assert httpx.get(site.address, headers={"Authorization": f"Bearer {secret}"}, timeout=60).status_code == 403


def test_a_page_without_a_rule_is_found():
    host.add_api_route("/open", lambda: 1)
    try:
        with pytest.raises(RuntimeError, match="/open"):
            page_rules()
    finally:
        host.router.routes.pop()


def test_the_pages_socket_is_for_signed_in_browsers_on_our_own_pages(site: Site):
    path = f"{site.address}/_nicegui_ws/socket.io/?EIO=4&transport=polling"
    cookie = {"Cookie": f"{COOKIE}={site.session()}"}
    assert httpx.get(path, timeout=60).status_code == 403
    assert httpx.get(path, headers={"Cookie": f"{COOKIE}=guessed"}, timeout=60).status_code == 403
    assert httpx.get(path, headers={**cookie, "Origin": "https://evil.example"}, timeout=60).status_code == 403
    assert httpx.get(path, headers={**cookie, "Origin": site.address}, timeout=60).status_code == 200


def test_what_is_not_there_is_said_in_the_style_of_whoever_asks(site: Site):
    assert httpx.get(f"{site.address}/nothing", timeout=60).text == ""
    page = httpx.get(f"{site.address}/nothing", headers={"Accept": "text/html"}, timeout=60)
    assert page.status_code == 404
    assert "There is nothing at this address." in page.text
    assert httpx.get(f"{site.address}/static/x/..%2fsign_in.py", timeout=60).status_code == 404
