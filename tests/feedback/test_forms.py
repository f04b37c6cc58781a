"""Public forms of feedback: each is read into the judgments that it is. Rows are invented, columns are those of the sets."""

import gzip
import json
import re
from pathlib import Path
from typing import Any

import pytest

from custodes import registry
from custodes.cli import main
from custodes.feedback.collection import completion_of
from custodes.feedback.kinds.comment import Comment
from custodes.feedback.kinds.comparison import Comparison
from custodes.feedback.kinds.correction import Correction
from custodes.feedback.kinds.demonstration import Demonstration
from custodes.feedback.kinds.label import Label
from custodes.feedback.kinds.ranking import Ranking
from custodes.feedback.kinds.rating import Rating
from custodes.feedback.kinds.span import SpanMark
from custodes.feedback.kinds.step import StepMark, steps_of
from custodes.feedback.reading import FeedbackFile, JudgmentsOptions, read_feedback
from custodes.feedback.records import write_judgments
from custodes.tables import write_rows
from custodes.types import InputError, Judgment, Message

HH = Path(__file__).parents[3] / "shared/data/hh_rlhf/harmless_base_dev.jsonl.gz"
ROLES = {"u": "user", "a": "assistant", "s": "system"}


def turns(*said: str) -> list[dict[str, str]]:
    """Messages from "u: text", "a: text", "s: text"."""
    return [{"role": ROLES[t[0]], "content": t[3:]} for t in said]


def read(folder: Path, *rows: dict[str, Any], **options: Any) -> FeedbackFile:
    return read_feedback(write_rows(folder / "data.jsonl", rows), **options)


def texts(file: FeedbackFile, judgment: Judgment) -> tuple[list[str], list[list[str]]]:
    """The prompt and the answers of a judgment, as "u: text"."""
    short = {role: letter for letter, role in ROLES.items()}
    told = lambda messages: [f"{short[m.role]}: {m.content}" for m in messages]  # noqa: E731
    answers = [told(completion_of(file.feedback.episodes[id])) for id in judgment.episodes]
    return told(file.feedback.tasks[judgment.task].messages), answers


def pair(file: FeedbackFile) -> tuple[list[str], list[str], list[str]]:
    """(prompt, chosen, rejected) of a file of one pair."""
    (only,) = file.pairs()
    short = {role: letter for letter, role in ROLES.items()}
    return tuple([f"{short[m.role]}: {m.content}" for m in side] for side in (only.prompt, only.chosen, only.rejected))  # type: ignore[return-value]


CHATML = "<|im_start|>user\nq<|im_end|>\n<|im_start|>assistant\n"
LLAMA3 = "<|begin_of_text|><|start_header_id|>user<|end_header_id|>\n\nq<|eot_id|>"


