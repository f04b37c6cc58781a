"""Files as Argilla (2, ``records.to_json``) and Label Studio (JSON export) write them, made after their documentation."""

from __future__ import annotations

import json
import uuid
from pathlib import Path

import pytest

from custodes.feedback.kinds.comment import Comment
from custodes.feedback.kinds.comparison import Comparison
from custodes.feedback.kinds.label import Label
from custodes.feedback.kinds.ranking import Ranking
from custodes.feedback.kinds.rating import Rating
from custodes.feedback.kinds.span import SpanMark
from custodes.feedback.platform import platform_records, read_platform
from custodes.types import InputError

SAMPLES = Path(__file__).parent / "platform_samples"


def test_label_studios_export_by_its_own_names():
    found = read_platform(SAMPLES / "label_studio.json", "label-studio")
    compared = [j for j in found.judgments if isinstance(j, Comparison)]
    assert [(j.annotator, j.strength, j.seconds) for j in compared] == [("3", 1, 12.4), ("bob@example.org", -1, 3.1)]
    first, second = (found.episodes[e].completion for e in compared[0].episodes)
    assert (first, second) == ("4", "5")
    assert [(j.annotator, j.value) for j in found.judgments if isinstance(j, Rating)] == [("3", 6)]
    assert [(j.name, j.value) for j in found.judgments if isinstance(j, Label)] == [("tone", "warm")]
    assert "7" not in found.annotators  # who skipped said nothing


def test_argillas_records_with_rankings_and_labels():
    found = read_platform(SAMPLES / "argilla.json", "argilla")
    compared = [j for j in found.judgments if isinstance(j, Comparison)]
    assert [(j.verdict, j.strength) for j in compared] == [("prefer", 1), ("tie", 0), ("prefer", 1), ("prefer", -1)]
    assert [(j.name, j.value) for j in found.judgments if isinstance(j, Label)] == [("tone", "plain")]
    assert len(found.annotators) == 2


def test_what_we_write_is_what_they_read():
    found = read_platform(SAMPLES / "label_studio.json", "label-studio")
    for record in platform_records("argilla", found.judgments, found.episodes):
        assert record.keys() == {"id", "fields", "metadata", "suggestions", "responses", "vectors", "status"}
        for responses in record["responses"].values():
            for response in responses:  # rg.Response(question_name=..., **response)
                assert response.keys() == {"value", "user_id"}
                assert str(uuid.UUID(response["user_id"])) == response["user_id"]
        assert all(isinstance(value, str) for value in record["metadata"].values())
    for task in platform_records("label-studio", found.judgments, found.episodes):
        assert {"data", "annotations"} <= task.keys()
        for annotation in task["annotations"]:
            for result in annotation["result"]:
                assert {"from_name", "to_name", "type", "value"} <= result.keys()
                assert result["value"].keys() <= {"selected", "rating", "choices"}


def test_our_annotators_come_back_from_argilla_by_name(tmp_path: Path):
    found = read_platform(SAMPLES / "label_studio.json", "label-studio")
    (tmp_path / "records.json").write_text(json.dumps(platform_records("argilla", found.judgments, found.episodes)))
    again = read_platform(tmp_path / "records.json", "argilla")
    assert {j.annotator for j in again.judgments} == {j.annotator for j in found.judgments}


def test_rankings_of_three_are_no_comparison(tmp_path: Path):
    records = json.loads((SAMPLES / "argilla.json").read_text())
    records[0]["responses"]["which"][0]["value"].append({"value": "response3", "rank": 3})
    (tmp_path / "r.json").write_text(json.dumps(records))
    assert len([j for j in read_platform(tmp_path / "r.json", "argilla").judgments if isinstance(j, Comparison)]) == 3
    records[0]["responses"]["which"] = 3
    (tmp_path / "r.json").write_text(json.dumps(records))
    with pytest.raises(InputError, match="not what argilla writes"):
        read_platform(tmp_path / "r.json", "argilla")


# ---------------------------------------------------------------- what others write


