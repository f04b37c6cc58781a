"""The quality desk: every number has its interval and its count, and says what the judgments say."""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from web_server import PROJECT, TEMPLATE, Person, Server, better_left

from custodes.feedback.items import Assistance, Item, items_from_rows
from custodes.feedback.kinds.comparison import Comparison
from custodes.feedback.project import parse_project
from custodes.types import Annotator, Episode, Message, Task
from custodes.web.desk import mark_of, quality_of
from custodes.web.effort import accuracy_by_budget
from custodes.web.export import export_project
from custodes.web.projects import create_project, open_project
from custodes.web.second_looks import by_chance

NEXT = "/projects/helpfulness/next"
GOLD = PROJECT.replace("gold_share: 0.0", "gold_share: 0.6").replace("# pay_per_hour: 20.0", "pay_per_hour: 18.0")


def work(person: Person, right: bool = True, seconds: float = 10.0, clock: Any = None) -> None:
    while (item := person.call("POST", NEXT).json()["item"]) is not None:
        left = item["answers"][0][0]["content"].startswith("good")
        answers = [{"question": 1, "verdict": "prefer", "strength": 2 if left == right else -2}]
        body = {"answers": answers, "seconds": seconds}
        assert person.call("POST", f"/assignments/{item['assignment']}/judgments", body).status_code == 201
        if clock:
            clock.now += 600


def test_time_money_coverage_and_throughput(server: Server):
    text = GOLD.replace("gold_share: 0.6", "gold_share: 0.0")
    rows = [{"prompt": f"Q{n}?", "answers": [f"good {n}", f"evil {n}"], "tags": ["law"] * (n > 2)} for n in range(4)]
    create_project(server.database, text, items_from_rows(parse_project(text), rows), "test")
    work(server.person("ann"), seconds=10.0, clock=server.clock)
    work(server.person("bob", profile={"expertise": ["law"]}), seconds=30.0, clock=server.clock)
    found = server.person("lead", "lead").call("GET", "/projects/helpfulness/quality").json()
    effort, coverage = found["effort"], found["coverage"]
    assert (effort["items"], effort["people"]) == (7, 2)
    assert effort["hours"] == pytest.approx(150 / 3600)
    assert effort["seconds"]["estimate"] == pytest.approx(150 / 7)
    assert effort["cost"]["estimate"] == pytest.approx(150 / 7 * 18 / 3600)
    assert effort["per_hour"]["estimate"] == pytest.approx(3600 * 7 / 150)
    assert effort["per_hour"]["low"] < effort["per_hour"]["estimate"] or effort["per_hour"]["low"] is None
    assert sum(count["items"] for count in effort["rhythm"]["counts"]) == 7
    assert (coverage["items"], coverage["begun"], coverage["complete"]) == (4, 4, 3)
    assert coverage["by_judgments"] == {"1": 1, "2": 3}
    assert coverage["by_tag"]["law"]["begun"] == 1


def test_agreement_gold_effects_and_quarantine(server: Server):
    rows = [
        {"prompt": f"Q{n}?", "answers": [f"good {n}", f"evil {n}"], "gold": {"better": 1} if n < 6 else {}}
        for n in range(10)
    ]
    text = GOLD.replace("overlap: 2 ", "overlap: 4 ")
    create_project(server.database, text, items_from_rows(parse_project(text), rows), "test")
    people = [server.person(f"p{n}", profile={"country": "DE" if n % 2 else "FR"}) for n in range(4)]
    for n, person in enumerate(people):
        work(person, right=n != 3)
    lead, liar = server.person("lead", "lead"), people[3].account
    before = mark_of(server.database, "helpfulness")
    found = quality_of(server.database, "helpfulness")
    assert found["people"][liar]["gold"]["estimate"] == 0.0
    assert found["people"][liar]["reliability"]["high"] < found["people"][people[0].account]["reliability"]["low"]
    assert found["people"][people[0].account]["name"] == "p0"
    assert found["agreement"]["alpha"]["estimate"] < 0.9
    assert set(found["agreement_by_group"]["country"]) == {"DE", "FR"}
    assert found["effects"]["position"]["n"] == found["judgments"]["comparison"]
    assert [row["axis"] for row in found["agreement_by_axis"]] == ["overall"]
    body = {"account": liar, "why": "always the worse one"}
    assert lead.call("POST", "/projects/helpfulness/quarantine", body).status_code == 204
    assert mark_of(server.database, "helpfulness") != before
    cleaned = quality_of(server.database, "helpfulness")
    assert cleaned["people"][liar]["quarantined"]
    assert "always the worse one" in cleaned["people"][liar]["why"]
    assert cleaned["gold"]["estimate"] == 1.0 > found["gold"]["estimate"]
    assert cleaned["agreement"]["alpha"]["estimate"] == pytest.approx(1.0)