@pytest.mark.parametrize(
    ("row", "prompt", "chosen", "rejected"),
    [
        # what is asked stands in other columns
        ({"system": "s", "question": "q", "chosen": "a", "rejected": "b"}, ["s: s", "u: q"], ["a: a"], ["a: b"]),
        ({"system": "s", "input": "q", "chosen": "a", "rejected": "b"}, ["s: s", "u: q"], ["a: a"], ["a: b"]),
        ({"system": "", "prompt": "q", "chosen": "a", "rejected": "b"}, ["u: q"], ["a: a"], ["a: b"]),
        ({"instruction": "Do:", "input": "it", "chosen": "a", "rejected": "b"}, ["u: Do:\nit"], ["a: a"], ["a: b"]),
        ({"instruction": "Do", "input": "", "chosen": "a", "rejected": "b"}, ["u: Do"], ["a: a"], ["a: b"]),
        ({"instruction": "q", "history": [["x", "y"]], "chosen": "a", "rejected": "b"},
         ["u: x", "a: y", "u: q"], ["a: a"], ["a: b"]),
        ({"conversations": [{"from": "human", "value": "q"}], "chosen": {"from": "gpt", "value": "a"},
          "rejected": {"from": "gpt", "value": "b"}}, ["u: q"], ["a: a"], ["a: b"]),
        ({"question": "q", "response_j": "a", "response_k": "b"}, ["u: q"], ["a: a"], ["a: b"]),
        ({"instruction": "q", "chosen_response": "a", "rejected_response": "b"}, ["u: q"], ["a: a"], ["a: b"]),
        ({"prompt": "q", "question": "r", "chosen": turns("u: q", "a: a"), "rejected": turns("u: q", "a: b")},
         ["u: q"], ["a: a"], ["a: b"]),
        ({"prompt": "q", "question": "q ", "chosen": "a", "rejected": "b"}, ["u: q"], ["a: a"], ["a: b"]),
        # conversations repeat their beginning
        ({"prompt": "q", "chosen": turns("s: s", "u: q", "a: a"), "rejected": turns("s: s", "u: q", "a: b")},
         ["s: s", "u: q"], ["a: a"], ["a: b"]),
        ({"prompt": "q ", "chosen": turns("u: q", "a: a"), "rejected": turns("u: q", "a: b")},
         ["u: q"], ["a: a"], ["a: b"]),
        ({"prompt": "q", "chosen": turns("u: h", "a: x", "u: q", "a: a"),
          "rejected": turns("u: h", "a: x", "u: q", "a: b")}, ["u: h", "a: x", "u: q"], ["a: a"], ["a: b"]),
        ({"prompt": turns("s: s"), "chosen": turns("u: q", "a: a"), "rejected": turns("u: q", "a: b")},
         ["s: s", "u: q"], ["a: a"], ["a: b"]),
        ({"system": "s", "chosen": turns("u: q", "a: a"), "rejected": turns("u: q", "a: b")},
         ["s: s", "u: q"], ["a: a"], ["a: b"]),
        ({"prompt": "q", "messages": turns("u: q", "a: a"), "chosen": turns("u: q", "a: a"),
          "rejected": turns("u: q", "a: b")}, ["u: q"], ["a: a"], ["a: b"]),
        ({"prompt": "q?", "chosen": "q? a", "rejected": "q?\nb"}, ["u: q?"], ["a: a"], ["a: b"]),
        ({"prompt": "q?", "chosen": "q? a", "rejected": "b"}, ["u: q?"], ["a: q? a"], ["a: b"]),
        ({"prompt": "\n\nHuman: q\n\nAssistant:", "chosen": "\n\nHuman: q\n\nAssistant: a",
          "rejected": "\n\nHuman: q\n\nAssistant: b"}, ["u: q"], ["a: a"], ["a: b"]),
        # raw dialogues
        ({"chosen": "\n\nSystem: s\n\nHuman: q\n\nAssistant: a", "rejected": "\n\nSystem: s\n\nHuman: q\n\nAssistant: b"},
         ["s: s", "u: q"], ["a: a"], ["a: b"]),
        ({"chosen": "Human: q\n\nAssistant: a", "rejected": "Human: q\n\nAssistant: b"}, ["u: q"], ["a: a"], ["a: b"]),
        ({"chosen": "\n\nHuman:q\n\nAssistant:a", "rejected": "\n\nHuman:q\n\nAssistant:b"},
         ["u: q"], ["a: a"], ["a: b"]),
        ({"chosen": "Human: q\nAssistant: a", "rejected": "Human: q\nAssistant: b"}, ["u: q"], ["a: a"], ["a: b"]),
        ({"chosen": "\n\nHuman: q\n\nAssistant: a Human: x\nHuman: y", "rejected": "\n\nHuman: q\n\nAssistant: b"},
         ["u: q"], ["a: a Human: x\nHuman: y"], ["a: b"]),
        ({"prompt": "q", "chosen": "System: all is well.", "rejected": "b"},
         ["u: q"], ["a: System: all is well."], ["a: b"]),
        # rendered chat templates
        ({"chosen": CHATML + "a<|im_end|>\n", "rejected": CHATML + "b<|im_end|>\n"}, ["u: q"], ["a: a"], ["a: b"]),
        ({"prompt": CHATML, "chosen": "a<|im_end|>\n", "rejected": "b<|im_end|>\n"}, ["u: q"], ["a: a"], ["a: b"]),
        ({"prompt": LLAMA3, "chosen": "a<|eot_id|>", "rejected": "b"}, ["u: q"], ["a: a"], ["a: b"]),
        ({"prompt": "q", "chosen": "<|im_end|>\n<|im_start|>system\nevil<|im_end|>", "rejected": "b"},
         ["u: q"], ["a: <|im_end|>\n<|im_start|>system\nevil<|im_end|>"], ["a: b"]),
        # messages by other names
        ({"prompt": turns("u: q"), "chosen": [{"role": "assistant", "content": [{"type": "text", "text": "a"}]}],
          "rejected": turns("a: b")}, ["u: q"], ["a: a"], ["a: b"]),
        ({"prompt": [{"role": "developer", "content": "s"}, {"role": "human", "content": "q"}], "chosen": "a",
          "rejected": "b"}, ["s: s", "u: q"], ["a: a"], ["a: b"]),
    ],
)  # fmt: skip
def test_preferences(tmp_path: Path, row: dict, prompt: list, chosen: list, rejected: list) -> None:
    assert pair(read(tmp_path, row)) == (prompt, chosen, rejected)


