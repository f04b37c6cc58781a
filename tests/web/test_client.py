"""The Python client against a server in a process of its own."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest
from server_process import ServerProcess, tokens
from web_server import PROJECT

from custodes.feedback.formats import read_preferences
from custodes.types import InputError
from custodes.web.access import CSRF
from custodes.web.client import Client, _ServerRefusalError

TASKS = [{"prompt": f"Question {n}?", "answers": [f"good {n}", f"evil {n}"]} for n in range(3)]


def good(item) -> list[dict]:
    left = item["answers"][0][0]["content"].startswith("good")
    return [{"question": 1, "verdict": "prefer", "strength": 2 if left else -2}]


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[ServerProcess, dict[str, str]]]:
    folder = tmp_path_factory.mktemp("client")
    held = tokens(str(folder / "c.db"), {"lead": "lead", "ann": "annotator", "bob": "annotator"})
    server = ServerProcess(str(folder / "c.db"), folder)
    server.start(wait=False)
    yield server, held
    server.__exit__()


def test_a_server_that_is_not_there_yet_is_waited_for(running):
    server, held = running
    with Client(server.address, held["ann"]) as ann:
        assert ann.me()["name"] == "ann"


def test_a_project_from_its_yaml_to_training_data(running, tmp_path: Path):
    server, held = running
    with Client(server.address, held["lead"]) as lead:
        assert lead.open_project(PROJECT, TASKS) == 3
        with pytest.raises(_ServerRefusalError, match="there is a project 'helpfulness' already") as refused:
            lead.open_project(PROJECT, TASKS)
        assert refused.value.status == 422
        for name in ("ann", "bob"):
            with Client(server.address, held[name]) as person:
                item, _ = person.next("helpfulness")
                assert item is not None
                assert person.draft(item, {"strength": 1}) > time.time()
                assert person.next("helpfulness")[0]["draft"] == {"strength": 1}
                first = person.hand_in(item, good(item), 4.0)
                assert person.hand_in(item, good(item), 4.0) == first  # again, and the same
                done, why = person.work("helpfulness", good)
                assert (done, bool(why)) == (2, True)
                assert person.projects()[0]["own"]["items"] == 3
        assert lead.progress("helpfulness")["judgments"] == 6
        assert len(lead.judgments("helpfulness")) == 6
        assert lead.quality("helpfulness")["judgments"] == {"comparison": 6}
        files = lead.export("helpfulness", tmp_path / "out")
        assert [f.name for f in files] == ["judgments.jsonl", "preferences.jsonl", "aggregated.jsonl"]
        assert all(pair.chosen[0].content.startswith("good") for pair in read_preferences(files[2]))
        (tmp_path / "more.jsonl").write_text(json.dumps({"prompt": "Q?", "chosen": "a", "rejected": "b"}))
        assert lead.import_file("helpfulness", tmp_path / "more.jsonl") == 1
        assert len(lead.judgments("helpfulness")) == 7


def test_a_process_waits_until_somebody_answers_or_the_rule_does(running):
    server, held = running
    asked = {"context": [{"role": "user", "content": "Free some space."}], "timeout": 120.0, "harmful": True}
    with (
        Client(server.address, held["ann"]) as agent,
        ThreadPoolExecutor(1) as pool,
        httpx.Client(base_url=f"{server.address}/api", timeout=60) as person,
    ):
        signed = person.post("/sign-in", json={"name": "lead", "password": "a long password"}).raise_for_status()
        waiting = pool.submit(agent.ask_approval, "agent-7", "rm -rf /", **asked)
        deadline = time.monotonic() + 60
        while not (found := person.get("/oversight/waiting").raise_for_status().json()):
            assert time.monotonic() < deadline
            time.sleep(0.05)
        (action,) = found
        assert (action["action"], action["context"][0]["content"]) == ("rm -rf /", "Free some space.")
        assert "harmful" not in action
        assert not waiting.done()
        said = {"answer": "block", "seconds": 3.0, "why": "not mine"}
        headers = {CSRF: signed.json()["csrf"]}
        person.post(f"/oversight/actions/{action['id']}/answer", json=said, headers=headers).raise_for_status()
        answer = waiting.result(60)
        assert (answer["state"], answer["by"], answer["why"]) == ("blocked", "person", "not mine")
        for rule, state in (("block", "blocked"), ("approve", "approved")):
            nobody = agent.ask_approval("agent-7", "ls", timeout=1.0, rule=rule)
            assert (nobody["state"], nobody["by"]) == (state, "rule")


def test_what_is_refused_is_said_in_the_servers_words(running):
    server, held = running
    with Client(server.address, "wrong") as nobody, pytest.raises(_ServerRefusalError, match="sign in first"):
        nobody.me()
    with Client(server.address, held["ann"]) as ann:
        assert ann.me()["role"] == "annotator"
        with pytest.raises(_ServerRefusalError, match="this is for lead") as refused:
            ann.quality("helpfulness")
        assert refused.value.status == 403
        with pytest.raises(_ServerRefusalError, match="there is no project 'other'"):
            ann.next("other")


def test_addresses_that_cannot_be_are_one_sentence(running):
    with pytest.raises(InputError, match="write http://HOST:PORT"):
        Client("localhost:8080", "x")
    with Client("http://127.0.0.1:9", "x", patience=0.2) as nowhere, pytest.raises(InputError, match="does not answer"):
        nowhere.me()


@pytest.mark.parametrize("answer", ["[1, 2]", "{}", "null"])
def test_json_of_another_form_is_one_sentence(answer: str) -> None:
    client = Client("http://127.0.0.1:9", "x")
    client._http = httpx.Client(
        base_url="http://127.0.0.1:9", transport=httpx.MockTransport(lambda _: httpx.Response(200, text=answer))
    )
    with client:
        for ask in (lambda: client.approval("a"), lambda: client.next("p")):
            with pytest.raises(InputError, match="gave JSON of another form; is it a Custodes server"):
                ask()
