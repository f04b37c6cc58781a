"""Writing, superseding and reading, on both databases."""

from __future__ import annotations

from itertools import islice

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from strategies import contents, records

from custodes import __version__
from custodes.feedback.kinds.comparison import Comparison
from custodes.feedback.kinds.rating import Rating
from custodes.ledger import Decision, Evaluation, Ledger, Model, Record, ScoreRow
from custodes.types import Annotator, Episode, InputError, Message, Task


def comparison(i: int, strength: int = 1, key: str | None = None) -> Comparison:
    return Comparison(id=key or f"j{i}", annotator="a", task="t", episodes=(f"e{i}", f"f{i}"), strength=strength)


def episode(key: str, policy: str = "base") -> Episode:
    task = Task("t", (Message("user", "hi"),))
    ids = np.arange(3, dtype=np.int32)
    mask = np.array([False, True, True])
    reply = Message("assistant", f"hello from {key}")
    return Episode(key, task, (*task.messages, reply), ids, mask, -ids.astype(np.float32), "stop", policy)


def read_all(ledger: Ledger, run: str) -> list[object]:
    reads = (
        *(ledger.tasks, ledger.episodes, ledger.judgments, ledger.annotators),
        *(ledger.models, ledger.scores, ledger.evaluations, ledger.decisions),
    )
    return [record for read in reads for record in read(run)]


# ---------------------------------------------------------------- what is written is read


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(batch=st.lists(records, max_size=8))
def test_mixed_records_come_back_as_they_were(ledger: Ledger, batch: list[Record]) -> None:
    one_per_key = {contents_key(r): r for r in batch}
    run = ledger.start_run("round trip", {}, seed=0)
    ledger.write(run, one_per_key.values())
    expected = [contents(r) for r in one_per_key.values()]
    assert sorted(map(repr, map(contents, read_all(ledger, run)))) == sorted(map(repr, expected))
    assert ledger.verify().ok


def contents_key(record: Record) -> object:
    """Judgments share one space of ids, whatever their type."""
    kind = "judgment" if hasattr(record, "annotator") else type(record).__name__
    return (kind, record.scorer, record.episode) if isinstance(record, ScoreRow) else (kind, record.id)


def test_order_of_writing_is_order_of_reading_across_pages(ledger: Ledger, run: str) -> None:
    keys = ledger.write(run, (comparison(i) for i in range(2500)))
    assert [j.id for j in ledger.judgments(run)] == keys == [f"j{i}" for i in range(2500)]


def test_reads_can_be_narrowed(ledger: Ledger, run: str) -> None:
    ledger.write(
        run, [episode("e1"), episode("e2", "tuned"), ScoreRow("e1", "proxy", 1.0), ScoreRow("e1", "gold", 0.5)]
    )
    ledger.write(run, [Evaluation("v1", "kl", "naive", {"x": 1}, 1), Evaluation("v2", "gold", "naive", {"x": 1}, 1)])
    assert [e.id for e in ledger.episodes(run, policy="tuned")] == ["e2"]
    assert [s.value for s in ledger.scores(run, scorer="gold")] == [0.5]
    assert [v.id for v in ledger.evaluations(run, name="kl")] == ["v1"]


def test_runs_do_not_see_each_other(ledger: Ledger, run: str) -> None:
    other = ledger.start_run("test", {}, seed=1)
    ledger.write(run, [comparison(1)])
    ledger.write(other, [comparison(1, strength=-2)])
    assert [j.strength for j in ledger.judgments(run)] == [1]
    assert [j.strength for j in ledger.judgments(other)] == [-2]


def test_a_read_sees_the_moment_of_its_call(ledger: Ledger, run: str) -> None:
    ledger.write(run, [comparison(i) for i in range(1500)])
    reading = ledger.judgments(run)
    head = list(islice(reading, 3))
    ledger.write(run, [comparison(i) for i in range(1500, 1600)])
    ledger.write(run, [comparison(1400, strength=3)], supersedes="j1400")
    assert [j.strength for j in (*head, *reading)] == [1] * 1500


def test_summary_counts_what_stands(ledger: Ledger, run: str) -> None:
    rating = Rating(id="r", annotator="a", task="t", episodes=("e1",), value=5)
    ledger.write(run, [comparison(1), comparison(2), rating, Annotator("a", "ai"), Model("m", "m", "reward")])
    ledger.write(run, [comparison(2, strength=-1)], supersedes="j2")
    assert ledger.summary(run) == {"annotator": 1, "comparison": 2, "judgment": 3, "model": 1, "rating": 1}


# ---------------------------------------------------------------- writing again, and superseding


def test_writing_the_same_again_changes_nothing(ledger: Ledger, run: str) -> None:
    first = ledger.write(run, [comparison(1), comparison(2)])
    before = ledger.verify()
    assert ledger.write(run, [comparison(2), comparison(1), comparison(1)]) == [first[1], first[0], first[0]]
    assert ledger.verify() == before


