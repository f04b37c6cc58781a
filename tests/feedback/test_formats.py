"""Everybody's preference data: what each form becomes, and one clear sentence for every bad row."""

import warnings
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from custodes.feedback.formats import read_preferences, write_completions, write_preferences
from custodes.feedback.reading import read_feedback
from custodes.tables import write_rows
from custodes.types import Example, InputError, Message, PreferencePair

HH = Path(__file__).parents[3] / "shared/data/hh_rlhf/harmless_base_dev.jsonl.gz"
GOOD = {"prompt": "q", "chosen": "a", "rejected": "b"}


def said(*turns: str) -> tuple[Message, ...]:
    """Messages from "u: text", "a: text", "s: text"."""
    roles = {"u": "user", "a": "assistant", "s": "system"}
    return tuple(Message(roles[t[0]], t[3:]) for t in turns)  # type: ignore[arg-type]


def rows(*turns: str) -> list[dict[str, str]]:
    return [m.to_dict() for m in said(*turns)]


def read(tmp_path: Path, *values: dict, reader=read_preferences):
    return reader(write_rows(tmp_path / "data.jsonl", values))


@pytest.mark.parametrize(
    ("row", "prompt", "chosen", "rejected"),
    [
        (GOOD, ["u: q"], ["a: a"], ["a: b"]),
        ({"prompt": rows("s: be kind", "u: q"), "chosen": rows("a: a"), "rejected": rows("a: b")},
         ["s: be kind", "u: q"], ["a: a"], ["a: b"]),
        ({"chosen": rows("u: q", "a: a"), "rejected": rows("u: q", "a: b")}, ["u: q"], ["a: a"], ["a: b"]),
        ({"prompt": "q", "chosen": rows("u: q", "a: a"), "rejected": rows("u: q", "a: b")}, ["u: q"], ["a: a"], ["a: b"]),
        ({"prompt": "q", "chosen": rows("a: a"), "rejected": rows("a: b")}, ["u: q"], ["a: a"], ["a: b"]),
        ({"chosen": "The sky is blue.", "rejected": "The sky is green."}, ["u: The sky is"], ["a: blue."], ["a: green."]),
        ({"chosen": "Yes.", "rejected": "No."}, [], ["a: Yes."], ["a: No."]),
        ({"chosen": "The sky", "rejected": "The sky is green."}, ["u: The"], ["a: sky"], ["a: sky is green."]),
        ({"chosen": "\n\nHuman: hi\n\nAssistant: yes?\n\nHuman: q\n\nAssistant: a",
          "rejected": "\n\nHuman: hi\n\nAssistant: yes?\n\nHuman: q\n\nAssistant: b"},
         ["u: hi", "a: yes?", "u: q"], ["a: a"], ["a: b"]),
        ({"prompt": "\n\nHuman: q\n\nAssistant:", "chosen": " a", "rejected": " b"}, ["u: q"], ["a:  a"], ["a:  b"]),
        ({"chosen": rows("u: q", "a: a", "u: more", "a: c"), "rejected": rows("u: q", "a: b")},
         ["u: q"], ["a: a", "u: more", "a: c"], ["a: b"]),
        ({"chosen": "\n\nHuman: q\n\nAssistant: a\n\nAssistant: more", "rejected": "\n\nHuman: q\n\nAssistant: b"},
         ["u: q"], ["a: a\nmore"], ["a: b"]),
    ],
)  # fmt: skip
def test_forms_of_preferences(tmp_path: Path, row: dict, prompt: list, chosen: list, rejected: list) -> None:
    (pair,) = read(tmp_path, row)
    assert (pair.prompt, pair.chosen, pair.rejected) == (said(*prompt), said(*chosen), said(*rejected))
    assert (pair.label, pair.weight, pair.margin, pair.line) == (1.0, 1.0, 0.0, 1)


def test_optional_columns(tmp_path: Path) -> None:
    extra = {"label": 0.75, "weight": 2, "margin": 0.5, "score_chosen": 8, "score_rejected": 3.5, "annotator": "ann"}
    (pair,) = read(tmp_path, GOOD | extra | {"source": "a column of somebody else's"})
    assert {name: getattr(pair, name) for name in extra} == extra


