"""Profiles that are typed, and the access log as it is read."""

from __future__ import annotations

import pytest
from web_server import Server

from custodes.types import InputError
from custodes.web.people import access_log, parse_profile


def test_a_profile_is_typed_line_by_line():
    text = "country: DE\n\nexpertise: law,  tax \nage: 30: 39"
    assert parse_profile(text) == {"country": "DE", "expertise": ["law", "tax"], "age": "30: 39"}
    assert parse_profile("") == {}


@pytest.mark.parametrize(
    ("text", "says"), [("a: 1\nDE", "line 2: 'DE'"), (": x", "line 1"), ("a: 1\na: 2", "'a' is there twice")]
)
def test_a_wrong_profile_names_its_line(text, says):
    with pytest.raises(InputError) as told:
        parse_profile(text)
    assert says in str(told.value)


def test_the_access_log_has_times_and_the_newest_first(server: Server):
    ann = server.person("ann")
    lead = server.person("lead", "lead")
    log = lead.call("GET", "/access").json()
    assert [entry["what"] for entry in log[:2]] == ["access: signed in", "access: joined"]
    assert log[-1]["who"] == ann.account
    assert log[0]["at"] >= log[-1]["at"]
    assert len(access_log(server.database, most=2)) == 2
