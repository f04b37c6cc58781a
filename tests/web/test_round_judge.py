"""People judge between rounds: the run puts pairs into their project, waits, and goes on after a week to the same result."""

from __future__ import annotations

import sys
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from web_server import PROJECT, Person, Server

sys.path.append(str(Path(__file__).parents[1] / "loop"))
import rounds_world as small

from custodes.lm.loading import load
from custodes.loop import round_judges
from custodes.loop.policy_optimise import policy_optimise
from custodes.loop.round_judges import PairAnswers, Waiting
from custodes.types import Episode, InputError, Message, Task
from custodes.web.judges.project import ProjectJudge
from custodes.web.projects import close_project

NEXT = "/projects/helpfulness/next"


def shorter_left(person: Person, item: dict[str, Any]) -> None:
    """Hands in a preference for the shorter answer, wherever it is shown."""
    lengths = [len(answer[0]["content"]) for answer in item["answers"]]
    answers = [{"question": 1, "verdict": "prefer", "strength": 2 if lengths[0] <= lengths[1] else -2}]
    told = person.call("POST", f"/assignments/{item['assignment']}/judgments", {"answers": answers, "seconds": 5.0})
    assert told.status_code == 201, told.text


def work_off(people: list[Person], most: int = 10_000) -> int:
    """Everybody judges what there is, at most so many; how many were judged."""
    done = 0
    while done < most:
        items = [(person, person.call("POST", NEXT).json()["item"]) for person in people]
        if all(item is None for _, item in items):
            break
        for person, item in items:
            if item is not None and done < most:
                shorter_left(person, item)
                done += 1
    return done


@pytest.fixture
def people(server: Server) -> list[Person]:
    server.project(PROJECT.replace("overlap: 2 ", "overlap: 1 "), tasks=1)
    return [server.person(f"p{n}") for n in range(2)]


def pair(n: int) -> tuple[Episode, Episode]:
    task = Task(f"t{n}", (Message("user", f"Say {n}."),))
    a, b = (Episode.written(f"{n}{x}", task, (*task.messages, Message("assistant", x)), "policy") for x in ("a", "bbb"))
    return a, b


@pytest.fixture
def where(server: Server) -> str:
    return server.database.name


def test_pairs_are_asked_once_and_a_finished_project_is_open_again(
    server: Server, people: list[Person], where: str
) -> None:
    judge = ProjectJudge("helpfulness", where)
    pairs = [pair(0), pair(1)]
    waiting = judge.ask("a probe", pairs)
    assert waiting == Waiting(f"project helpfulness in {where}", 0, 2)
    assert judge.ask("a probe", pairs) == waiting  # nothing is added twice
    work_off(people)
    told = judge.ask("a probe", pairs)
    assert isinstance(told, PairAnswers)
    assert {frozenset(j.episodes) for j in told.judgments} == {frozenset((a.id, b.id)) for a, b in pairs}
    assert all(round_judges.preference(told.judgments, p) == 1 for p in pairs)
    assert told.seconds > 0
    assert {a.id for a in told.annotators} <= {p.account for p in people}
    assert people[0].call("POST", NEXT).json()["item"] is None  # which ends the project
    assert isinstance(judge.ask("another", [pair(2)]), Waiting)
    assert work_off(people) == 1
    assert server.database.ledger.verify().ok


def test_what_cannot_be_asked_is_refused(server: Server, people: list[Person], where: str) -> None:
    with pytest.raises(InputError, match="there is no project 'other'"):
        ProjectJudge("other", where)
    judge = ProjectJudge("helpfulness", where)
    close_project(server.database, "helpfulness", "enough", "test")
    with pytest.raises(InputError, match="has ended: enough; its people cannot be asked any more"):
        judge.ask("a probe", [pair(0)])


def test_a_run_waits_says_since_when_and_goes_on_after_a_week(
    server: Server, people: list[Person], where: str, tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = small.make_world(tmp_path / "world", tiny_model)
    rounds = small.rounds_of(
        judge="project:helpfulness", db=where, probe_every=2, labels=4, final_labels=2, wait_hours=1e-9
    )
    own = small.config(world, tiny_model, "weeks", gold="", relabelling=rounds)
    monkeypatch.setattr(round_judges, "POLL", 0.0)
    began, said = round_judges._now(), []
    for week in range(8):
        monkeypatch.setattr(round_judges, "_now", lambda week=week: began + timedelta(weeks=week))
        try:
            done = policy_optimise(own)
            break
        except InputError as error:
            said.append(str(error))
            work_off(people, 1 if week == 0 else 10_000)  # the first time not all of it
    assert (
        f"0 of 2 judgments of the probe of grpo, step 2 are there; waiting since {began:%Y-%m-%d %H:%M} UTC" in said[0]
    )
    assert "1 of 2 judgments" in said[1]
    assert f"waiting since {began:%Y-%m-%d %H:%M} UTC (7.0 days). The same command goes on waiting." in said[1]
    assert any("the pairs after grpo" in sentence for sentence in said)
    # all these pairs are answered by now: the same run on them is never interrupted
    quick = replace(own, out=world / "quick")
    straight = policy_optimise(quick)
    assert load(own.out).fingerprint() == load(quick.out).fingerprint()
    for run in (done, straight):
        told = run.to_dict()["runs"][0]["rounds"]
        assert [r["stopped"] for r in told["rounds"]] == ["alarm", "alarm"]
        assert told["labelled"]["grpo"]["judge"] == "project:helpfulness"
        assert told["labelled"]["grpo"]["judgments"] == 4
    assert server.database.ledger.verify().ok