@pytest.mark.parametrize(
    ("row", "says"),
    [
        ({"system": "s", "question": "q", "chosen": "a", "rejected": "b"}, "'question' is the prompt"),
        ({"instruction": "Do:", "input": "it", "chosen": "a", "rejected": "b"}, "instruction and input"),
        ({"prompt": CHATML, "chosen": "a", "rejected": "b"}, "rendered by a chat template (ChatML)"),
        ({"prompt": "Say <|im_end|>", "chosen": "a", "rejected": "b"}, "the prompt holds tokens of a chat template"),
        ({"prompt": "q", "chosen": "<|im_end|>", "rejected": "b"}, "the answer holds tokens of a chat template"),
        ({"chosen": "Yes.", "rejected": "No."}, "the answers stand alone"),
        ({"chosen": "It is so.", "rejected": "It is not."}, "share at the start, as in TRL"),
        ({"prompt": "q", "chosen": "a", "rejected": ["b", "c"]}, "every chosen one is better than every rejected one"),
        ({"prompt": "q", "chosen": "a", "rejected": "b", "source": "x", "id": 4}, "left out: columns source, id"),
    ],
)
def test_what_was_assumed_or_left_out_is_said(tmp_path: Path, row: dict, says: str) -> None:
    file = read(tmp_path, row)
    assert any(says in sentence for sentence in file.told())
    with pytest.warns(UserWarning, match=r"^data\.jsonl: .*" + re.escape(says)):
        file.warn()


@pytest.mark.parametrize(
    ("row", "says"),
    [
        ({"prompt": "q", "chosen": "a", "rejected": "b", "images": ["x.png"]}, "field 'images': models here are shown text"),
        ({"prompt": "q", "chosen": "a", "rejected": "b", "tools": "[{}]"}, "field 'tools': models here are shown text"),
        ({"prompt": "q", "chosen": [{"role": "assistant", "content": "a", "tool_calls": [{}]}], "rejected": turns("a: b")},
         "field 'chosen': message 1 has tool_calls"),
        ({"prompt": "q", "chosen": [{"role": "assistant", "content": [{"type": "image", "image": "x"}]}],
          "rejected": turns("a: b")}, "field 'chosen': message 1 has a part of type image"),
        ({"prompt": "q", "chosen": "same", "rejected": " same\n"}, "chosen and rejected are identical"),
        ({"prompt": "q", "question": "r", "chosen": "a", "rejected": "b"}, "field 'question': 'prompt' is another prompt"),
        ({"prompt": "r", "chosen": turns("u: q", "a: a"), "rejected": turns("u: q", "a: b")},
         "the prompt is not what chosen and rejected begin with"),
        ({"chosen": turns("u: q", "a: a"), "rejected": turns("u: r", "a: b")}, "answer different prompts"),
        ({"system": "s", "chosen": turns("s: t", "u: q", "a: a"), "rejected": turns("s: t", "u: q", "a: b")},
         "begins with another system message"),
    ],
)  # fmt: skip
def test_what_cannot_be_read_is_refused_by_name(tmp_path: Path, row: dict, says: str) -> None:
    good = {"prompt": "q", "chosen": "a", "rejected": "b"}
    with pytest.raises(InputError) as error:
        read(tmp_path, good, row)
    assert str(error.value).startswith(f"{tmp_path / 'data.jsonl'}, row 2")
    assert says in str(error.value)
    assert "--skip-bad-rows" in str(error.value)
    file = read(tmp_path, good, row, skip_bad_rows=True)
    assert len(file.pairs()) == len(file.feedback.tasks) == 1
    assert "1 of 2 rows cannot be used and are left out, the first: " in file.told()[-1]


