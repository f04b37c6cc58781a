"""Rows survive the ledger, and wrong ones are refused with one sentence."""

import math

import numpy as np
import pytest

from custodes import audit
from custodes.ledger import Evaluation, Ledger
from custodes.types import InputError


def test_rows_come_back_from_the_ledger_as_they_were_written(empty_run: tuple[Ledger, str]) -> None:
    ledger, run = empty_run
    rows = [
        audit.PolicyStep(step=3, kl=0.5, episodes=8),
        audit.PolicyHeldout(step=1, episode=["e"], task=["t"], kl=[0.1], proxy=[0.2], gold=[1.0], chosen=True),
        audit.BestOfNSamples(task=["t"], proxy=[[0.1, 0.2]], gold=[[1.0, 0.0]]),
        audit.Resources(seconds={"policy": 3.5}, peak_memory_gb=1.2),
    ]
    ledger.write(run, [Evaluation(f"{i}", r.NAME, "careful", r.metrics(), r.n) for i, r in enumerate(rows)])
    recorded = audit.RecordedRun(ledger, run)
    for row in rows:
        assert recorded.rows(type(row)) == {"careful": [row]}
        assert recorded.last(type(row)) == {"careful": row}


def test_numpy_and_numbers_that_are_not_finite_become_json() -> None:
    row = audit.PolicyStep(step=1, kl=np.float32(0.5), entropy=math.nan, grad_norm=math.inf)
    assert row.metrics() == {**dict.fromkeys(row.metrics()), "step": 1, "kl": 0.5, "episodes": 0}
    assert type(row.metrics()["kl"]) is float


def test_lists_that_are_not_aligned_are_refused() -> None:
    with pytest.raises(InputError, match="different lengths"):
        audit.Checks(task=["a"], check=["x"], base=[1.0, 0.0], optimised=[1.0])


@pytest.mark.parametrize(("metrics", "word"), [({"step": 1, "klx": 2}, "klx"), ({"kl": 2}, "step")])
def test_a_row_with_an_unknown_or_missing_field_is_named(metrics: dict[str, object], word: str) -> None:
    with pytest.raises(InputError, match=rf"e7 .*{word}"):
        audit.PolicyStep.read(Evaluation("e7", "policy_step", "careful", metrics, 1))