def argilla(tmp_path: Path, responses: dict[str, object], **fields: object) -> list:
    """The judgments of one record of which one person answered the questions."""
    shown = fields or {"prompt": "Why?", "response1": "Because 😀 of it.", "response2": "No idea."}
    answered = {question: [{"value": value, "user_id": "u"}] for question, value in responses.items()}
    record = {"id": "1", "fields": shown, "metadata": {}, "responses": answered, "status": "completed"}
    (tmp_path / "r.json").write_text(json.dumps([record]))
    return read_platform(tmp_path / "r.json", "argilla").judgments


def label_studio(tmp_path: Path, *results: dict, **data: object) -> list:
    shown = data or {"prompt": "Why?", "answer1": "Because 😀 of it.", "answer2": "No idea."}
    annotation = {"completed_by": 3, "lead_time": 4.0, "result": list(results)}
    (tmp_path / "t.json").write_text(json.dumps([{"id": 1, "data": shown, "annotations": [annotation]}]))
    return read_platform(tmp_path / "t.json", "label-studio").judgments


@pytest.mark.parametrize(
    ("value", "verdict", "strength"),
    [
        *((first, "prefer", 1) for first in ("A", "a", "response1", "Response 1", "response_1", "first", "left", "1")),
        *((second, "prefer", -1) for second in ("B", "response2", "Answer 2", "Model B", "second", "right", "2")),
        *((tie, "tie", 0) for tie in ("tie", "Equal", "same")),
        ("both bad", "both_bad", 0),
        ("Neither", "both_bad", 0),
        ("cannot_judge", "cannot_judge", 0),
    ],
)
def test_a_preference_is_read_however_it_names_the_responses(tmp_path: Path, value, verdict, strength):
    (found,) = argilla(tmp_path, {"preference": value})
    assert (type(found), found.verdict, found.strength) == (Comparison, verdict, strength)
    (found,) = label_studio(
        tmp_path,
        {"from_name": "preference", "to_name": "answer1,answer2", "type": "choices", "value": {"choices": [value]}},
    )
    assert (found.verdict, found.strength, found.seconds) == (verdict, strength, 4.0)


@pytest.mark.parametrize("value", ["the blue one", "C", "response3", "yes", "maybe A"])
def test_a_preference_that_names_no_response_is_refused_by_name(tmp_path: Path, value: str):
    with pytest.raises(InputError, match="record 1, question 'preference'") as refused:
        argilla(tmp_path, {"preference": value})
    assert value in str(refused.value)


@pytest.mark.parametrize("question", ["rating-response2", "helpful_2", "quality_B", "rating response 2", "response2"])
def test_a_rating_of_the_second_answer_is_of_the_second(tmp_path: Path, question: str):
    (found,) = argilla(tmp_path, {question: 4})
    assert isinstance(found, Rating)
    assert found.value == 4
    first = argilla(tmp_path, {"rating-response1": 4})[0]
    assert found.episodes != first.episodes
    (found,) = label_studio(
        tmp_path, {"from_name": "stars", "to_name": "answer2", "type": "rating", "value": {"rating": 4}}
    )
    assert (found.episodes, found.axis) != (first.episodes, "")


def test_a_rating_that_could_be_of_either_answer_is_refused_by_name(tmp_path: Path):
    with pytest.raises(InputError, match=r"question 'quality'.*which of 2 responses"):
        argilla(tmp_path, {"quality": 4})


def test_scales_beyond_seven_are_read(tmp_path: Path):
    assert [(j.value, j.lowest, j.highest) for j in argilla(tmp_path, {"score-1": 9, "other-1": 0})] == [
        (9, 1, 10),
        (0, 0, 5),
    ]


def test_texts_are_comments_corrections_and_answers_of_ones_own(tmp_path: Path):
    said = {
        "comments": "fine",
        "explanation-response2": "ok",
        "corrected_response1": "Because.",
        "ideal answer": "So.",
        "remark": "The second one does not even try to answer.",
        "tone": "warm",
    }
    found = argilla(tmp_path, said)
    kinds = [(type(j).__name__, len(j.episodes)) for j in found]
    assert kinds == [
        ("Comment", 2),
        ("Comment", 1),
        ("Correction", 1),
        ("Demonstration", 0),
        ("Comment", 2),
        ("Label", 2),
    ]
    area = {"from_name": "why", "to_name": "answer2", "type": "textarea", "value": {"text": ["one", "two"]}}
    (comment,) = label_studio(tmp_path, area)
    assert (type(comment), comment.text, len(comment.episodes)) == (Comment, "one\ntwo", 1)


