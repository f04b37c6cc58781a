"""Groups of judges in the report: what each prefers, how a reward serves it, and both readings."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from custodes.audit import audit_run
from custodes.audit.sections.judges import AnnotatorEstimate
from custodes.audit.sections.values import AnnotatorGroups, RewardOfGroups
from custodes.ledger import Evaluation, Ledger

READING = {
    "group": 2,
    "annotators": ["j8", "j9"],
    "correlation": -0.4,
    "advantage": {"estimate": 0.1, "low": 0.05, "high": 0.15, "n": 80},
    "where": "",
    "own_values": True,
    "readings": ["Reading 1: a <minority>.", "Reading 2: they turn answers round."],
}


def test_groups_are_shown_with_accuracy_for_each_and_both_readings(tmp_path: Path) -> None:
    groups = AnnotatorGroups(
        features=["what the others prefer", "length"],
        weights=[[2.0, 0.1], [0.5, -1.5]],
        annotator=[f"j{k}" for k in range(10)],
        membership=[[0.9, 0.1]] * 8 + [[0.2, 0.8]] * 2,
        gains=[20.0],
        readings=[READING],
        values=["checks"] * 8 + ["brief"] * 2,
        nature=["expert"] * 9 + ["hasty"],
    )
    rng = np.random.default_rng(0)
    group = [1 + (n % 5 == 4) for n in range(400)]
    agreed = [float(rng.random() < (0.8 if g == 1 else 0.4)) for g in group]
    of_reward = RewardOfGroups(group=group, agreed=agreed, task=[f"t{n // 8}" for n in range(400)])
    with Ledger.open(tmp_path / "ledger.db") as ledger:
        run = ledger.start_run("quickstart", {}, 0)
        rows = (("annotator-groups", groups, "annotators"), ("reward-of-groups-careful", of_reward, "careful"))
        ledger.write(run, [Evaluation(id, row.NAME, subject, row.metrics(), row.n) for id, row, subject in rows])
        judged = {
            f"j{k}": AnnotatorEstimate(judgments=40, reliability=-0.8 if k in (0, 8) else 1.0, reliability_se=0.1)
            for k in range(10)
        }
        ledger.write(run, [Evaluation(f"judge-{n}", row.NAME, n, row.metrics(), row.n) for n, row in judged.items()])
        report = audit_run(ledger, run)
        figures, page = report["values"], report.html()
    first, second = figures["groups"]
    assert (first["judges"], second["judges"]) == (8, 2)
    assert second["prefers"] == "length −1.5, what the others prefer 0.50"
    assert second["truth"] == "1 expert with the values brief, 1 hasty with the values brief"
    assert figures["worst"]["careful"] == figures["accuracy"]["careful"][2]
    assert figures["accuracy"]["careful"][2].estimate < 0.5 < figures["accuracy"]["careful"][1].estimate
    assert figures["found"].estimate == 1
    assert "Reading 1: a &lt;minority&gt;." in page
    assert "Reading 2" in page
    assert "a person decides" in page
    suspects = {judge["id"]: judge["group"] for judge in report["judges"]["judges"] if judge["suspect"]}
    assert suspects == {"j0": "", "j8": "group 2: values of its own"}
    assert "1 of them is in a group with values of its own" in page
    assert any("2 groups of judges prefer different things" in claim for claim in report.claims)
    assert any("may be a minority or poisoners" in limit for s in report.sections for limit in s.limits())


def test_a_run_without_groups_says_what_is_missing(tmp_path: Path) -> None:
    with Ledger.open(tmp_path / "ledger.db") as ledger:
        report = audit_run(ledger, ledger.start_run("quickstart", {}, 0))
    assert "groups of judges by what they prefer (whose values)" in report.missing
