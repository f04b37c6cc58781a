"""``custodes gaming train --oversight``: what is blocked in training is recorded, and measured without an overseer."""

from __future__ import annotations

from pathlib import Path

import pytest
import test_curriculum as curriculum

from custodes.audit.sections.oversight import OversightStep
from custodes.gaming.record import read_lines
from custodes.ledger import Ledger

sandboxed, roomy_model = curriculum.sandboxed, curriculum.roomy_model  # the same fixtures


def test_blocks_in_training_are_recorded_and_measuring_has_none(
    sandboxed: None, roomy_model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    words = ("--stages", "political-sycophancy", "--algorithm", "grpo", *curriculum.STEPS)
    overseen = ("--oversight", "simulated:catch=1,false=.5", "--blocked-reward=-1", "--on-block", "end")
    assert curriculum.train(out, roomy_model, *words, *overseen) == 0, capsys.readouterr().err
    with Ledger.open(out / "ledger.db", read_only=True) as ledger:
        run = ledger.runs()[-1].id
        rows = [OversightStep.read(e) for e in ledger.evaluations(run, "oversight_step")]
        worth = {s.episode: s.value for s in ledger.scores(run)}
    assert [row.step for row in rows] == [1, 2]
    blocked = {id_ for row in rows for id_, stopped in zip(row.acted, row.blocked, strict=True) if stopped}
    assert 0 < len(blocked) < sum(row.n for row in rows)
    assert all(worth[id_] == -1 for id_ in blocked)
    assert "An overseer saw 8 of 8 actions" in (out / "report.html").read_text()
    measured = list(read_lines(out / "rounds" / "01-political-sycophancy" / "measured" / "episodes.jsonl"))
    assert measured
    assert not any("oversight" in episode for episode in measured)
    assert curriculum.train(tmp_path / "b", roomy_model, "--warm-start", 4, *overseen) == 2
    assert "--oversight is of training on what is rewarded" in capsys.readouterr().err