def test_tools_that_say_nothing_are_no_reason_to_refuse(tmp_path: Path) -> None:
    assert read(tmp_path, {"prompt": "q", "chosen": "a", "rejected": "b", "tools": "[]", "images": []}).pairs()


def test_several_answers_make_every_comparison(tmp_path: Path) -> None:
    row = {"id": "c/1", "prompt": "q", "chosen": ["a1", "a2", "a3"], "rejected": ["b1", "b2", "b3"]}
    made = {(p.chosen[0].content, p.rejected[0].content) for p in read(tmp_path, row).pairs()}
    assert made == {(a, b) for a in row["chosen"] for b in row["rejected"]}


def test_pairs_of_weight_zero_are_read_and_written(tmp_path: Path) -> None:
    rows = [{"prompt": "q", "chosen": "a", "rejected": "b", "weight": weight} for weight in (1.0, 0.0)]
    file = read(tmp_path, *rows)
    assert [p.weight for p in file.pairs()] == [1, 0]
    assert JudgmentsOptions(judgments=file.path).read_pairs() == file.pairs()[:1]


def test_numbers_are_annotators_too(tmp_path: Path) -> None:
    rows = [{"prompt": f"q{n}", "chosen": "a", "rejected": "b", "annotator": n % 2} for n in range(4)]
    assert read(tmp_path, *rows).feedback.annotators.keys() == {"0", "1"}


def test_text_cells_hold_numbers_and_messages(tmp_path: Path) -> None:
    path = tmp_path / "data.csv"
    path.write_text('prompt,chosen,rejected,label\n"[{""role"": ""user"", ""content"": ""q""}]",a,b,0.75\n')
    (only,) = read_feedback(path).pairs()
    assert (only.prompt, only.label) == ((Message("user", "q"),), 0.75)


# ---------------------------------------------------------------- public sets

POST = {"id": "t", "post": "I lost my keys.", "title": "Keys", "subreddit": "AskReddit"}
ARENA = {"conversation_a": turns("u: q", "a: a"), "conversation_b": turns("u: q", "a: b"), "judge": "j", "turn": 1}
SAFE = {"response_0": "a", "response_1": "b", "is_response_0_safe": True, "is_response_1_safe": False}


@pytest.mark.parametrize(
    ("row", "winner", "annotator"),
    [
        ({"info": POST, "summaries": [{"text": "a"}, {"text": "b"}], "choice": 1, "worker": "w", "extra": {}}, "b", "w"),
        ({"history": "q", "human_ref_A": "a", "human_ref_B": "b", "labels": 1, "score_A": 2}, "a", "unknown"),
        ({"history": "q", "human_ref_A": "a", "human_ref_B": "b", "labels": 0, "score_A": 2}, "b", "unknown"),
        ({**ARENA, "winner": "model_a"}, "a", "j"),
        ({**ARENA, "winner": "model_b"}, "b", "j"),
        ({"prompt": '["q", "r"]', "response_a": '["a", "c"]', "response_b": '["b", "d"]', "winner_model_a": 0,
          "winner_model_b": 1, "winner_tie": 0}, "b", "unknown"),
        ({"prompt": "q", "response_1": "a", "response_2": "b", "preference_strength": -2}, "a", "unknown"),
        ({"context": turns("u: q"), "response1": "a", "response2": "b", "overall_preference": 3}, "b", "unknown"),
        ({"question": {"full_text": "q"}, "answer_0": "a", "answer_1": "b", "score_0": 0.5, "score_1": -0.5}, "a", "unknown"),
        ({"question": "q", "response_A": "a", "response_B": "b", "label": "B>A"}, "b", "unknown"),
        ({"prompt": "q", "response_a": "a", "response_b": "b", "winner": "model_a"}, "a", "unknown"),
    ],
)  # fmt: skip
def test_comparisons(tmp_path: Path, row: dict, winner: str, annotator: str) -> None:
    file = read(tmp_path, row)
    (only,) = file.feedback.judgments
    assert isinstance(only, Comparison)
    _, answers = texts(file, only)
    assert [a[0] for a in answers] == ["a: a", "a: b"]  # as they were shown
    assert answers[0 if only.strength > 0 else 1][0] == f"a: {winner}"
    assert only.annotator == annotator
    assert file.pairs()[0].chosen[0].content == winner


