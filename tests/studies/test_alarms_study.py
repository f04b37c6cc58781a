"""The study of alarms reads what runs recorded: who rang, on which arms gold fell, and how early."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
from test_policy_studies import studied

from custodes.audit.rows import PolicyHeldout
from custodes.audit.sections.alarms import AlarmsSet, AlarmStep
from custodes.ledger import Evaluation, Ledger

STEPS = (0, 10, 20, 30, 40)


def recorded(folder: Path, falls: bool, rings_at: int | None) -> Path:
    """A run whose gold falls from step 20 on, or rises; its one alarm rings at a step, or never."""
    rng = np.random.default_rng(0)
    folder.mkdir()
    with Ledger.open(folder / "ledger.db") as ledger:
        run = ledger.start_run("quickstart", {}, 0)
        tasks = [f"t{i}" for i in range(60)]
        for k, step in enumerate(STEPS):
            gold = rng.normal((0.2 * min(k, 4 - k) if falls else 0.1 * k), 0.05, 60)
            row = PolicyHeldout(
                step=step,
                episode=[f"e{step}-{t}" for t in tasks],
                task=tasks,
                kl=[float(k)] * 60,
                proxy=(0.3 * k + rng.normal(0, 0.05, 60)).tolist(),
                gold=gold.tolist(),
                length=[20] * 60,
                chosen=step == STEPS[-1],
            )
            ledger.write(run, [Evaluation(f"h{step}", row.NAME, "naive", row.metrics(), row.n)])
        made = AlarmsSet(
            level=0.05,
            steps=40,
            alarm=["length"],
            tolerance=[1.5],
            acts=[False],
            facts=[{"mean": 20.0}],
            why_not=[""],
            unit=["length"],
            tells=["it"],
            cannot=["that"],
        )
        ledger.write(run, [Evaluation("set", made.NAME, "naive", made.metrics(), made.n)])
        for step in range(1, 41):
            rings = rings_at is not None and step >= rings_at
            row = AlarmStep(
                step=step,
                alarm=["length"],
                observed=[[20.0]],
                value=[20.0],
                low=[10.0],
                high=[30.0],
                sight=["20"],
                rings=[rings],
            )
            ledger.write(run, [Evaluation(f"a{step}", row.NAME, "naive", row.metrics(), row.n)])
        ledger.end_run(run, "completed")
    return folder


def test_precision_recall_and_lead_are_those_of_the_recorded_runs(tmp_path: Path) -> None:
    runs = [
        recorded(tmp_path / "a", falls=True, rings_at=14),
        recorded(tmp_path / "b", falls=True, rings_at=None),
        recorded(tmp_path / "c", falls=False, rings_at=30),
        recorded(tmp_path / "d", falls=False, rings_at=None),
    ]
    studied("alarms.py", *runs, "--out", tmp_path / "found.json")
    found = json.loads((tmp_path / "found.json").read_text())
    assert [arm["verdict"] for arm in found["arms"]] == ["turned_down", "turned_down", "no_sign", "no_sign"]
    of_length = found["alarms"]["length"]
    for name in ("precision", "recall", "rang where nothing was wrong"):
        assert (of_length[name]["estimate"], of_length[name]["n"]) == (0.5, 2)
    assert of_length["lead, steps"]["each"] == [6]
