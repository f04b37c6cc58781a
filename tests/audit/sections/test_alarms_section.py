"""What the alarms of each arm saw stands among the claims, arm by arm."""

from __future__ import annotations

from pathlib import Path

from custodes.audit import PolicyHeldout, audit_run
from custodes.audit.sections.alarms import AlarmsSet, AlarmStep
from custodes.ledger import Evaluation, Ledger


def recorded(ledger: Ledger, rings_from: dict[str, int]) -> str:
    """A run of four steps with one alarm; arm -> the step from which it rings, 9 for never."""
    run = ledger.start_run("quickstart", {}, seed=0)
    for arm, first in rings_from.items():
        base = PolicyHeldout(step=0, episode=["e"], task=["t"], kl=[0.0], proxy=[0.0], length=[20], chosen=False)
        ledger.write(run, [Evaluation(f"base-{arm}", base.NAME, arm, base.metrics(), base.n)])
        made = AlarmsSet(
            level=0.05, steps=4, alarm=["length"], tolerance=[1.5], acts=[False], facts=[{"mean": 20.0}], why_not=[""],
            unit=["tokens"], tells=["that replies got longer"], cannot=["whether they got worse"],
        )  # fmt: skip
        ledger.write(run, [Evaluation(f"set-{arm}", made.NAME, arm, made.metrics(), made.n)])
        for step in range(1, 5):
            row = AlarmStep(
                step=step, alarm=["length"], observed=[[20.0]], value=[20.0], low=[10.0], high=[30.0],
                sight=["20 tokens"], rings=[step >= first],
            )  # fmt: skip
            ledger.write(run, [Evaluation(f"{arm}-{step}", row.NAME, arm, row.metrics(), row.n)])
    ledger.end_run(run)
    return run


def test_each_arm_says_which_alarms_rang(tmp_path: Path) -> None:
    with Ledger.open(tmp_path / "ledger.db") as ledger:
        both = audit_run(ledger, recorded(ledger, {"careful": 9, "naive": 3}))
        one = audit_run(ledger, recorded(ledger, {"careful": 9}))
    claims = [claim for claim in both.claims if "alarm" in claim]
    assert "The careful arm: No alarm rang: length." in claims
    assert [claim.startswith("The naive arm: The alarm length rang at step 3") for claim in claims].count(True) == 1
    assert "No alarm rang: length." in one.claims