def test_another_record_under_a_used_key_is_refused_and_the_whole_write_with_it(ledger: Ledger, run: str) -> None:
    ledger.write(run, [comparison(1)])
    with pytest.raises(InputError, match="judgment 'j1' is already recorded"):
        ledger.write(run, [comparison(2), comparison(1, strength=-3)])
    with pytest.raises(InputError, match="two different records of kind judgment have the id 'j3'"):
        ledger.write(run, [comparison(3), comparison(3, strength=-3)])
    assert [j.id for j in ledger.judgments(run)] == ["j1"]


@pytest.mark.parametrize("key", ["j1", "j1-corrected"])
def test_a_superseded_record_is_hidden_and_stays(ledger: Ledger, run: str, key: str) -> None:
    ledger.write(run, [comparison(1), comparison(2)])
    for _ in range(2):  # an interrupted run may repeat it
        ledger.write(run, [comparison(1, strength=-2, key=key)], supersedes="j1")
    assert [(j.id, j.strength) for j in ledger.judgments(run)] == [("j2", 1), (key, -2)]
    assert [(j.id, j.strength) for j in ledger.judgments(run, history=True)] == [("j1", 1), ("j2", 1), (key, -2)]
    ledger.write(run, [comparison(1)])  # nor does repeating the first step bring it back
    assert [(j.id, j.strength) for j in ledger.judgments(run)] == [("j2", 1), (key, -2)]
    assert ledger.verify().ok


def test_what_can_be_superseded(ledger: Ledger, run: str) -> None:
    ledger.write(run, [comparison(1), comparison(2)])
    ledger.write(run, [comparison(1, key="j1b")], supersedes="j1")
    with pytest.raises(InputError, match="'j1' was already superseded by 'j1b'"):
        ledger.write(run, [comparison(1, key="j1c")], supersedes="j1")
    with pytest.raises(InputError, match="'j9' is not in run"):
        ledger.write(run, [comparison(9)], supersedes="j9")
    with pytest.raises(InputError, match="2 records cannot supersede 'j2'"):
        ledger.write(run, [comparison(3), comparison(4)], supersedes="j2")
    with pytest.raises(InputError, match="'j2' is already recorded and did not supersede"):
        ledger.write(run, [comparison(2)], supersedes="j1b")
    ledger.write(run, [comparison(1, key="j1c")], supersedes="j1b")
    assert [j.id for j in ledger.judgments(run)] == ["j2", "j1c"]


# ---------------------------------------------------------------- runs


def test_a_run_records_its_start_resume_and_end(ledger: Ledger) -> None:
    run = ledger.start_run("Quick start", {"arm": "careful", "steps": 3}, seed=7)
    (started,) = ledger.runs()
    assert (started.id, started.recipe, started.seed, started.status) == (run, "Quick start", 7, "running")
    assert started.config == {"arm": "careful", "steps": 3}
    assert started.invocations[0]["packages"]["custodes"] == __version__
    assert {"python", "platform", "commit", "started"} <= started.invocations[0].keys()
    ledger.end_run(run, "interrupted")
    resumed = ledger.resume_run(run)
    assert (resumed.status, resumed.ended, len(resumed.invocations)) == ("running", None, 2)
    ended = ledger.end_run(run)
    assert ledger.runs() == [ended]
    assert ended.status == "completed"
    assert (ended.ended or "") > ended.started
    assert [r.status for r in ledger.runs(history=True)] == ["running", "interrupted", "running", "completed"]


def test_an_unknown_run_is_refused(ledger: Ledger) -> None:
    for act in (ledger.resume_run, ledger.end_run, ledger.judgments, ledger.summary, lambda r: ledger.write(r, [])):
        with pytest.raises(InputError, match="run 'nobody' is not in this ledger"):
            act("nobody")


def test_a_run_ends_in_a_known_way(ledger: Ledger, run: str) -> None:
    with pytest.raises(InputError, match="cannot end as 'fine'"):
        ledger.end_run(run, "fine")  # type: ignore[arg-type]


# ---------------------------------------------------------------- opened again


def test_a_ledger_is_the_same_when_opened_again(where: str) -> None:
    with Ledger.open(where) as ledger:
        run = ledger.start_run("test", {}, seed=0)
        ledger.write(run, [Decision("d", "stop", "enough")])
    with Ledger.open(where) as ledger:
        assert list(ledger.decisions(run)) == [Decision("d", "stop", "enough")]
        ledger.write(run, [Decision("d2", "go on", "not enough")])
    with Ledger.open(where, read_only=True) as ledger:
        assert ledger.verify().rows == 3
        with pytest.raises(InputError, match="opened for reading only"):
            ledger.write(run, [Decision("d3", "stop", "why not")])
