"""Values of a screen become answers: every kind of question, complete and incomplete."""

from __future__ import annotations

import json

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from custodes import registry, types
from custodes.feedback.fields import in_field, restored, stored_place
from custodes.feedback.items import items_from_rows
from custodes.feedback.project import parse_project
from custodes.feedback.questions import AnswerForm, Incomplete
from custodes.web.answers import judgments_of

HEAD = "name: p\ntitle: P\ntasks: ''\nguidelines: {version: '1', text: x}\n"


def form_of(questions: str, values: dict[str, str], answers: int = 2) -> AnswerForm:
    project = parse_project(f"{HEAD}questions: {questions}")
    shown = [[{"role": "assistant", "content": f"one {n}.\n\ntwo {n}."}] for n in range(answers)]
    item = {"questions": [q.model_dump(mode="json") for q in project.questions], "answers": shown, "draft": None}
    return AnswerForm(item, values)


COMPLETE = [
    ("[{kind: comparison}]", {"q1": "-2"}, [{"question": 1, "verdict": "prefer", "strength": -2}]),
    ("[{kind: comparison}]", {"q1": "tie"}, [{"question": 1, "verdict": "tie"}]),
    ("[{kind: ranking}]", {"q1.0": "1", "q1.1": "1"}, [{"question": 1, "ranks": [1, 1]}]),
    ("[{kind: rating, optional: true}]", {"q1.1": "7"}, [{"question": 1, "place": 1, "value": 7}]),
    (
        "[{kind: comparison, optional: true}, {kind: correction, optional: true}]",
        {"q2.0": "one 0.\n\ntwo 0.", "q2.1": "better"},
        [{"question": 2, "place": 1, "text": "better"}],  # the first was not changed
    ),
    ("[{kind: demonstration}]", {"q1": " hello "}, [{"question": 1, "text": "hello"}]),
    (
        "[{kind: span, values: [{value: bad, title: Bad}]}]",
        {"q1.0": '[[0, 3, "bad", 2]]'},
        [{"question": 1, "place": 0, "start": 0, "end": 3, "choice": "bad", "severity": 2}],
    ),
    (
        "[{kind: step, optional: true}]",
        {"q1.0.mode": "first", "q1.0.first": "1"},
        [{"question": 1, "place": 0, "step": 0, "value": 1}, {"question": 1, "place": 0, "step": 1, "value": -1}],
    ),
]


@pytest.mark.parametrize(("questions", "values", "expected"), COMPLETE)
def test_values_become_answers(questions, values, expected):
    found = form_of(questions, values).answers()
    assert [answer.model_dump(exclude_none=True) for answer in found] == expected


def test_places_and_corrections_are_those_of_the_stored_text():
    text = "One.\r\nTwo.\r\n\r\nThree."
    spans = "[{kind: span, optional: true, values: [{value: bad, title: Bad}]}, {kind: correction, optional: true}]"
    made = form_of(spans, {"q1.0": '[[5, 9, "bad", 1], [11, 17, "bad", 1]]', "q2.0": in_field(text)}, 1)
    made.item["answers"][0][0]["content"] = text
    assert [text[a.start : a.end] for a in made.answers()] == ["Two.", "Three."]
    made.values["q2.0"] = in_field(text).replace("Two", "2")
    (*_, edited) = made.answers()
    assert edited.text == text.replace("Two", "2")


@settings(max_examples=200, deadline=None)
@given(st.text("a\r\n", max_size=12), st.text("ab\n", max_size=12))
@example("\ra\n", "\n\n")
def test_line_ends_come_back_as_they_were(text, edited):
    assert restored(text, in_field(text)) == text
    assert in_field(restored(text, edited)) == edited
    for place in range(len(in_field(text)) + 1):
        assert in_field(text[: stored_place(text, place)]) == in_field(text)[:place]


@pytest.mark.parametrize("value", ["no JSON", "{}", "[1]", '[[0, 99, "bad", 1]]', "[" * 2000, '[["a", 1, "bad", 1]]'])
def test_marks_of_another_shape_are_none(value: str):
    spans = "[{kind: span, optional: true, values: [{value: bad, title: Bad}]}]"
    assert form_of(spans, {"q1.0": value, "reasons": value}).answers() == []


def test_what_cannot_be_read_is_asked_for_again():
    with pytest.raises(Incomplete, match="cannot be read"):
        form_of("[{kind: rating}]", {"q1.0": "many", "q1.1": "9" * 5000}).answers()


MISSING = [
    ("[{kind: comparison}]", {}, "q1"),
    ("[{kind: ranking}]", {"q1.0": "1"}, "q1.1"),
    ("[{kind: rating}]", {"q1.0": "4"}, "q1.1"),
    ("[{kind: comment}]", {"q1.0": "   "}, "q1.0"),
    ("[{kind: demonstration}]", {}, "q1"),
    ("[{kind: step}]", {"q1.0.0": "1"}, "q1.0"),
    ("[{kind: step}]", {"q1.0.mode": "first"}, "q1.0"),
]


@pytest.mark.parametrize(("questions", "values", "row"), MISSING)
def test_what_is_missing_is_said_with_its_row(questions, values, row):
    with pytest.raises(Incomplete) as caught:
        form_of(questions, values).answers()
    assert caught.value.row == row


def test_a_draft_comes_back_as_it_was():
    first = form_of("[{kind: comparison}]", {"q1": "3", "reasons": '["clear"]'})
    item = {**first.item, "draft": json.loads(json.dumps(first.draft(12.5)))}
    again = AnswerForm.of(item)
    assert again.values == first.values
    assert again.reasons == ["clear"]
    assert AnswerForm.of({**first.item, "draft": {"values": "made by another program"}}).values == {}


def test_answers_fit_what_the_server_takes():
    """Every kind that has a reader has answers from which judgments are made."""
    text = f"{HEAD}questions: [{{kind: comparison}}, {{kind: rating}}, {{kind: comment, optional: true}}]"
    project = parse_project(text)
    item = items_from_rows(project, [{"prompt": "?", "answers": ["one", "two"]}])[0]
    filled = form_of(
        "[{kind: comparison}, {kind: rating}, {kind: comment, optional: true}]", {"q1": "1", "q2.0": "3", "q2.1": "4"}
    )
    made, _ = judgments_of(project, item, [0, 1], filled.answers(), "a", "ann", 3.0)
    assert [type(j).__name__ for j in made] == ["Comparison", "Rating", "Rating"]


def test_every_kind_of_question_has_a_widget():
    assert registry.kind.names() == registry.widget.names()
    ours = {cls for cls in types.JUDGMENTS.values() if cls.__module__.startswith("custodes.")}
    assert {registry.kind.find(name).judgment for name in registry.kind.names()} == ours
