"""Records become rows and come back as they were."""

from __future__ import annotations

import json
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from strategies import contents, records

from custodes.ledger import Decision, Evaluation, ScoreRow
from custodes.ledger.codec import Entry, decode, encode
from custodes.types import Annotator, Episode, InputError, Message, Task


@settings(deadline=None)
@given(records)
def test_every_record_comes_back_as_it_was(record: object) -> None:
    assert contents(decode(encode(record))) == contents(record)


def test_numpy_numbers_become_plain_ones() -> None:
    metrics = {"mean": np.float32(0.5), "n": np.int64(3), "held": np.bool_(True), "each": np.arange(3)}
    read = decode(encode(Evaluation("e", "name", "arm", metrics, 3)))
    assert read.metrics == {"mean": 0.5, "n": 3, "held": True, "each": [0, 1, 2]}


def test_order_of_a_mapping_is_kept() -> None:
    profile = {"z": 1, "a": 2, "m": 3}
    assert list(decode(encode(Annotator("a", "human", profile))).profile) == ["z", "a", "m"]


def test_prompt_of_an_episode_is_stored_once() -> None:
    prompt = Message("user", "a long prompt " * 100)
    task = Task("t", (prompt,))
    none = np.array([])
    episode = Episode("e", task, (prompt, Message("assistant", "yes")), none, none, none, "stop", "base")
    assert encode(episode).body.count(prompt.content) == 1


def test_scores_of_different_pairs_have_different_keys() -> None:
    pairs = [("a", "b/c"), ("a/b", "c"), ("a", 'b", "c'), ('a", "b', "c"), ("a,b", "c")]
    assert len({encode(ScoreRow(episode, scorer, 0.0)).key for scorer, episode in pairs}) == len(pairs)


def test_body_is_json_that_says_what_it_says() -> None:
    assert json.loads(encode(Decision("d", "quarantine", "it lies", "a7")).body) == {
        "what": "quarantine",
        "why": "it lies",
        "subject": "a7",
    }


T2 = Task("t", (Message("user", "hi"),))


@pytest.mark.parametrize(
    ("record", "said"),
    [
        ({"id": "x"}, "cannot hold a dict"),
        (Decision("", "what", "why"), "an id is one line of text"),
        (Decision("x\0y", "what", "why"), "an id is one line of text"),
        (Decision("x\ny", "what", "why"), "an id is one line of text"),
        (Decision("x" * 1001, "what", "why"), "1 to 1000 bytes"),
        (Decision(7, "what", "why"), "an id is one line of text"),  # type: ignore[arg-type]
        (Decision("d", "\ud800", "why"), "decision 'd' holds half a character"),
        (Decision("\ud800", "what", "why"), "holds half a character"),
        (ScoreRow("e", "proxy", float("nan")), "cannot be written as JSON"),
        (Task("t", (), metadata={"when": object()}), "task 't' cannot be written as JSON: object is not"),
        (Evaluation("e", "n", "s", {("a", "b"): 1}, 1), "evaluation 'e' cannot be written as JSON"),
        (
            Episode("e", T2, T2.messages, np.zeros(3), np.zeros(2, bool), np.zeros(3), "stop", "p"),
            "3 token ids, 2 mask entries",
        ),
    ],
)
def test_what_cannot_be_recorded_is_said_in_one_sentence(record: object, said: str) -> None:
    with pytest.raises(InputError) as error:
        encode(record)  # type: ignore[arg-type]
    assert said in str(error.value)
    assert "\n" not in str(error.value)


COMMON = '"annotator":"a1","task":"t","episodes":["e1","e2"],"shown":"ab","seconds":3.5,"assistance":"critic","guideline":"2"'
ROWS = [  # as releases before wrote them
    ("comparison", '"verdict":"prefer","strength":-2,"axis":"overall"'),
    ("comparison", '"verdict":"both_bad","strength":0,"axis":"truth"'),
    ("comparison", '"verdict":"prefer","strength":1,"axis":"overall","probability":0.75,"weight":0.5,"margin":1.5'),
    ("ranking", '"ranks":[1,2],"axis":"overall"'),
    ("rating", '"value":4,"axis":"overall"'),
    ("rating", '"value":55.5,"axis":"x","lowest":0,"highest":100'),
    ("label", '"name":"acceptable","value":"yes"'),
    ("correction", '"text":"besser\\n"'),
    ("demonstration", '"text":"so"'),
    ("comment", '"text":"reasons: clear"'),
    ("span_mark", '"start":0,"end":4,"category":"wrong","severity":3'),
    ("step_mark", '"step":2,"value":-1'),
]


@pytest.mark.parametrize(("kind", "own"), ROWS)
def test_rows_of_judgments_are_what_they_always_were(kind: str, own: str) -> None:
    row = Entry("judgment", "j", f'{{"type":"{kind}",{COMMON},{own}}}')
    assert decode(row).kind == kind
    assert encode(decode(row)) == row


def test_a_kind_that_nobody_knows_is_one_sentence() -> None:
    with pytest.raises(InputError) as error:
        decode(Entry("judgment", "j", f'{{"type":"span_marc",{COMMON}}}'))
    assert str(error.value).startswith("there is no kind of judgment 'span_marc'; did you mean 'span_mark'? There are ")
    assert "\n" not in str(error.value)


def test_reading_loads_the_kind_and_neither_the_server_nor_a_framework() -> None:
    row = f'Entry("judgment", "j", {f"""{{"type":"step_mark",{COMMON},"step":0,"value":1}}"""!r})'
    code = f"import sys; from custodes.ledger.codec import Entry, decode; before = set(sys.modules); decode({row}); "
    code += "print('custodes.feedback' in before, 'custodes.feedback.kinds.step' in sys.modules, "
    code += "[m for m in ('torch', 'nicegui', 'custodes.web') if m in sys.modules])"
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert said.stdout == "False True []\n"
