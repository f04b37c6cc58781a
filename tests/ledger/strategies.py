"""Records of every kind, for property tests."""

from __future__ import annotations

from dataclasses import fields
from typing import Any

import numpy as np
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from custodes.feedback.kinds.comment import Comment
from custodes.feedback.kinds.comparison import Comparison
from custodes.feedback.kinds.correction import Correction
from custodes.feedback.kinds.demonstration import Demonstration
from custodes.feedback.kinds.label import Label
from custodes.feedback.kinds.ranking import Ranking
from custodes.feedback.kinds.rating import Rating
from custodes.feedback.kinds.span import SpanMark
from custodes.feedback.kinds.step import StepMark
from custodes.ledger import Decision, Evaluation, Model, ScoreRow
from custodes.types import Annotator, Episode, Message, Task

texts = st.text(max_size=20)  # any characters, NUL and line feeds included
ids = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0\n"), min_size=1, max_size=12)
numbers = st.floats(allow_nan=False, allow_infinity=False)
values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | numbers | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=6,
)
mappings = st.dictionaries(texts, values, max_size=3)
messages = st.lists(
    st.builds(Message, st.sampled_from(["system", "user", "assistant", "tool"]), texts), max_size=3
).map(tuple)
tasks = st.builds(Task, ids, messages, texts, mappings)


@st.composite
def episodes(draw: st.DrawFn) -> Episode:
    task = draw(tasks)
    T = draw(st.integers(0, 20))
    return Episode(
        id=draw(ids),
        task=task,
        messages=draw(messages.map(lambda reply: task.messages + reply) | messages),
        token_ids=draw(hnp.arrays(np.int32, T)),
        action_mask=draw(hnp.arrays(np.bool_, T)),
        logprobs=draw(hnp.arrays(np.float32, T)),
        outcome=draw(st.sampled_from(["stop", "length", "error"])),
        policy=draw(texts),
        cost=draw(st.dictionaries(texts, numbers, max_size=2)),
    )


def judged(count: int | None, **given: Any) -> dict[str, Any]:
    """Arguments of a judgment of ``count`` episodes (None: any number)."""
    shown = st.lists(ids, min_size=count or 0, max_size=3 if count is None else count).map(tuple)
    common = {"id": ids, "annotator": ids, "task": ids, "episodes": shown, "shown": texts, "assistance": texts}
    return {**common, "seconds": st.none() | numbers, "guideline": texts, **given}


marks = st.integers(-3, 3).filter(bool)
judgments = st.one_of(
    st.builds(Comparison, **judged(2, strength=marks, axis=texts)),
    st.builds(Comparison, **judged(2, verdict=st.sampled_from(["tie", "both_bad", "cannot_judge"]))),
    st.builds(Ranking, **judged(3, ranks=st.tuples(*[st.integers(1, 3)] * 3))),
    st.builds(Rating, **judged(1, value=st.integers(1, 7))),
    st.builds(Label, **judged(1, name=texts, value=texts)),
    st.builds(Correction, **judged(1, text=texts)),
    st.builds(Demonstration, **judged(0, text=texts)),
    st.builds(Comment, **judged(1, text=texts)),
    st.builds(
        SpanMark,
        **judged(
            1, start=st.integers(0, 9), end=st.integers(10, 99), category=texts, severity=st.sampled_from([1, 2, 3])
        ),
    ),
    st.builds(StepMark, **judged(1, step=st.integers(0, 9), value=st.sampled_from([-1, 0, 1]))),
)
records = st.one_of(
    tasks,
    episodes(),
    judgments,
    st.builds(Annotator, ids, st.sampled_from(["human", "ai", "simulated", "programmatic"]), mappings),
    st.builds(Model, ids, texts, texts, st.none() | ids, mappings),
    st.builds(ScoreRow, ids, ids, numbers, st.none() | numbers, st.dictionaries(texts, numbers, max_size=2)),
    st.builds(Evaluation, ids, texts, texts, mappings, st.integers(0, 100)),
    st.builds(Decision, ids, texts, texts, texts),
)


def contents(record: Any) -> Any:
    """What a record holds, in a form that compares: arrays by type and bytes, so that NaN equals itself."""
    return type(record), [
        (value.dtype, value.tobytes()) if isinstance(value, np.ndarray) else repr(value)
        for value in (getattr(record, f.name) for f in fields(record))
    ]