def test_accuracy_by_budget_is_what_drawing_gives(server: Server):
    rows = [{"prompt": f"Q{n}?", "answers": [f"good {n}", f"evil {n}"], "gold": {"better": 1}} for n in range(3)]
    create_project(server.database, GOLD, items_from_rows(parse_project(GOLD), rows), "test")
    for n in range(3):
        work(server.person(f"p{n}"), right=n > 0)
    found = quality_of(server.database, "helpfulness")["accuracy_by_budget"]
    assert [row["judgments"] for row in found] == [1, 2, 3]
    assert [row["estimate"] for row in found] == pytest.approx([2 / 3, 2 / 3, 1.0])  # draws even are half
    assert found[0]["n"] == 3
    assert accuracy_by_budget({}, []) == []


ASSISTED = TEMPLATE[: TEMPLATE.index("questions:")] + (
    "questions: [{kind: comparison}]\nassisted: true\nassignment: {gold_share: 0.99, repeat_share: 0.0}\n"
)


def test_help_that_is_followed_and_who_only_nods(server: Server):
    rows = [
        {
            "prompt": f"Q{n}?",
            "answers": [f"good {n}", f"evil {n}"],
            "gold": {"better": 1},
            "assistance": {"by": "critic-1", "text": f"The first is right. {n}", "says": {"better": 1 if n else 2}},
        }
        for n in range(4)
    ]
    create_project(server.database, ASSISTED, items_from_rows(parse_project(ASSISTED), rows), "test")
    ann = server.person("ann")
    while (item := ann.call("POST", NEXT).json()["item"]) is not None:
        if item["stage"] == "alone":
            body = {"answers": [{"question": 1, "verdict": "tie"}], "seconds": 5.0, "stage": "alone"}
            ann.call("POST", f"/assignments/{item['assignment']}/judgments", body)
        else:
            helped = item["prompt"][0]["content"] != "Q0?"  # the help is wrong about the first
            assert better_left(ann, item, 0.3 if helped else 4.0, stage="assisted").status_code == 201
    found = quality_of(server.database, "helpfulness")["assisted"]
    assert found["answers"] == found["changed"]["n"] == 4
    assert found["changed"]["estimate"] == 1.0
    assert (found["followed"]["estimate"], found["followed"]["n"]) == (0.75, 4)
    assert (found["rubber_stamps"]["estimate"], found["people"][ann.account]["rubber_stamps"]["n"]) == (0.75, 4)
    assert (found["accuracy"]["alone"]["estimate"], found["accuracy"]["assisted"]["estimate"]) == (0.0, 1.0)
    assert found["gain"]["low"] > 0
    caught = found["teams"]["caught"]
    assert {arm: caught[arm]["estimate"] for arm in caught} == {"person": 0.0, "critic": 0.75, "team": 1.0}


def test_models_whose_answers_were_rated_are_ranked(server: Server):
    text = TEMPLATE[: TEMPLATE.index("questions:")] + (
        "questions: [{kind: rating, answers: 3}]\nassignment: {gold_share: 0.0, repeat_share: 0.0, overlap: 2}\n"
    )
    rows = [{"prompt": f"Q{n}?", "answers": ["6", "4", "2"], "models": ["best", "fair", "worst"]} for n in range(5)]
    create_project(server.database, text, items_from_rows(parse_project(text), rows), "test")
    for name in ("ann", "bob"):
        person = server.person(name)
        while (item := person.call("POST", NEXT).json()["item"]) is not None:
            values = [int(answer[0]["content"]) for answer in item["answers"]]
            answers = [{"question": 1, "place": p, "value": v} for p, v in enumerate(values)]
            body = {"answers": answers, "seconds": 5.0}
            assert person.call("POST", f"/assignments/{item['assignment']}/judgments", body).status_code == 201
    found = quality_of(server.database, "helpfulness")
    elo = {name: of["estimate"] for name, of in found["standings"]["elo"].items()}
    assert elo["best"] > elo["fair"] > elo["worst"]
    assert found["standings"]["elo"]["best"]["n"] == 5  # problems, not raters
    assert found["standings"]["means"]["overall"]["best"]["estimate"] == 6
    assert found["agreement_by_axis"][0]["alpha"]["estimate"] == pytest.approx(1.0)


def test_a_group_on_the_desk_is_told_in_the_words_of_the_detector(server: Server):
    """A plan or a taste: the desk says both, since answers alone do not say which."""
    server.project(tasks=80)
    with server.database.reading() as connection:
        run = open_project(connection, "helpfulness")[1]
    episodes = defaultdict(list)
    for episode in server.database.ledger.episodes(run):
        episodes[episode.task.id].append(episode.id)
    rng, said = np.random.default_rng(5), []
    people = [*(f"h{n}" for n in range(14)), *(group := [f"g{n}" for n in range(4)])]
    for gap, plan, (task, pair) in zip(rng.normal(size=80), rng.random(80) < 0.5, episodes.items(), strict=True):
        for name in people:
            first = rng.random() < 1 / (1 + np.exp(-2 * gap))
            if name in group and rng.random() < 0.9:
                first = plan
            said.append(
                Comparison(
                    id=f"{name}-{task}", annotator=name, task=task, episodes=tuple(pair), strength=2 if first else -2
                )
            )
    server.database.ledger.write(run, [*(Annotator(name, "simulated") for name in people), *said])
    cluster, *_ = quality_of(server.database, "helpfulness")["clusters"]  # the tightest
    assert set(cluster["people"]) == set(group)
    assert cluster["meaning"] == "agree beyond what they see: they collude, or share a taste"


