"""Every type of judgment goes to a file and comes back the same."""

import json
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from custodes.feedback.kinds.comment import Comment
from custodes.feedback.kinds.comparison import Comparison
from custodes.feedback.kinds.correction import Correction
from custodes.feedback.kinds.demonstration import Demonstration
from custodes.feedback.kinds.label import Label
from custodes.feedback.kinds.ranking import Ranking
from custodes.feedback.kinds.rating import Rating
from custodes.feedback.kinds.span import SpanMark
from custodes.feedback.kinds.step import StepMark
from custodes.feedback.reading import read_feedback
from custodes.feedback.records import write_judgments
from custodes.types import InputError, Judgment

texts = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=20)
ids = st.text("abcdef0123456789-", min_size=1, max_size=8)


def build(kind: type, episodes: st.SearchStrategy, **fields: st.SearchStrategy) -> st.SearchStrategy:
    seconds = st.none() | st.floats(0, 1e6)
    common = {"id": ids, "annotator": ids, "task": ids, "shown": texts, "seconds": seconds, "assistance": texts}
    return st.builds(kind, episodes=episodes, guideline=texts, **common, **fields)


one, two, none = st.tuples(ids), st.tuples(ids, ids), st.just(())
preferences = st.sampled_from([-3, -2, -1, 1, 2, 3])
judgments = st.one_of(
    build(Comparison, two, strength=preferences, axis=texts),
    build(Comparison, two, verdict=st.sampled_from(["tie", "both_bad", "cannot_judge"])),
    build(Ranking, st.tuples(ids, ids, ids), ranks=st.tuples(*[st.integers(1, 3)] * 3)),
    build(Rating, one, value=st.integers(1, 7)),
    build(Label, one, name=texts, value=texts),
    build(Correction, one, text=texts),
    build(Demonstration, none, text=texts),
    build(Comment, one, text=texts),
    build(
        SpanMark,
        one,
        start=st.integers(0, 4),
        end=st.integers(5, 9),
        category=texts,
        severity=st.sampled_from([1, 2, 3]),
    ),
    build(StepMark, one, step=st.integers(0, 9), value=st.sampled_from([-1, 0, 1])),
)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(judgments, min_size=1, max_size=12))
def test_round_trip(tmp_path: Path, said: list[Judgment]) -> None:
    for extension in (".jsonl", ".jsonl.gz", ".json", ".parquet"):
        assert read_feedback(write_judgments(tmp_path / f"said{extension}", said)).feedback.judgments == said


GOOD = {"kind": "comparison", "id": "c", "annotator": "a", "task": "t", "episodes": ["x", "y"], "strength": 1}


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (
            {"kind": "comparision"},
            "field 'kind': there is no kind of judgment 'comparision'; did you mean 'comparison'",
        ),
        ({"kind": None}, "field 'kind': there is no kind of judgment 'None'"),
        ({"strenght": 2}, "field 'strenght': a comparison has no such field; did you mean 'strength'"),
        ({"annotator": None}, "a comparison needs the field 'annotator'"),
        ({"strength": "1"}, "field 'strength': it should be a valid integer (given: '1')"),
        ({"strength": 4}, "strength -3..3 without 0"),
        ({"strength": 0}, "strength -3..3 without 0"),
        ({"verdict": "maybe"}, "field 'verdict': it should be 'prefer'"),
        ({"episodes": ["x"]}, "it takes 2"),
        ({"episodes": [1, 2]}, "field 'episodes.0'"),
        ({"seconds": "long"}, "field 'seconds': it should be a valid number"),
    ],
)
def test_bad_rows_are_named(tmp_path: Path, change: dict, says: str) -> None:
    path = tmp_path / "said.jsonl"
    path.write_text(json.dumps(GOOD) + "\n" + json.dumps(GOOD | change))
    with pytest.raises(InputError) as error:
        read_feedback(path)
    assert str(error.value).startswith(f"{path}, row 2")
    assert says in str(error.value)
    assert "\n" not in str(error.value)