texts = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1).filter(str.strip)
turns = st.lists(texts, min_size=1, max_size=3).map(
    lambda said: tuple(
        Message("assistant" if n % 2 else "user", t)
        for n, t in enumerate(said[: len(said) // 2 * 2 + 1][: 1 if len(said) < 3 else 3])
    )
)
pairs = st.builds(
    lambda prompt, both, label, annotator: PreferencePair(
        prompt, (Message("assistant", both[0]),), (Message("assistant", both[1]),), label=label, annotator=annotator
    ),
    turns,
    st.lists(texts, min_size=2, max_size=2, unique=True),
    st.sampled_from([1.0, 0.5, 0.9]),
    texts,
)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(pairs, min_size=1, max_size=5))
def test_preferences_round_trip(tmp_path: Path, made: list[PreferencePair]) -> None:
    for extension in (".jsonl", ".jsonl.gz", ".json", ".parquet"):
        back = read_preferences(write_preferences(tmp_path / f"prefs{extension}", made))
        assert [strip(p) for p in back] == [strip(p) for p in made]


def strip(pair: PreferencePair) -> tuple:
    return (pair.prompt, pair.chosen, pair.rejected, pair.label, pair.weight, pair.margin, pair.annotator)


def test_text_and_dialogue_round_trip(tmp_path: Path) -> None:
    made = [PreferencePair(said("u: q"), said("a: yes"), said("a: no"), weight=0.5)]
    longer = [PreferencePair(said("u: q", "a: hm", "u: r"), said("a: yes"), said("a: no"))]
    system = [PreferencePair(said("s: be kind", "u: q"), said("a: yes"), said("a: no"))]
    for form, wanted in (("text", made), ("dialogue", made), ("dialogue", longer), ("dialogue", system)):
        back = read_preferences(write_preferences(tmp_path / "prefs.jsonl", wanted, form))  # type: ignore[arg-type]
        assert [strip(p) for p in back] == [strip(p) for p in wanted]
    with pytest.raises(InputError, match="pair 1 has more than one message"):
        write_preferences(tmp_path / "prefs.jsonl", longer, "text")
    tool = [PreferencePair((*said("u: q"), Message("tool", "7")), said("a: yes"), said("a: no"))]
    with pytest.raises(InputError, match="pair 1 has a tool message"):
        write_preferences(tmp_path / "prefs.jsonl", tool, "dialogue")


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"rejected": None}, ": column 'rejected' is missing; found prompt, chosen, expected chosen and rejected"),
        ({"chosen": ""}, ", field 'chosen': the completion is empty"),
        ({"rejected": " \n"}, ", field 'rejected': the completion is empty"),
        ({"chosen": rows("a: "), "rejected": rows("a: b")}, ", field 'chosen': the completion is empty"),
        ({"chosen": "b"}, ": chosen and rejected are identical"),
        ({"chosen": 3}, ", field 'chosen': found int; it should be text or a list of messages"),
        ({"chosen": [3]}, ", field 'chosen': message 1 has no role"),
        ({"chosen": [{"role": "wizard", "content": "a"}]}, ", field 'chosen': message 1 has no role among system"),
        ({"chosen": [{"role": "assistant", "content": 1}]}, ", field 'chosen': message 1 has content of type int"),
        ({"chosen": [], "rejected": rows("a: b")}, ", field 'chosen': it should end with a message of the"),
        ({"chosen": rows("a: a")}, ", field 'rejected': text and messages are mixed"),
        ({"chosen": rows("u: a"), "rejected": rows("u: b")}, ", field 'chosen': it should end with a message of the"),
        ({"prompt": 1}, ", field 'prompt': found int"),
        ({"label": "yes"}, ", field 'label': 'yes'; it should be a number from 0 to 1"),
        ({"label": 1.5}, ", field 'label': 1.5; it should be a number from 0 to 1"),
        ({"label": -1}, ", field 'label': -1; it should be a number from 0 to 1"),
        ({"weight": -2}, ", field 'weight': -2; it should be a finite number, 0 or more"),
        ({"margin": float("inf")}, ", field 'margin': inf; it should be a finite number"),
        ({"annotator": ["ann"]}, ", field 'annotator': found list; it should be the annotator's name"),
        ({"prompt": None, "chosen": "\n\nHuman: q\n\nAssistant: a"}, 'one side is a "\\n\\nHuman:" dialogue'),
        (
            {"prompt": None, "chosen": "\n\nHuman: q", "rejected": "\n\nHuman: r"},
            ", field 'chosen': it should end with",
        ),
    ],
)
def test_bad_rows_are_named(tmp_path: Path, change: dict, says: str) -> None:
    with pytest.raises(InputError) as error:
        read(tmp_path, *[GOOD] * 4_216, GOOD | change)
    assert str(error.value).startswith(f"{tmp_path / 'data.jsonl'}, row 4,217")
    assert says in str(error.value)
    assert "\n" not in str(error.value)


