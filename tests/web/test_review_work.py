"""Reviews by people: bugs put in, critiques written and rated, and judgments before and after help."""

from __future__ import annotations

import json
from typing import Any

import pytest
from web_server import TEMPLATE, Person, Server

from custodes.feedback.items import items_from_rows
from custodes.feedback.kinds.comment import Comment
from custodes.feedback.kinds.comparison import Comparison
from custodes.feedback.kinds.correction import Correction
from custodes.feedback.kinds.demonstration import Demonstration
from custodes.feedback.kinds.rating import Rating
from custodes.feedback.project import parse_project
from custodes.types import InputError
from custodes.web.export import read_project
from custodes.web.projects import create_project

HEAD = TEMPLATE[: TEMPLATE.index("questions:")]
CODE = "def total(xs):\n    return sum(xs)\n"
BROKEN = "def total(xs):\n    return sum(xs[1:])\n"
NEXT = "/projects/helpfulness/next"


def opened(server: Server, rest: str, *rows: dict[str, Any]) -> None:
    text = HEAD + rest + "\nassignment: {gold_share: 0.0, repeat_share: 0.0}\n"
    create_project(server.database, text, items_from_rows(parse_project(text), rows), "test")


def hand_in(person: Person, item: dict[str, Any], *answers: dict[str, Any], seconds: float = 9.0, **more: Any) -> Any:
    body = {"answers": list(answers), "seconds": seconds, **more}
    return person.call("POST", f"/assignments/{item['assignment']}/judgments", body)


def content(server: Server) -> Any:
    return read_project(server.database, "helpfulness", with_gold=True, with_alone=True)


def test_a_tamper_is_a_new_answer_whose_correction_is_the_code_as_it_was(server: Server):
    opened(server, "questions: [{kind: tamper}]", {"prompt": "Write total.", "answers": [CODE]})
    ann = server.person("ann")
    item = ann.call("POST", NEXT).json()["item"]
    same = hand_in(ann, item, {"question": 1, "text": CODE, "description": "nothing"})
    assert "put a bug into it" in same.json()["detail"]
    tamper = {"question": 1, "text": BROKEN, "description": "The first element is left out."}
    assert hand_in(ann, item, tamper).status_code == 201
    assert hand_in(ann, item, tamper).status_code == 201  # again: nothing new
    found = content(server)
    correction, description = found.judgments
    assert isinstance(correction, Correction)
    assert isinstance(description, Comment)
    made = found.episodes[correction.episodes[0]]
    assert (made.completion, correction.text) == (BROKEN, CODE)
    assert made.policy == f"tamper by {ann.account}"
    assert description.episodes == (made.id,)
    assert description.text == "The first element is left out."


def test_four_critiques_are_rated_on_every_scale_with_the_bug_told(server: Server):
    axes = "axes: [{name: cbi, title: CBI}]\n"
    rest = "questions:\n  - {kind: rating, axis: cbi, answers: 4}\n  - {kind: rating, answers: 4}\n"
    text = HEAD[: HEAD.index("axes:")] + axes + rest + "assignment: {gold_share: 0.0, repeat_share: 0.0}\n"
    row = {"prompt": "Review it.", "answers": list("abcd"), "models": list("wxyz"), "reference": "It leaves one out."}
    create_project(server.database, text, items_from_rows(parse_project(text), [row]), "test")
    ann = server.person("ann")
    item = ann.call("POST", NEXT).json()["item"]
    assert item["reference"] == "It leaves one out."
    assert sorted(a[0]["content"] for a in item["answers"]) == list("abcd")
    ratings = [{"question": q, "place": p, "value": 1 + p} for q in (1, 2) for p in range(4)]
    said = hand_in(ann, item, *ratings[:-1])
    assert (said.status_code, said.json()["detail"]) == (422, "question 2 has no answer for place 3.")
    assert hand_in(ann, item, *ratings).status_code == 201
    judgments = content(server).judgments
    assert len(judgments) == 8
    assert all(isinstance(j, Rating) for j in judgments)


@pytest.mark.parametrize(("share", "kind"), [(1.0, Correction), (0.0, Demonstration)])
def test_critiques_from_the_given_one_and_from_nothing(server: Server, share: float, kind: type):
    row = {"prompt": "Review it.", "answers": ["a critique"], "models": ["critic-1"]}
    opened(server, f"questions: [{{kind: critique, prefilled: {share}}}]", row)
    ann = server.person("ann")
    item = ann.call("POST", NEXT).json()["item"]
    assert len(item["answers"]) == share
    answer = {"question": 1, "text": "another"} | ({"place": 0} if share else {})
    assert hand_in(ann, item, answer).status_code == 201
    (judgment,) = content(server).judgments
    assert isinstance(judgment, kind)
    assert judgment.assistance == ("critic-1" if share else "")


