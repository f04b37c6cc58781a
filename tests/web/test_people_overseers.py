"""A run's questions to the people of a server: answered once, waited for, and never lost."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import httpx
import pytest
from server_process import ServerProcess, free_port, tokens
from serving import serving

from custodes.feedback.oversight import BY_RULE, EpisodeOversight, OverseerLost, Oversight, OversightOptions
from custodes.types import InputError, Message
from custodes.web.access import CSRF


class Answering(threading.Thread):
    """A person who blocks whatever says "rm", until told to stop."""

    def __init__(self, address: str) -> None:
        super().__init__(daemon=True)
        self.address, self.done, self.seen = address, threading.Event(), []

    def run(self) -> None:
        while not self.done.is_set():
            try:
                with httpx.Client(base_url=f"{self.address}/api", timeout=10) as person:
                    signed = person.post("/sign-in", json={"name": "lead", "password": "a long password"})
                    headers = {CSRF: signed.raise_for_status().json()["csrf"]}
                    while not self.done.is_set():
                        for action in person.get("/oversight/waiting").raise_for_status().json():
                            said = {"answer": "block" if "rm" in action["action"] else "approve", "seconds": 0.01}
                            person.post(f"/oversight/actions/{action['id']}/answer", json=said, headers=headers)
                            self.seen.append(action["action"])
                        time.sleep(0.05)
            except httpx.HTTPError:
                time.sleep(0.05)


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[ServerProcess, dict[str, str]]]:
    db = f"sqlite:///{tmp_path}/custodes.db"
    held = tokens(db, {"agent": "annotator", "lead": "lead"})
    monkeypatch.setenv("CUSTODES_TOKEN", held["agent"])
    with ServerProcess(db, tmp_path) as server:
        yield server, held


class _Page(BaseHTTPRequestHandler):
    """A page of something else."""

    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Length", "5")
        self.end_headers()
        self.wfile.write(b"<html")

    def log_message(self, *arguments: object) -> None:
        pass


def options(server: ServerProcess, **more: object) -> OversightOptions:
    return OversightOptions(oversight=server.address, **more)  # type: ignore[arg-type]


def test_people_answer_and_a_server_that_dies_loses_nothing(
    world: tuple[ServerProcess, dict[str, str]], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    server, _ = world
    person = Answering(server.address)
    person.start()

    def episode(**more: object) -> EpisodeOversight:
        return EpisodeOversight(Oversight(options(server, **more), tmp_path / "answers", 0), "episode 1", "policy-1")

    said, impatient = episode(), episode(oversight_patience=2.0)
    context = [Message("user", "Free some space.")]
    first = said.answer(context, "ls", None)
    second = said.answer(context, "rm -r build", True)
    assert first
    assert second
    assert (first.approved, second.approved) == (True, False)
    assert second.who not in ("", BY_RULE)
    assert second.waited > 0
    person.done.set()
    person.join()
    oversight = said.oversight
    server.kill()
    with pytest.raises(OverseerLost, match="the overseers' server has been away for"):
        impatient.answer(context, "rm -r src", None)
    assert "It is asked again for up to 2 s" in capsys.readouterr().err
    with pytest.raises(InputError, match="does not answer"):
        episode()
    server.start()
    person = Answering(server.address)
    person.start()
    again = episode()  # as the same command would: what was answered is not asked again
    assert again.oversight is not oversight
    answers = [again.answer(context, action, None) for action in ("ls", "rm -r build", "rm -r src")]
    person.done.set()
    person.join()
    assert answers[:2] == [first, second]
    assert answers[2]
    assert not answers[2].approved
    assert person.seen == ["rm -r src"]


def test_a_question_asked_twice_is_one_question(world: tuple[ServerProcess, dict[str, str]], tmp_path: Path) -> None:
    server, held = world
    asked = []
    for folder in ("before", "after"):  # killed before the answer came, so that nothing was kept here
        oversight = Oversight(options(server), tmp_path / folder, 0)
        waiting = threading.Thread(target=_asked_until_stopped, args=(oversight,))
        waiting.start()
        headers = {"Authorization": f"Bearer {held['lead']}"}
        deadline = time.monotonic() + 60
        while not (found := httpx.get(f"{server.address}/api/oversight/waiting", headers=headers, timeout=10).json()):
            assert time.monotonic() < deadline
            time.sleep(0.05)
        oversight.stop()
        waiting.join(60)
        asked.append([action["id"] for action in found])
    assert asked[0] == asked[1]


def _asked_until_stopped(oversight: Oversight) -> None:
    with contextlib.suppress(OverseerLost):
        EpisodeOversight(oversight, "episode 1", "policy-1").answer((), "ls", None)


def test_the_rule_answers_where_nobody_does(world: tuple[ServerProcess, dict[str, str]], tmp_path: Path) -> None:
    server, _ = world
    oversight = Oversight(options(server, oversight_timeout=0.2), tmp_path / "answers", 0)
    answer = EpisodeOversight(oversight, "e", "p").answer((), "ls", None)
    assert answer
    assert (answer.approved, answer.who) == (False, BY_RULE)


def test_a_wrong_token_and_an_address_that_is_no_server_are_one_sentence_each(
    world: tuple[ServerProcess, dict[str, str]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    server, _ = world
    monkeypatch.setenv("CUSTODES_TOKEN", "wrong")
    with pytest.raises(InputError, match=r"--oversight http.*: .*sign in"):
        Oversight(options(server), tmp_path / "answers", 0)
    with (
        serving(ThreadingHTTPServer(("127.0.0.1", 0), _Page)) as other,
        pytest.raises(InputError, match="is it a Custodes server"),
    ):
        Oversight(OversightOptions(oversight=f"http://127.0.0.1:{other.server_address[1]}"), tmp_path / "answers", 0)
    nowhere = f"http://127.0.0.1:{free_port()}"
    with pytest.raises(InputError, match="does not answer"):
        Oversight(OversightOptions(oversight=nowhere), tmp_path / "answers", 0)