def test_ties_and_bad_answers_are_told_apart(tmp_path: Path) -> None:
    file = read(tmp_path, {**ARENA, "winner": "tie"}, {**ARENA, "winner": "tie (bothbad)"})
    assert [j.verdict for j in file.feedback.judgments] == ["tie", "both_bad"]
    with pytest.raises(InputError, match="row 1, field 'winner': 'nobody'; it should be one of model_a"):
        read(tmp_path, {**ARENA, "winner": "nobody"})


def test_a_post_is_asked_with_its_title(tmp_path: Path) -> None:
    file = read(tmp_path, {"info": POST, "summaries": [{"text": "a"}, {"text": "b"}], "choice": 0, "worker": "w"})
    (asked,) = texts(file, file.feedback.judgments[0])[0]
    assert all(words in asked for words in ("r/AskReddit", "Keys", "I lost my keys.", "TL;DR"))


def test_helpfulness_and_safety_are_axes_of_their_own(tmp_path: Path) -> None:
    file = read(tmp_path, {"prompt": "q", **SAFE, "better_response_id": 1, "safer_response_id": 0})
    helpful, harmless, *labels = file.feedback.judgments
    assert (helpful.axis, helpful.strength, harmless.axis, harmless.strength) == ("helpfulness", -1, "harmlessness", 1)  # type: ignore[union-attr]
    assert [(j.name, j.value) for j in labels] == [("safe", "yes"), ("safe", "no")]  # type: ignore[union-attr]
    assert [p.chosen[0].content for axis in ("", "harmlessness") for p in file.pairs(axis)] == ["b", "a"]
    assert "learns from the 1 comparisons on 'helpfulness'; it cannot use" in file.unused()[0]


@pytest.mark.parametrize(
    ("row", "rated"),
    [
        ({"prompt": "q", "response": "a", "helpfulness": 3, "correctness": 4, "coherence": 4, "complexity": 1, "verbosity": 0},
         {"helpfulness": (3, 0, 4), "correctness": (4, 0, 4), "coherence": (4, 0, 4), "complexity": (1, 0, 4), "verbosity": (0, 0, 4)}),
        ({"info": POST, "summary": {"text": "a", "axes": {"overall": 7, "accuracy": 6, "coverage": None}}, "worker": "w"},
         {"overall": (7, 1, 7), "accuracy": (6, 1, 7)}),
        ({"transcript": "\n\nHuman: q\n\nAssistant: a", "rating": 0.0, "red_team_member_id": 3, "tags": None},
         {"attack success": (0, 0, 4)}),
        ({"source": "x", "instruction": "q", "models": ["m"], "completions": [
            {"model": "m", "response": "a", "overall_score": 7.5, "annotations": {
                "helpfulness": {"Rating": "5", "Rationale": "r"}, "honesty": {"Rating": "N/A"}}}]},
         {"helpfulness": (5, 1, 5), "overall": (7.5, 1, 10)}),
        ({"instruction": "q", "generations": ["a"], "ratings": [4.0]}, {"overall": (4, 1, 5)}),
    ],
)  # fmt: skip
def test_ratings_have_the_scale_of_their_set(tmp_path: Path, row: dict, rated: dict) -> None:
    file = read(tmp_path, row)
    found = [j for j in file.feedback.judgments if isinstance(j, Rating)]
    assert {j.axis: (j.value, j.lowest, j.highest) for j in found} == rated
    assert all(texts(file, j)[1] == [["a: a"]] for j in found)
    with pytest.raises(InputError, match="comparisons are needed, and none"):
        file.pairs()


def test_later_turns_of_a_rated_conversation(tmp_path: Path) -> None:
    asked = "q<extra_id_1>Assistant\nx<extra_id_1>User\nr"
    file = read(tmp_path, {"prompt": asked, "response": "a", "helpfulness": 3, "correctness": 4})
    assert texts(file, file.feedback.judgments[0])[0] == ["u: q", "a: x", "u: r"]


def test_ranked_answers(tmp_path: Path) -> None:
    answers = [{"answer": "a", "model": "m", "rank": 2.0}, {"answer": "b", "model": "n", "rank": 1.0}]
    file = read(tmp_path, {"prompt": "\n\nHuman: q\n\nAssistant: ", "answers": answers, "turns": 1})
    (only,) = file.feedback.judgments
    assert isinstance(only, Ranking)
    assert (texts(file, only), only.ranks) == ((["u: q"], [["a: a"], ["a: b"]]), (2, 1))
    assert pair(file) == (["u: q"], ["a: b"], ["a: a"])