def test_identical_text_without_prompt(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="row 1: chosen and rejected are identical"):
        read(tmp_path, {"chosen": "the same", "rejected": "the same"})


def test_dialogues_that_end_in_silence_are_kept_and_named(tmp_path: Path) -> None:
    row = {"chosen": "\n\nHuman: q\n\nAssistant: ", "rejected": "\n\nHuman: q\n\nAssistant: b"}
    with pytest.warns(UserWarning, match=r"an empty answer is kept, .*--skip-bad-rows leaves such rows out \(row 2\)"):
        pairs = read(tmp_path, GOOD, row)
    assert pairs[1].chosen == said("a: ")
    with pytest.raises(InputError, match=r"row 2 has an empty completion, .*--skip-bad-rows"):
        write_preferences(tmp_path / "prefs.jsonl", pairs)


@pytest.mark.parametrize(
    ("row", "example"),
    [
        ({"messages": rows("s: s", "u: q", "a: a")}, Example(said("s: s", "u: q"), said("a: a"), line=1)),
        ({"prompt": "q", "completion": "a"}, Example(said("u: q"), said("a: a"), line=1)),
        ({"prompt": rows("u: q"), "completion": rows("a: a"), "label": True},
         Example(said("u: q"), said("a: a"), label=True, line=1)),
        ({"completion": "a", "label": 0}, Example((), said("a: a"), label=False, line=1)),
        ({"text": "Once upon a time."}, Example((), said("a: Once upon a time."), line=1)),
        ({"messages": "\n\nHuman: q\n\nAssistant: a"}, Example(said("u: q"), said("a: a"), line=1)),
    ],
)  # fmt: skip
def test_forms_of_examples(tmp_path: Path, row: dict, example: Example) -> None:
    known = lambda e: (e.prompt, e.completion, e.label)  # noqa: E731
    (found,) = read(tmp_path, row, reader=read_feedback).examples()
    assert known(found) == known(example)
    (again,) = read_feedback(write_completions(tmp_path / "again.parquet", [found])).examples()
    assert known(again) == known(example)


@pytest.mark.parametrize(
    ("row", "says"),
    [
        ({"prompt": "q"}, ": no column with an answer; found prompt, expected completion"),
        ({"completion": "a", "text": "b"}, ": columns completion and text say it twice"),
        ({"completion": "a", "label": "good"}, ", field 'label': 'good'; it should be true or false"),
        ({"prompt": "q", "completion": ""}, ", field 'completion': the completion is empty"),
        ({"messages": rows("u: q")}, ", field 'messages': it should end with a message of the assistant"),
    ],
)
def test_bad_examples_are_named(tmp_path: Path, row: dict, says: str) -> None:
    with pytest.raises(InputError) as error:
        read(tmp_path, {"text": "fine", **({"label": True} if "label" in row else {})}, row, reader=read_feedback)
    assert f"data.jsonl, row 2{says}" in str(error.value)


@pytest.mark.skipif(not HH.exists(), reason="the hh-rlhf sample is not beside this repository (../shared/data/hh_rlhf)")
def test_real_dialogues(tmp_path: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # two of the answers are empty
        pairs = read_preferences(HH)
        assert len(pairs) == 1_156
        assert all(p.prompt[-1].role == "user" and p.chosen[-1].role == "assistant" for p in pairs)
        assert [strip(p) for p in read_preferences(write_preferences(tmp_path / "d.jsonl.gz", pairs, "dialogue"))] == [
            strip(p) for p in pairs
        ]
    spoken = [p for p in pairs if p.chosen[-1].content and p.rejected[-1].content]
    assert len(spoken) == 1_154
    assert [strip(p) for p in read_preferences(write_preferences(tmp_path / "m.parquet", spoken))] == [
        strip(p) for p in spoken
    ]