AT_RANDOM = ASSISTED.replace("assisted: true", "assisted: at random")


def test_help_by_a_coin_tells_what_it_helps_and_whom_it_misleads(server: Server, tmp_path: Path):
    rows = [
        {
            "prompt": f"Q{n}?",
            "answers": [f"good {n}", f"evil {n}"],
            "gold": {"better": 1} if n < 36 else {},
            "assistance": {
                "by": "critic-1",
                "text": f"Look at {{answer 1}}. {n}",
                "says": {"better": 1 if n % 3 else 2},
            },
        }
        for n in range(60)
    ]
    create_project(server.database, AT_RANDOM, items_from_rows(parse_project(AT_RANDOM), rows), "test")
    shown: dict[str, list[bool]] = {}
    for name in ("ann", "bob"):  # they believe the help, and toss a coin where there is none
        person, shown[name] = server.person(name), []
        while (item := person.call("POST", NEXT).json()["item"]) is not None:
            n = int(item["prompt"][0]["content"][1:-1])
            helped = bool(item["assistance"])
            shown[name].append(helped)
            assert item["stage"] is None
            assert person.call("POST", NEXT).json()["item"]["assistance"] == item["assistance"]  # the coin falls once
            good = bool(n % 3) if helped else n % 2 == 0
            left = item["answers"][0][0]["content"].startswith("good")
            assert item["assistance"] in ("", f"Look at Answer {'A' if left else 'B'}. {n}")
            answers = [{"question": 1, "verdict": "prefer", "strength": 2 if left == good else -2}]
            body = {"answers": answers, "seconds": 5.0}
            assert person.call("POST", f"/assignments/{item['assignment']}/judgments", body).status_code == 201
    flips = [helped for of in shown.values() for helped in of]
    assert len(flips) == 120
    assert 30 <= sum(flips) <= 90  # accounts are named by chance, and so fall the coins
    assert shown["ann"] != shown["bob"]
    found = quality_of(server.database, "helpfulness")
    assert found["assisted"] is None
    of = found["helped"]
    assert of["answers"] == {"alone": 120 - sum(flips), "helped": sum(flips)}
    assert of["right_about"]["right help"]["helped"]["estimate"] == 1
    assert of["right_about"]["wrong help"]["helped"]["estimate"] == 0
    assert of["right_about"]["right help"]["more"]["low"] > 0 > of["right_about"]["wrong help"]["more"]["estimate"]
    assert of["agrees"]["helped"]["estimate"] == 1 > of["agrees"]["alone"]["estimate"]
    exported = {}
    for judged in ("alone", "helped", "all"):  # gold items stay here
        export_project(server.database, "helpfulness", tmp_path / judged, judged=judged)
        told = (tmp_path / judged / "judgments.jsonl").read_text()
        exported[judged] = len(told.splitlines())
        assert ("critic-1" in told) is (judged != "alone")
    assert exported["alone"] + exported["helped"] == exported["all"] == 48
    assert min(exported.values()) > 0


def test_the_interval_of_what_help_does_covers():
    """Items differ in difficulty, people judge some with help: the truth, +.2, lies in 95 of 100 intervals, about."""
    rng, inside, runs = np.random.default_rng(3), 0, 300
    items, tasks = [], [Task(f"t{n}", (Message("user", "?"),)) for n in range(60)]
    for task in tasks:
        pair = tuple(
            Episode.written(f"{task.id}-{k}", task, (*task.messages, Message("assistant", k)), "m") for k in "ab"
        )
        items.append(Item(task.id, task, pair, {"better": pair[0].id}, assistance=Assistance("c", "x", {})))
    by_task = {item.task.id: item for item in items}
    for _ in range(runs):
        judgments = []
        for item, ease in zip(items, rng.uniform(0.1, 0.75, len(items)), strict=True):
            for name in "xyz":
                helped = rng.random() < 0.5
                right = rng.random() < ease + 0.2 * helped
                a, b = (e.id for e in item.episodes)
                common = {"id": f"{item.id}-{name}", "task": item.id, "annotator": name, "assistance": "c" * helped}
                judgments.append(Comparison(**common, episodes=(a, b), strength=2 if right else -2))
        found = by_chance(judgments, by_task)
        more = found["right"]["more"]
        inside += more["low"] <= 0.2 <= more["high"]
    print(f"coverage of help's effect on accuracy: {inside} of {runs}")
    assert 0.915 <= inside / runs <= 0.985
