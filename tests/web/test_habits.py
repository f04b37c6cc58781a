"""Who always takes one side, does not read, or gets gold items wrong, is named on the desk; who is honest is not."""

from __future__ import annotations

from typing import Any

import pytest
from web_server import PROJECT, Person, Server

from custodes.feedback.items import items_from_rows
from custodes.feedback.project import parse_project
from custodes.web.projects import create_project

TEXT = PROJECT.replace("overlap: 2 ", "overlap: 6 ").replace("gold_share: 0.0", "gold_share: 0.5")


def judge_all(person: Person, seconds: float, strength: Any) -> int:
    done = 0
    while (item := person.call("POST", "/projects/helpfulness/next").json()["item"]) is not None:
        left = item["answers"][0][0]["content"].startswith("good")
        said = strength(left, done)
        answers = [
            {"question": 1, "verdict": "prefer", "strength": said} if said else {"question": 1, "verdict": "tie"}
        ]
        body = {"answers": answers, "seconds": seconds}
        assert person.call("POST", f"/assignments/{item['assignment']}/judgments", body).status_code == 201
        done += 1
    return done


@pytest.fixture
def asked(server: Server) -> Server:
    rows: list[dict[str, Any]] = [
        {"prompt": f"Question {n}?", "answers": [f"good {n}", f"evil {n}"]} for n in range(39)
    ]
    for row in rows[:13]:
        row["gold"] = {"better": 1}
    create_project(server.database, TEXT, items_from_rows(parse_project(TEXT), rows), "test")
    return server


def test_whoever_always_prefers_the_first_in_a_second_and_a_half_needs_a_look(asked: Server):
    lead = asked.person("lead", "lead")
    people = {
        "eager": asked.person("eager"),
        "honest": asked.person("honest"),
        "tired": asked.person("tired"),
        "wrong": asked.person("wrong"),
    }
    assert judge_all(people["eager"], 1.5, lambda left, n: 2) > 30
    judge_all(people["honest"], 12.0, lambda left, n: (2 if left else -2) * (-1 if n % 8 == 3 else 1))
    judge_all(people["tired"], 9.0, lambda left, n: 0)
    judge_all(people["wrong"], 9.0, lambda left, n: -2 if left else 2)
    found = lead.call("GET", "/projects/helpfulness/quality").json()["habits"]
    named = {name: {h["what"]: h["said"] for h in found.get(p.account, [])} for name, p in people.items()}
    assert named["honest"] == {}
    assert {"side", "pace"} <= set(named["eager"])
    assert "shown first" in named["eager"]["side"]
    assert "1.5 seconds" in named["eager"]["pace"]
    assert set(named["tired"]) == {"same", "gold"}
    assert set(named["wrong"]) == {"gold"}
    assert "0 of 13 gold items" in named["wrong"]["gold"]


def test_a_few_judgments_name_nobody(asked: Server):
    ann, lead = asked.person("ann"), asked.person("lead", "lead")
    for _ in range(4):
        item = ann.call("POST", "/projects/helpfulness/next").json()["item"]
        body = {"answers": [{"question": 1, "verdict": "prefer", "strength": 1}], "seconds": 1.0}
        ann.call("POST", f"/assignments/{item['assignment']}/judgments", body)
    assert lead.call("GET", "/projects/helpfulness/quality").json()["habits"] == {}
