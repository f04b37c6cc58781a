"""A project in one YAML file: sound ones are read, wrong ones are told by line and field."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from custodes.cli import main
from custodes.feedback.items import follows, gold_result, read_items
from custodes.feedback.kinds.comparison import Comparison
from custodes.feedback.kinds.label import Label
from custodes.feedback.kinds.rating import Rating
from custodes.feedback.project import TEMPLATE, parse_project
from custodes.feedback.questions import Answer
from custodes.types import Episode, InputError, Message, Task

PROJECT = parse_project(TEMPLATE)


def test_the_template_is_a_sound_project_and_names_every_field():
    assert PROJECT.name == "helpfulness"
    for part in (type(PROJECT), type(PROJECT.assignment), type(PROJECT.stopping)):
        assert all(f"{name}:" in TEMPLATE for name in part.model_fields)


@pytest.mark.parametrize(
    ("was", "becomes", "field"),
    [
        ("  overlap: 3 ", "  overlap: three ", "assignment.overlap"),
        ("  overlap: 3 ", "  overlap: 0 ", "assignment.overlap"),
        ("  gold_share: 0.1", "  gold_shar: 0.1", "assignment.gold_shar"),
        ("title: Which", "titel: Which", "titel"),
        ("kind: rating", "kind: score", "questions.2.kind"),
        ("    axis: truthful", "    axis: truth", "questions.2.axis"),
        ("\n\nquestions:", "\n  - {name: truthful, title: T}\n\nquestions:", "axes.2.name"),
        ("  gold_share: 0.1", "  gold_share: 0.96", "assignment"),
        ("  lease_minutes: 30", "  overlap: 4", "overlap"),
        ('  version: "1"', "  version: 1", "guidelines.version"),
        ("quotas: []", "quotas: [{field: a, shares: {x: 0.2}}]", "quotas.1.shares"),
        ("selection: random", "selection: best", "assignment.selection"),
    ],
)
def test_what_is_wrong_is_told_by_line_and_field(was, becomes, field):
    assert TEMPLATE.count(was) == 1
    text = TEMPLATE.replace(was, becomes)
    with pytest.raises(InputError) as told:
        parse_project(text, "p.yaml")
    line = int(str(told.value).split("line ")[1].split(",")[0])
    assert f"p.yaml, line {line}, field {field!r}: " in str(told.value)
    changed = text[: text.index(becomes)].count("\n") + 1 + becomes.startswith("\n")
    opening = TEMPLATE[: TEMPLATE.index("assignment:")].count("\n") + 1
    assert line in (changed, opening if field == "assignment" else changed)


@pytest.mark.parametrize("text", ["", "- a", "a: [", "a: 1\n\tb: 2", "name: x"])
def test_what_is_no_project_is_one_sentence(text):
    with pytest.raises(InputError) as told:
        parse_project(text, "p.yaml")
    assert str(told.value).startswith("p.yaml")
    assert "\n" not in str(told.value)


def tasks(path: Path, *rows: dict[str, object]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def test_every_two_answers_are_an_item(tmp_path):
    rows = {"prompt": "Q?", "answers": ["a", "b", "c"]}, {"prompt": "R?", "answers": ["a", "b"], "tags": ["law"]}
    items = read_items(PROJECT, tasks(tmp_path / "t.jsonl", *rows))
    assert [tuple(e.completion for e in i.episodes) for i in items] == [("a", "b"), ("a", "c"), ("b", "c"), ("a", "b")]
    assert items[3].tags == ("law",)
    again = read_items(PROJECT, tasks(tmp_path / "t.jsonl", *reversed(rows)))
    assert {i.id for i in again} == {i.id for i in items}


def test_gold_items_know_what_is_right(tmp_path):
    row = {
        "prompt": "Q?",
        "answers": ["bad", "good", "worse"],
        "gold": {"better": 2, "labels": {"acceptable": "yes"}, "ratings": {"truthful": [5, 7]}},
    }
    items = read_items(PROJECT, tasks(tmp_path / "t.jsonl", row))
    assert [tuple(e.completion for e in i.episodes) for i in items] == [("bad", "good"), ("good", "worse")]
    bad, good = (e.id for e in items[0].episodes)
    about = {"id": "j", "annotator": "a", "task": "t"}

    def compared(first, second, strength):
        return gold_result(items[0], Comparison(**about, episodes=(first, second), strength=strength))

    assert compared(good, bad, 2) is True
    assert compared(bad, good, -1) is True
    assert compared(bad, good, 3) is False
    assert gold_result(items[0], Comparison(**about, episodes=(bad, good), verdict="tie")) is False
    assert gold_result(items[0], Label(**about, episodes=(good,), name="acceptable", value="no")) is False
    assert gold_result(items[0], Rating(**about, episodes=(good,), value=6, axis="truthful")) is True
    assert gold_result(items[0], Rating(**about, episodes=(good,), value=6)) is None


@pytest.mark.parametrize(
    ("row", "says"),
    [
        ({"prompt": "Q?", "answers": ["a"]}, "field 'answers': 1 answers; the project shows 2"),
        ({"answers": ["a", "b"]}, "field 'prompt'"),
        ({"prompt": "Q?", "answers": ["a", "b"], "gold": {"better": 3}}, "field 'gold': better is 3"),
        ({"prompt": "Q?", "answers": ["a", "b"], "gold": {"best": 1}}, "field 'gold': 'best'"),
        ({"prompt": "Q?", "answers": ["a", 5]}, "field 'answers.1'"),
        ({"prompt": "Q?", "answers": ["a", "b"], "models": ["m"]}, "field 'models'"),
        ({"prompt": "Q?", "answers": ["a", "b"], "colour": "red"}, "field 'colour'"),
        (
            {"prompt": "Q?", "answers": ["a", "b"], "reference": "{answer 3} errs."},
            "field 'reference': '{answer 3}'; there are 2 answers",
        ),
    ],
)
def test_wrong_tasks_name_file_row_and_field(tmp_path, row, says):
    path = tasks(tmp_path / "t.jsonl", {"prompt": "ok", "answers": ["a", "b"]}, row)
    with pytest.raises(InputError) as told:
        read_items(PROJECT, path)
    assert f"{path}, row 2, {says}" in str(told.value)


def test_commands(tmp_path, capsys):
    path = tmp_path / "project.yaml"
    assert main(["project", "new", str(path)]) == 0
    tasks(
        tmp_path / "tasks.jsonl",
        {"prompt": "Q?", "answers": ["a", "b"]},
        {"prompt": "R?", "answers": ["a", "b"], "gold": {"better": 1}},
    )
    capsys.readouterr()
    assert main(["project", "check", str(path)]) == 0
    assert "2 items, 1 of them gold; 3 judgments" in capsys.readouterr().out
    assert main(["project", "new", str(path)]) == 2
    path.write_text(TEMPLATE.replace("overlap: 3", "overlap: x"))
    assert main(["project", "check", str(path)]) == 2
    assert "field 'assignment.overlap'" in capsys.readouterr().err


CRITIQUES = (
    TEMPLATE[: TEMPLATE.index("questions:")]
    + """questions:
  - {kind: rating, axis: truthful, answers: 4}
  - {kind: comment, optional: true}