def test_several_choices_are_all_read(tmp_path: Path):
    records = [
        {"id": str(n), "fields": {"prompt": "?", "response1": f"a{n}"}, "metadata": {}, "responses": {"faults": [{"value": value, "user_id": "u"}]}}
        for n, value in enumerate((["rude", "wrong"], ["wrong"], []))
    ]  # fmt: skip
    (tmp_path / "r.json").write_text(json.dumps(records))
    found = read_platform(tmp_path / "r.json", "argilla").judgments
    assert [(j.name, j.value) for j in found] == [
        ("faults: rude", "yes"),
        ("faults: wrong", "yes"),
        ("faults: rude", "no"),
        ("faults: wrong", "yes"),
        ("faults: rude", "no"),
        ("faults: wrong", "no"),
    ]


def test_spans_stand_where_they_were_marked(tmp_path: Path):
    (mark,) = argilla(tmp_path, {"span-response1": [{"label": "vague", "start": 8, "end": 12}]})
    assert isinstance(mark, SpanMark)
    assert (mark.start, mark.end, mark.category) == (8, 12, "vague")
    units = {"start": 11, "end": 13, "text": "of", "labels": ["vague"]}  # as a browser counts: the smiley is two
    (mark,) = label_studio(tmp_path, {"from_name": "span", "to_name": "answer1", "type": "labels", "value": units})
    assert "Because 😀 of it."[mark.start : mark.end] == "of"
    for wrong in ({"start": 8, "end": 80}, {"start": 4, "end": 4}):
        with pytest.raises(InputError, match=r"question 'span-response1'.*outside"):
            argilla(tmp_path, {"span-response1": [{"label": "vague", **wrong}]})
    with pytest.raises(InputError, match=r"control 'span'.*does not stand"):
        label_studio(
            tmp_path,
            {"from_name": "span", "to_name": "answer1", "type": "labels", "value": {**units, "text": "nowhere"}},
        )


def test_rankings_of_three_and_more_are_rankings(tmp_path: Path):
    three = {"prompt": "?", "response1": "a", "response2": "b", "response3": "c"}
    ranked = [{"value": "response3", "rank": 1}, {"value": "response1", "rank": 2}, {"value": "response2", "rank": 2}]
    (found,) = argilla(tmp_path, {"order": ranked}, **three)
    assert isinstance(found, Ranking)
    assert found.ranks == (2, 2, 1)
    data = {"prompt": "?", "answer1": "a", "answer2": "b", "answer3": "c"}
    order = {
        "from_name": "r",
        "to_name": "all",
        "type": "ranker",
        "value": {"ranker": {"rank": ["answer2", "answer3", "answer1"]}},
    }
    (found,) = label_studio(tmp_path, order, **data)
    assert found.ranks == (3, 1, 2)


def test_chat_prompts_are_conversations(tmp_path: Path):
    chat = [{"role": "system", "content": "Brief."}, {"role": "user", "content": "Hi"}]
    for fields in ({"prompt": chat, "response1": "Hello"}, {"chat": chat, "completion_a": "Hello"}):
        argilla(tmp_path, {"tone": "warm"}, **fields)
        found = read_platform(tmp_path / "r.json", "argilla")
        (task,) = found.tasks.values()
        assert [(m.role, m.content) for m in task.messages] == [("system", "Brief."), ("user", "Hi")]
    with pytest.raises(InputError, match="record 1, field 'prompt'"):
        argilla(tmp_path, {"tone": "warm"}, prompt=[{"content": "no role"}], response1="x")


@pytest.mark.parametrize("value", [None, True, {"a": 1}, [1, 2], [{"start": 1}]])
def test_values_of_no_known_form_are_refused_by_name(tmp_path: Path, value):
    with pytest.raises(InputError, match="record 1, question 'thing'"):
        argilla(tmp_path, {"thing": value})
    with pytest.raises(InputError, match=r"task 1, control 'thing'.*'brush'"):
        label_studio(tmp_path, {"from_name": "thing", "to_name": "answer1", "type": "brush", "value": {"rle": [1]}})