def test_a_test_of_the_help_is_run_again_by_those_who_see_it(server: Server):
    test = "from mine import twice\n\n\ndef test_twice():\n    assert twice(2) == 4\n"
    rows = [
        {"module": "mine", "code": f"def twice(x):\n    return {body}\n", "test": test}
        for body in ("x + 1", "x * 2", "1 / 0", "(")
    ]
    help_ = {"by": "critic-1", "text": "It adds.", "tests": rows}
    opened(
        server,
        "questions: [{kind: comparison}]\nassisted: true",
        {"prompt": "Q?", "answers": ["a", "b"], "assistance": help_},
    )
    ann, bob = server.person("ann"), server.person("bob")
    item = ann.call("POST", NEXT).json()["item"]
    where = f"/assignments/{item['assignment']}/tests"
    assert item["tests"] == []
    assert ann.call("POST", f"{where}/0").status_code == 404  # judge alone first
    hand_in(ann, item, {"question": 1, "verdict": "tie"}, stage="alone")
    item = ann.call("POST", NEXT).json()["item"]
    assert item["tests"] == [test] * 4
    assert "return x + 1" not in json.dumps(item)
    said = [ann.call("POST", f"{where}/{n}").json()["came"] for n in range(4)]
    assert said[:2] == ["It fails again: AssertionError.", "It passes."]
    assert said[2] == "It fails again: ZeroDivisionError: division by zero."
    assert said[3].startswith("Not loaded: SyntaxError")
    assert ann.call("POST", f"{where}/4").status_code == 404
    assert bob.call("POST", f"{where}/0").status_code == 404
    (run,) = (r.id for r in server.database.ledger.runs() if r.recipe.startswith("project"))
    ran = [d for d in server.database.ledger.decisions(run) if d.what == "test run again"]
    assert len(ran) == 4
    assert "test 1: AssertionError" in ran[0].why


@pytest.mark.parametrize(
    ("test", "said"),
    [
        ({"module": "not a name", "code": "x", "test": "y"}, "module"),
        ({"module": "mine", "code": "", "test": "y"}, "code"),
        ({"module": "mine", "code": "x"}, "test"),
    ],
)
def test_a_test_that_cannot_be_run_is_refused_with_its_field(test: dict[str, str], said: str):
    row = {"prompt": "Q?", "answers": ["a", "b"], "assistance": {"by": "c", "text": "t", "tests": [test]}}
    with pytest.raises(InputError, match=rf"tasks, row 1, field 'assistance.tests.0.{said}'"):
        items_from_rows(parse_project(HEAD + "questions: [{kind: comparison}]"), [row])


HELP = {"by": "critic-1", "text": "The second one invents a date.", "says": {"better": 1}}


def test_help_comes_after_a_judgment_alone_and_both_are_kept(server: Server):
    row = {"prompt": "Q?", "answers": ["good", "evil"], "assistance": HELP}
    opened(server, "questions: [{kind: comparison}]\nassisted: true", row)
    ann = server.person("ann")
    item = ann.call("POST", NEXT).json()["item"]
    assert (item["stage"], item["assistance"]) == ("alone", "")
    tie, better = {"question": 1, "verdict": "tie"}, {"question": 1, "verdict": "prefer", "strength": 2}
    assert "stage" in hand_in(ann, item, tie).json()["detail"]
    assert hand_in(ann, item, better, stage="assisted").status_code == 409
    assert hand_in(ann, item, tie, stage="alone").status_code == 201
    assert hand_in(ann, item, tie, stage="alone").status_code == 201  # again: nothing new
    assert hand_in(ann, item, better, stage="alone").status_code == 409  # the help has been seen
    again = ann.call("POST", NEXT).json()["item"]
    assert again["assignment"] == item["assignment"]
    assert (again["stage"], again["assistance"]) == ("assisted", HELP["text"])
    assert again["said_alone"] == [tie]
    assert hand_in(ann, again, better, seconds=4.0, stage="assisted").status_code == 201
    assert ann.call("POST", NEXT).json()["item"] is None
    (run,) = (r.id for r in server.database.ledger.runs() if r.recipe.startswith("project"))
    first, second = server.database.ledger.judgments(run)
    assert isinstance(second, Comparison)
    assert (first.verdict, first.assistance, second.strength, second.assistance) == ("tie", "", 2, "critic-1")
    assert first.shown != second.shown