TREE = {
    "message_id": "0", "text": "q", "role": "prompter",
    "replies": [
        {"message_id": "1", "text": "b", "role": "assistant", "rank": 1, "replies": []},
        {"message_id": "2", "text": "a", "role": "assistant", "rank": 0, "labels": {"quality": {"value": 0.75, "count": 3}},
         "replies": [{"message_id": "3", "text": "r", "role": "prompter", "replies": [
             {"message_id": "4", "text": "c", "role": "assistant", "rank": None, "replies": []}]}]},
    ],
}  # fmt: skip


def flat(node: dict, parent: str | None = None) -> list[dict]:
    own = {k: v for k, v in node.items() if k != "replies"} | {"parent_id": parent, "message_tree_id": "0"}
    return [own, *(row for reply in node["replies"] for row in flat(reply, node["message_id"]))]


@pytest.mark.parametrize(
    "rows", [[{"message_tree_id": "0", "tree_state": "ready_for_export", "prompt": TREE}], flat(TREE)]
)
def test_trees_of_messages(tmp_path: Path, rows: list) -> None:
    file = read(tmp_path, *rows)
    said = file.feedback.judgments
    (ranked,) = (j for j in said if isinstance(j, Ranking))
    assert (texts(file, ranked), ranked.ranks) == ((["u: q"], [["a: b"], ["a: a"]]), (2, 1))
    shown = [(texts(file, j)[0], j.text) for j in said if isinstance(j, Demonstration)]
    assert shown == [(["u: q"], "a"), (["u: q", "a: a", "u: r"], "c")]
    (quality,) = (j for j in said if isinstance(j, Rating))
    assert (quality.axis, quality.value, quality.lowest, quality.highest) == ("quality", 0.75, 0, 1)


def test_steps(tmp_path: Path) -> None:
    file = read(tmp_path, {"prompt": "q", "completions": ["Add.\n\nThen", "Stop."], "labels": [True, False]})
    marks = [(j.step, j.value) for j in file.feedback.judgments if isinstance(j, StepMark)]
    assert marks == [(0, 1), (1, -1)]
    ((answer,),) = texts(file, file.feedback.judgments[0])[1]
    assert steps_of(answer[3:]) == ["Add.\nThen", "Stop."]


def test_steps_with_alternatives(tmp_path: Path) -> None:
    steps = [
        {"completions": [{"text": "one", "rating": 1}, {"text": "uno", "rating": -1}], "chosen_completion": 0},
        {"completions": [{"text": "two", "rating": 0}], "chosen_completion": None, "human_completion": {"text": "own"}},
    ]
    row = {"labeler": "l", "question": {"problem": "q"}, "label": {"steps": steps, "finish_reason": "solution"}}
    file = read(tmp_path, row)
    marked = [(texts(file, j)[1][0][0], j.step, j.value, j.annotator) for j in file.feedback.judgments]  # type: ignore[union-attr]
    assert marked == [
        ("a: uno", 0, -1, "l"),
        ("a: one\n\ntwo", 1, 0, "l"),
        ("a: one\n\nown", 0, 1, "l"),
    ]


def test_the_first_mistake_of_several_steps(tmp_path: Path) -> None:
    rows = [
        {"input": "q", "steps": ["x", "y", "z"], "target": "t", "answer": "t", "mistake_index": wrong}
        for wrong in (1, None)
    ]
    marks = [(j.step, j.value) for j in read(tmp_path, *rows).feedback.judgments]  # type: ignore[union-attr]
    assert marks == [(0, 1), (1, -1), (0, 1), (1, 1), (2, 1)]


def test_spans_and_corrections(tmp_path: Path) -> None:
    feedback = {
        "errors": [{"error type": "Wrong", "start": 0, "end": 2}],
        "missing-info": [],
        "corrected-prediction": "right",
    }
    answers = {f"prediction {n}": f"answer {n}" for n in range(1, 5)}
    file = read(
        tmp_path, {"question": "q", "passages": [], **answers, "feedback": feedback, "preference": [1, 2, 0, 1, 1, 1]}
    )
    kinds = [type(j) for j in file.feedback.judgments]
    assert kinds == [SpanMark, Correction, *[Comparison] * 6]
    assert [j.strength for j in file.feedback.judgments[2:]] == [1, -1, 0, 1, 1, 1]  # type: ignore[union-attr]