"""
)


@pytest.mark.parametrize(
    ("questions", "says"),
    [
        ("[{kind: tamper, answers: 2}]", "a tamper shows one answer"),
        ("[{kind: comparison}, {kind: critique}]", "a critique is of one answer"),
        ("[{kind: rating, answers: 4}, {kind: comparison}]", "show the same number of answers"),
        ("[{kind: rating, prefilled: 0.5}]", "field 'questions.1.prefilled': there is no such field"),
        ("[{kind: critique, prefilled: 2}]", "questions.1.prefilled"),
        ("[{kind: ranking, answers: 1}]", "a ranking shows at least 2 answers"),
        (
            "[{kind: comment}]\nassisted: true",
            "only questions of the kinds comparison, label, ranking, rating are judged again",
        ),
        ("[{kind: tamper}, {kind: rating}]\nassisted: true", "a tamper is not judged twice"),
    ],
)
def test_questions_that_do_not_fit_together_are_told(questions, says):
    with pytest.raises(InputError) as told:
        parse_project(CRITIQUES[: CRITIQUES.index("questions:")] + f"questions: {questions}\n")
    assert says in str(told.value)


def test_four_answers_are_rated_side_by_side_and_the_truth_is_told_to_people_alone(tmp_path):
    row = {
        "prompt": "Review it.",
        "answers": ["a", "b", "c", "d"],
        "reference": "The range ends early.",
        "bugs": [{"lines": [2], "description": "The range ends early."}],
    }
    (item,) = read_items(parse_project(CRITIQUES), tasks(tmp_path / "t.jsonl", row))
    assert [e.completion for e in item.episodes] == ["a", "b", "c", "d"]
    assert item.reference == item.task.metadata["reference"] == "The range ends early."
    assert item.task.metadata["bugs"][0]["lines"] == [2]
    assert "range" not in "".join(m.content for m in item.task.messages)


def test_critiques_begin_from_the_given_one_or_from_nothing(tmp_path):
    project = parse_project(CRITIQUES[: CRITIQUES.index("questions:")] + "questions: [{kind: critique}]\n")
    rows = {"prompt": "Review it.", "answers": ["a critique"]}, {"prompt": "Review this."}
    given, nothing = read_items(project, tasks(tmp_path / "t.jsonl", *rows))
    assert [e.completion for e in given.episodes] == ["a critique"]
    assert nothing.episodes == ()


def test_help_says_what_is_right_like_gold(tmp_path):
    project = parse_project(TEMPLATE.replace("assisted: false", "assisted: true"))
    told = {"by": "critic-1", "text": "The second is wrong.", "says": {"better": 1}}
    row = {"prompt": "Q?", "answers": ["a", "b"], "assistance": told}
    (item,) = read_items(project, tasks(tmp_path / "t.jsonl", row))
    first, second = (e.id for e in item.episodes)
    about = {"id": "j", "annotator": "a", "task": "t", "episodes": (second, first)}
    assert follows(item, Comparison(**about, strength=-1)) is True
    assert follows(item, Comparison(**about, strength=1)) is False
    assert gold_result(item, Comparison(**about, strength=-1)) is None
    for told_wrongly, says in (
        ({}, "'assistance': it is missing"),
        ({"assistance": {**told, "says": {"better": 7}}}, "'assistance.says': better is 7"),
    ):
        path = tasks(tmp_path / "t.jsonl", {"prompt": "Q?", "answers": ["a", "b"], **told_wrongly})
        with pytest.raises(InputError) as error:
            read_items(project, path)
        assert says in str(error.value)


SCALES = CRITIQUES[: CRITIQUES.index("axes:")] + (
    "axes:\n"
    "  - {name: truthful, title: Truthfulness, lowest: 0, highest: 5}\n"
    "  - {name: overall, title: All in all, lowest: -1, highest: 1}\n"
    "questions: [{kind: rating, axis: truthful}, {kind: rating}, {kind: comparison, axis: truthful}]\n"
)


def test_a_rating_is_on_the_scale_of_its_axis():
    truthful, overall, _ = parse_project(SCALES).questions
    about = {"id": "j", "annotator": "a", "task": "t"}
    prompt = Message("user", "Q?")
    shown = [Episode.written("e", Task("t", (prompt,)), (prompt, Message("assistant", "A")), "m")]
    (rating,) = truthful.judge(Answer(question=1, place=0, value=5), shown, dict(about))
    assert (rating.axis, rating.value, rating.lowest, rating.highest) == ("truthful", 5, 0, 5)
    (rating,) = overall.judge(Answer(question=2, place=0, value=-1), shown, dict(about))
    assert (rating.axis, rating.value, rating.lowest, rating.highest) == ("overall", -1, -1, 1)
    for question, value, says in ((truthful, 6, "0 to 5"), (truthful, -1, "0 to 5"), (overall, 1.0, "-1 to 1")):
        with pytest.raises(InputError, match=f"give a whole number from {says}"):
            question.judge(Answer(question=1, place=0, value=value), shown, dict(about))


@pytest.mark.parametrize("ends", ["lowest: 5, highest: 5", "lowest: 8", "lowest: 0, highest: 5000"])
def test_a_scale_that_does_not_rise_is_told_with_its_line(ends):
    with pytest.raises(InputError, match=r"line \d+, field 'axes.1'.*highest should be above lowest, by at most 1,000"):
        parse_project(SCALES.replace("lowest: 0, highest: 5", ends))


def test_a_text_names_answers_by_where_they_stand_on_the_screen(tmp_path):
    row = {"prompt": "Q?", "answers": ["a", "b", "c"], "reference": "{answer 3} is false, {answer 1} is not."}
    items = read_items(PROJECT, tasks(tmp_path / "t.jsonl", row))
    of = {"".join(e.completion for e in item.episodes): item for item in items}
    assert of["ac"].told((0, 1), helped=False) == ("Answer B is false, Answer A is not.", "")
    assert of["ac"].told((1, 0), helped=True) == ("Answer A is false, Answer B is not.", "")
    assert of["bc"].told((0, 1), helped=False)[0] == "Answer B is false, an answer that is not shown here is not."
