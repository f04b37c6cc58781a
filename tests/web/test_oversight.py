"""A policy's process asks, a person answers, and a rule answers for nobody."""

from __future__ import annotations

import threading
import time

import pytest
from web_server import Person, Server

from custodes.feedback.kinds.label import Label

ACTION = {"policy": "agent-7", "action": "rm -rf build", "context": [{"role": "user", "content": "Clean up."}]}


def asked(person: Person, **more: object) -> str:
    said = person.call("POST", "/oversight/actions", {**ACTION, **more})
    assert said.status_code == 201, said.text
    return str(said.json()["id"])


def answered(person: Person, id_: str, wait: float = 0.0) -> dict:
    return person.call("GET", f"/oversight/actions/{id_}?wait={wait}").json()


def decide(person: Person, id_: str, answer: str, seconds: float = 3.0, why: str = ""):
    body = {"answer": answer, "seconds": seconds, "why": why}
    return person.call("POST", f"/oversight/actions/{id_}/answer", body)


def test_a_process_that_waits_gets_the_persons_answer(anywhere: Server):
    agent, rev = anywhere.person("agent"), anywhere.person("rev", "reviewer")
    id_ = asked(agent)
    assert answered(agent, id_)["state"] == "waiting"
    (shown,) = rev.call("GET", "/oversight/waiting").json()
    assert (shown["id"], shown["action"]) == (id_, "rm -rf build")
    later = threading.Timer(0.3, lambda: decide(rev, id_, "block", why="build is not ours"))
    later.start()
    began = time.monotonic()
    found = answered(agent, id_, wait=20)
    later.join()
    assert (found["state"], found["by"], found["why"]) == ("blocked", "person", "build is not ours")
    assert 0.2 < time.monotonic() - began < 15
    assert decide(rev, id_, "approve").status_code == 409


@pytest.mark.parametrize(("rule", "state"), [("block", "blocked"), ("approve", "approved")])
def test_the_rule_answers_when_nobody_did_in_time(server: Server, rule: str, state: str):
    agent, rev = server.person("agent"), server.person("rev", "reviewer")
    id_ = asked(agent, rule=rule, timeout=60.0)
    server.clock.now += 61
    found = answered(agent, id_)
    assert (found["state"], found["by"]) == (state, "rule")
    assert "when its time ended" in decide(rev, id_, "approve").json()["detail"]
    assert rev.call("GET", "/oversight/waiting").json() == []


def test_everything_is_in_the_ledger(server: Server):
    agent, rev = server.person("agent"), server.person("rev", "reviewer")
    id_, late = asked(agent, harmful=True), asked(agent, timeout=1.0)
    decide(rev, id_, "block", seconds=4.5)
    server.clock.now += 2
    answered(agent, late)
    ledger = server.database.ledger
    (run,) = (r.id for r in ledger.runs() if r.recipe == "oversight")
    assert [e.completion for e in ledger.episodes(run)] == ["rm -rf build"] * 2
    assert [t.metadata.get("harmful") for t in ledger.tasks(run)] == [True, None]
    (said,) = ledger.judgments(run)
    assert isinstance(said, Label)
    assert (said.value, said.seconds, said.annotator) == ("block", 4.5, rev.account)
    assert {d.what for d in ledger.decisions(run)} == {"action blocked", "action blocked by time-out"}
    assert ledger.verify().ok


def test_what_people_catch_and_what_it_costs(server: Server):
    agent, rev, lead = server.person("agent"), server.person("rev", "reviewer"), server.person("lead", "lead")
    for harmful, answer in (
        (True, "block"),
        (True, "approve"),
        (False, "approve"),
        (False, "approve"),
        (None, "block"),
    ):
        id_ = asked(agent, harmful=harmful)
        decide(rev, id_, answer, seconds=6.0)
    unknown = id_
    asked(agent, harmful=True, timeout=1.0)
    server.clock.now += 2
    found = lead.call("GET", "/oversight/measures").json()
    assert (found["by_people"]["caught"]["estimate"], found["by_people"]["caught"]["n"]) == (0.5, 2)
    assert (found["caught"]["estimate"], found["caught"]["n"]) == (pytest.approx(2 / 3), 3)
    assert (found["stopped_for_nothing"]["estimate"], found["stopped_for_nothing"]["n"]) == (0.0, 2)
    assert found["seconds_in_all"] == 30.0
    assert found["answered_in_time"]["n"] == 6
    assert lead.call("PUT", f"/oversight/actions/{unknown}/truth", {"harmful": True}).status_code == 204
    assert lead.call("PUT", f"/oversight/actions/{unknown}/truth", {"harmful": False}).status_code == 409
    assert lead.call("GET", "/oversight/measures").json()["by_people"]["caught"]["n"] == 3


def test_the_person_does_not_see_the_truth_and_a_token_does_not_decide(server: Server):
    lead, rev = server.person("lead", "lead"), server.person("rev", "reviewer")
    id_ = asked(lead, harmful=True)
    assert "harmful" not in rev.call("GET", "/oversight/waiting").text
    assert decide(lead, id_, "approve").status_code == 422  # their own account's
    assert rev.call("GET", f"/oversight/actions/{id_}").status_code == 404
    _, secret = server.database.accounts.create_token(rev.account, "t", ["read", "annotate", "manage", "propose"], 1)
    headers = {"Authorization": f"Bearer {secret}"}
    path = f"/api/oversight/actions/{id_}/answer"
    assert server.client().post(path, json={"answer": "approve", "seconds": 1.0}, headers=headers).status_code == 403


def test_two_people_at_once_give_one_answer(anywhere: Server):
    agent = anywhere.person("agent")
    people = [anywhere.person(f"r{n}", "reviewer") for n in range(4)]
    id_ = asked(agent)
    codes: list[int] = []
    threads = [threading.Thread(target=lambda p=p: codes.append(decide(p, id_, "approve").status_code)) for p in people]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(codes) == [204, 409, 409, 409]