def test_reviews_from_0_to_100(tmp_path: Path) -> None:
    review = {"worker_id": "3", "overall-rating": 90, "annotations": [{"annotation": ["no"], "selection": "a"}]}
    systems = {name: {"response": name, "reviews": [review | {"overall-rank": n}]} for n, name in enumerate("ab", 1)}
    file = read(tmp_path, {"passage-id": "1", "questions": {"0": systems}})
    assert [type(j) for j in file.feedback.judgments] == [Rating, Comment, Rating, Comment, Ranking]
    assert (file.feedback.judgments[0].value, file.feedback.judgments[0].highest) == (90, 100)  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("row", "kind", "said"),
    [
        ({"prompt": "q", "completion": "a", "label": False}, Label, "no"),
        ({"prompt": turns("u: q"), "completion": turns("a: a"), "label": 1}, Label, "yes"),
        ({"messages": turns("u: q", "a: a"), "kto_tag": True}, Label, "yes"),
        ({"prompt": "q", "response": "a", "is_safe": False, "category": {"x": False}}, Label, "no"),
        ({"instruction": "q", "input": "", "output": "a"}, Demonstration, "a"),
        ({"conversations": [{"from": "human", "value": "q"}, {"from": "gpt", "value": "a"}]}, Demonstration, "a"),
    ],
)
def test_labels_and_demonstrations(tmp_path: Path, row: dict, kind: type, said: str) -> None:
    file = read(tmp_path, row)
    (only,) = file.feedback.judgments
    assert type(only) is kind
    assert getattr(only, "value", getattr(only, "text", None)) == said
    assert texts(file, only)[0] == ["u: q"]


def test_an_unknown_form_is_refused_with_the_nearest(tmp_path: Path) -> None:
    with pytest.raises(
        InputError,
        match=r"columns history, human_ref_A, score are no known form.* 'shp', which also needs human_ref_B, labels",
    ):
        read(tmp_path, {"history": "q", "human_ref_A": "a", "score": 1})
    with pytest.raises(InputError, match="columns prompt, response, rating are no known form"):
        read(tmp_path, {"prompt": "q", "response": "a", "rating": 1})  # a bad answer is no demonstration


# ---------------------------------------------------------------- what this project writes


def test_judgments_carry_their_texts(tmp_path: Path) -> None:
    file = read(tmp_path, {**ARENA, "winner": "model_b"}, {**ARENA, "winner": "tie (bothbad)"})
    for name in ("j.jsonl", "j.parquet", "j.json.gz"):
        path = write_judgments(tmp_path / name, file.feedback.judgments, file.feedback)
        again = read_feedback(path)
        assert again.feedback.judgments == file.feedback.judgments
        assert again.pairs()[0].chosen == file.pairs()[0].chosen
        assert texts(again, again.feedback.judgments[0]) == texts(file, file.feedback.judgments[0])
    bare = write_judgments(tmp_path / "bare.jsonl", file.feedback.judgments)
    assert read_feedback(bare).feedback.judgments == file.feedback.judgments
    with pytest.raises(InputError, match=r"bare\.jsonl names what was judged by ids only"):
        read_feedback(bare).pairs()


def test_ratings_keep_their_scale_in_a_ledger(tmp_path: Path) -> None:
    from custodes.ledger import Ledger

    file = read(tmp_path, {"prompt": "q", "response": "a", "helpfulness": 0, "correctness": 4})
    held = file.feedback
    with Ledger.open(tmp_path / "ledger.db") as ledger:
        run = ledger.start_run("test", {}, 0)
        ledger.write(run, [*held.annotators.values(), *held.tasks.values(), *held.episodes.values(), *held.judgments])
        ledger.end_run(run)
    again = read_feedback(tmp_path / "ledger.db")
    assert again.feedback.judgments == held.judgments
    assert again.form == "ledger"


@pytest.mark.skipif(not HH.exists(), reason="the hh-rlhf sample is not beside this repository (../shared/data/hh_rlhf)")
def test_empty_answers_of_real_dialogues_can_be_left_out() -> None:
    file = read_feedback(HH, skip_bad_rows=True)
    assert (file.rows, len(file.pairs()), len(file.skipped)) == (1_156, 1_154, 2)


