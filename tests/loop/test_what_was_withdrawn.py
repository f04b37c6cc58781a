"""Whoever reads a ledger from which something was withdrawn says so or leaves it out, and never stumbles."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from custodes.audit import audit_run
from custodes.feedback.kinds.comparison import Comparison
from custodes.feedback.reading import read_feedback
from custodes.job.workspace import Workspace
from custodes.ledger import Ledger
from custodes.ledger.redacting import RedactionChoice, redact
from custodes.types import Episode, InputError, Message, Sampling, Task

sys.path.append(str(Path(__file__).parents[1] / "audit"))
from made_up_run import build_run

TASKS = [Task(f"t{i}", (Message("user", f"Say {i}"),)) for i in range(3)]


class Saying:
    """An engine that says one word, and counts how often it is asked."""

    asked = 0

    def generate(self, tasks: Sequence[Task], sampling: Sampling) -> list[Episode]:
        self.asked += len(tasks)
        arrays = np.zeros(1, np.int32), np.ones(1, np.bool_), np.zeros(1, np.float32)
        reply = Message("assistant", "yes")
        return [Episode(f"e-{task.id}", task, (*task.messages, reply), *arrays, "stop", "p") for task in tasks]


def test_judgments_that_were_withdrawn_are_left_out_and_counted(tmp_path: Path) -> None:
    where = tmp_path / "ledger.db"
    with Ledger.open(where) as ledger:
        run = ledger.start_run("labels", {}, seed=0)
        ledger.write(run, Saying().generate(TASKS, Sampling()))
        pairs = [("e-t0", "e-t1"), ("e-t1", "e-t2"), ("e-t0", "e-t1")]
        ledger.write(
            run,
            [
                Comparison(id=f"j{i}", annotator=who, task="t0", episodes=pair, strength=2)
                for i, (who, pair) in enumerate(zip(("ann", "bob", "cleo"), pairs, strict=True))
            ],
        )
        redact(ledger, RedactionChoice(annotator="ann"), who="Eve", why="asked")
        redact(ledger, RedactionChoice(rows=[4], fields=["reply"]), who="Eve", why="asked")  # e-t2, of bob's pair
    file = read_feedback(where)
    assert [j.id for j in file.feedback.judgments] == ["j2"]
    assert file.told() == [f"left out: 2 judgments of run {run}, withdrawn or on what was withdrawn"]
    with Ledger.open(where) as ledger:
        redact(ledger, RedactionChoice(annotator="cleo"), who="Eve", why="asked")
    with pytest.raises(InputError, match="holds no judgment but 3 judgments of run"):
        read_feedback(where)


def test_a_run_goes_on_unless_it_needs_what_was_withdrawn(tmp_path: Path) -> None:
    engine = Saying()

    def sample(count: int) -> None:
        with Workspace.open(tmp_path, "test", {}) as work, work.phase("p", "P"):
            work.sample("some", engine, TASKS[:count], Sampling())  # type: ignore[arg-type]

    sample(2)
    with Ledger.open(tmp_path / "ledger.db") as ledger:
        rows = {e.id for e in ledger.episodes(ledger.runs()[0].id)}
        assert rows == {"e-t0", "e-t1"}
        redact(ledger, RedactionChoice(holding="Say 1", fields=["task.metadata"]), who="Eve", why="asked")
    sample(2)
    assert engine.asked == 2
    with Ledger.open(tmp_path / "ledger.db") as ledger:
        redact(ledger, RedactionChoice(holding="Say 1"), who="Eve", why="asked")
    with pytest.raises(InputError, match=r"cannot go on: episode 'e-t1' was withdrawn .* by Eve; .* stays as it is"):
        sample(2)
    with Ledger.open(tmp_path / "ledger.db") as ledger:
        assert ledger.verify().ok


def test_a_report_is_written_of_what_is_left_and_tells_the_gap(tmp_path: Path) -> None:
    with Ledger.open(tmp_path / "ledger.db") as ledger:
        run = build_run(ledger)
        whole = audit_run(ledger, run)
        ids = [e.id for e in ledger.episodes(run)]
        (words,) = {e.completion for e in ledger.episodes(run) if e.id == ids[0]}
        redact(ledger, RedactionChoice(run=run, holding=words), who="Eve", why="asked for deletion")
        assert ids[0] not in {e.id for e in ledger.episodes(run)}
        report = audit_run(ledger, run)
        (sentence,) = report["provenance"]["ledger"]["withdrawn"]
        assert "by Eve:" in sentence
        assert "Why: asked for deletion (row" in sentence
        assert report["provenance"]["ledger"]["ok"]
        assert report["optimisation"].keys() == whole["optimisation"].keys()
        kinds = ("episode", "judgment", "evaluation", "annotator", "decision")
        for kind in kinds:  # whatever goes, a report can be written
            with ledger.reading() as connection:
                rows = connection.exec_driver_sql(f"SELECT seq FROM log WHERE kind = '{kind}' AND run = '{run}'").all()
            if rows:
                fields = ["metrics"] if kind == "evaluation" else []
                redact(ledger, RedactionChoice(rows=[seq for (seq,) in rows], fields=fields), who="Eve", why="all")
                audit_run(ledger, run).to_json()
        assert ledger.verify().ok
