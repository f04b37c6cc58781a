"""Arms side by side: the naive one's gold turns down, the careful one's does not, and replies on the way are shown."""

from __future__ import annotations

import numpy as np
import pytest

from custodes import audit
from custodes.audit import audit_run
from custodes.ledger import Evaluation, Ledger
from custodes.page import Report
from custodes.types import Episode, Message, Task

GOLD = {"naive": (0.3, 0.6, 0.2), "careful": (0.3, 0.45, 0.6)}
STEPS = (0, 8, 16)
TASKS = [Task(f"task-{i:02d}", (Message("user", f"Ask {i}."),), "instructions") for i in range(40)]


def write_arms(ledger: Ledger, gold: dict[str, tuple[float, ...]]) -> str:
    run, rng = ledger.start_run("quickstart", {}, seed=0), np.random.default_rng(0)
    ledger.write(run, TASKS)
    for arm, means in gold.items():
        for step, mean in zip(STEPS, means, strict=True):
            said = [_reply(task, arm, step) for task in TASKS]
            ledger.write(run, said)
            row = audit.PolicyHeldout(
                step=step,
                episode=[e.id for e in said],
                task=[t.id for t in TASKS],
                kl=[step / 2.0] * len(TASKS),
                proxy=rng.normal(step, 1, len(TASKS)).tolist(),
                gold=rng.normal(mean, 0.1, len(TASKS)).tolist(),
            )
            ledger.write(run, [Evaluation(f"{arm}-{step}", row.NAME, arm, row.metrics(), row.n)])
    ledger.end_run(run)
    return run


def _reply(task: Task, arm: str, step: int) -> Episode:
    messages = (*task.messages, Message("assistant", f"{arm} at {step}: {task.id}"))
    return Episode.written(f"{arm}-{step}-{task.id}", task, messages, f"{arm}-{step}")


@pytest.fixture
def told(empty_run: tuple[Ledger, str]) -> Report:
    ledger, _ = empty_run
    return audit_run(ledger, write_arms(ledger, GOLD))


def test_each_arm_has_its_verdict_in_the_headline_the_claims_and_beside_the_other(told: Report) -> None:
    assert told.headline["overoptimisation"] == {"careful": "no_sign", "naive": "turned_down"}
    claims = [claim for claim in told.claims if " arm: " in claim]
    assert claims[0].startswith("The careful arm: No sign that gold turned down")
    assert claims[1].startswith("The naive arm: Gold turned down: from step 8 to step 16 it went −0.4")
    page = told.html()
    for test in told["arms"]["overoptimisation"].values():
        assert page.count(test.sentence) == 3  # among the claims, beside the other arm, in its own section
    for chart in ("gained over the base policy, against step.", "gained over the base policy, against √KL"):
        assert page.count(f"<title>proxy {chart}") >= 1
        assert page.count(f"<title>gold {chart}") >= 1


def test_replies_to_the_same_tasks_are_shown_at_base_peak_and_end(told: Report) -> None:
    naive, careful = told["replies"]["naive"], told["replies"]["careful"]
    assert [t["task"] for t in naive] == [t.id for t in TASKS[:3]]  # the first, whatever their scores
    assert [r["moment"] for r in naive[0]["replies"]] == ["base", "step 8, gold highest", "step 16, the end"]
    assert [r["text"] for r in naive[1]["replies"]] == [f"naive at {step}: task-01" for step in STEPS]
    assert [r["moment"] for r in careful[0]["replies"]] == [
        "base",
        "step 16, the end",
    ]  # where gold is highest at the end
    assert "naive at 16: task-02" in told.html()