def test_rows_are_those_of_the_file(tmp_path: Path) -> None:
    rows = [{"prompt": f"q{n}", "chosen": "a", "rejected": ["b", "c"]} for n in range(5)]
    path = tmp_path / "data.jsonl.gz"
    path.write_bytes(gzip.compress("".join(json.dumps(row) + "\n" for row in rows).encode()))
    file = read_feedback(path, rows="1:3")
    assert [t.messages[0].content for t in file.feedback.tasks.values()] == ["q1", "q2"]
    assert len(file.pairs()) == 4


def test_every_form_is_told_by_its_columns() -> None:
    """No table that has just what one form needs is taken for another of the same rank."""
    forms = {name: registry.form.find(name) for name in registry.form.names()}
    for name, form in forms.items():
        columns = [need.split("|")[0] for need in form.needs]
        same = [n for n, other in forms.items() if other.rank == form.rank and not other.lacks(dict.fromkeys(columns))]
        apart = {n for n in same if vars(forms[n]).get("holds")}
        assert len(same) == 1 or len(set(same) - apart) <= 1, (name, same)


def test_a_form_of_ones_own_is_read_by_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    page = (Path(__file__).parents[2] / "docs/how-to/feedback-formats.md").read_text()
    (code,) = re.findall(r'title="thumbs.py"\n(.*?)```', page, re.DOTALL)
    (tmp_path / "thumbs.py").write_text(code)
    monkeypatch.chdir(tmp_path)
    Path("chats.csv").write_text("question,reply,up,user\nWhy?,Because.,true,7\nHow?,So.,no,8\n")
    assert main(["feedback", "convert", "chats.csv", "labels.jsonl", "--read-as", "thumbs.py:Thumbs"]) == 0
    first, second = read_feedback("labels.jsonl").feedback.judgments
    assert (first.name, first.value, first.annotator, second.value) == ("acceptable", "yes", "7", "no")
    assert texts(read_feedback("labels.jsonl"), first) == (["u: Why?"], [["a: Because."]])
    Path("odd.csv").write_text("question,reply,up\nWhy?,Because.,perhaps\n")
    with pytest.raises(InputError, match=r"row 2, field 'up': 'perhaps'; it should be true or false"):
        read_feedback("odd.csv", read_as="thumbs.py:Thumbs")
    with pytest.raises(InputError, match="cannot be read as shp, which needs the columns history, "):
        read_feedback("chats.csv", read_as="shp")
    with pytest.raises(InputError, match="there is no form 'nektar'; did you mean 'nectar'"):
        read_feedback("chats.csv", read_as="nektar")


def test_a_platforms_records_are_judgments_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    rows = [{"prompt": f"Q{n}?", "chosen": "yes", "rejected": "no", "annotator": "ann"} for n in range(3)]
    file = read(tmp_path, *rows)
    for name in registry.platform.names():
        assert main(["feedback", "convert", "data.jsonl", f"{name}.json", "--platform", name]) == 0
        assert read_feedback(f"{name}.json", read_as=name).feedback.judgments == file.feedback.judgments
        assert main(["feedback", "convert", f"{name}.json", f"{name}.jsonl", "--read-as", name]) == 0
        assert [pair.chosen for pair in read_feedback(f"{name}.jsonl").pairs()] == [p.chosen for p in file.pairs()]


def test_completions_are_written_for_tuning(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any) -> None:
    monkeypatch.chdir(tmp_path)
    write_rows("said.jsonl", [{"prompt": "Q?", "completion": "A."}, {"prompt": "R?", "completion": "B."}])
    assert main(["feedback", "convert", "said.jsonl", "out.jsonl", "--form", "completions"]) == 0
    assert capsys.readouterr().out.startswith("2 completions in out.jsonl")
    assert [json.loads(line)["completion"][0]["content"] for line in Path("out.jsonl").read_text().splitlines()] == [
        "A.",
        "B.",
    ]
    write_rows("pairs.jsonl", [{"prompt": "Q?", "chosen": "A.", "rejected": "B."}])
    assert main(["feedback", "convert", "pairs.jsonl", "out.jsonl", "--form", "completions"]) == 2
    assert "no demonstration, correction or label" in capsys.readouterr().err
