"""From the ledger alone to the audit."""

import json

import numpy as np
import pytest
from made_up_run import build_run

from custodes.audit import PolicyHeldout, audit_run
from custodes.ledger import Evaluation, Ledger
from custodes.page import Report
from custodes.types import InputError

HEADLINE = {
    "gold_base",
    "gold_optimised",
    "gold_gain_interval",
    "overoptimisation",
    "reward_accuracy",
    "reward_accuracy_interval",
    "annotator_rank_correlation",
    "seconds",
    "peak_memory_gb",
}


@pytest.fixture(scope="module")
def audit(recorded_run: tuple[Ledger, str]) -> Report:
    return audit_run(*recorded_run)


def test_headline_has_exactly_the_promised_keys_and_plain_numbers(audit: Report) -> None:
    assert set(audit.headline) == HEADLINE
    low, high = audit.to_json()["headline"]["gold_gain_interval"]
    assert 0 < low < audit.headline["gold_optimised"] - audit.headline["gold_base"] < high
    assert audit.headline["seconds"] == pytest.approx(41 + 188.5 + 702.3 + 96)


def test_the_headline_is_about_the_policy_that_was_handed_over(audit: Report) -> None:
    chosen = [p for p in audit["optimisation"]["careful"]["points"] if p["chosen"]]
    assert [p["step"] for p in chosen] == [60]
    assert audit.headline["gold_optimised"] == pytest.approx(chosen[0]["gold_level"].estimate)


def test_the_made_up_gaming_is_found(audit: Report) -> None:
    change = {c["check"]: c["change"] for c in audit["gaming"]["naive"]["checks"]}
    assert change["at_most_words"] == "worse"
    assert change["bullets"] == "better"
    assert audit["gaming"]["naive"]["gap"]["gap"].low > 0
    for example in audit["gaming"]["naive"]["examples"]:
        assert example["optimised"]["proxy"] > example["base"]["proxy"]
        assert example["optimised"]["gold"] < example["base"]["gold"]


def test_the_collapse_of_diversity_is_found_within_and_across_prompts(audit: Report) -> None:
    for name in ("within_distinct", "within_distance", "across_distinct", "across_distance", "entropy"):
        assert audit["diversity"]["naive"][name]["difference"].high < 0


def test_arms_are_compared_at_a_distance_that_both_reached(audit: Report) -> None:
    furthest = [max(p["sqrt_kl"] for p in o["points"]) for o in audit["optimisation"].values()]
    assert audit["arms"]["sqrt_kl"] == pytest.approx(min(furthest))
    assert list(audit["arms"]["difference"]) == ["naive"]
    assert audit["arms"]["difference"]["naive"].low > 0


def test_the_same_content_is_finite_json(audit: Report) -> None:
    text = json.dumps(audit.to_json(), allow_nan=False)
    assert json.loads(text)["judges"]["rank_correlation"]["n"] == 24


def test_a_run_that_recorded_nothing_says_so(empty_run: tuple[Ledger, str]) -> None:
    audit = audit_run(*empty_run)
    assert set(audit.headline) == HEADLINE
    assert set(audit.headline.values()) == {None}
    assert any("annotator model" in m for m in audit.missing)
    assert any("peak" in m or "memory" in m for m in audit.missing)
    json.dumps(audit.to_json(), allow_nan=False)


def test_an_unknown_run_is_named(empty_run: tuple[Ledger, str]) -> None:
    with pytest.raises(InputError, match="no run 'other'"):
        audit_run(empty_run[0], "other")


def test_without_gold_nothing_is_claimed_of_the_truth(empty_run: tuple[Ledger, str]) -> None:
    ledger, run = empty_run
    rng = np.random.default_rng(0)
    for step in (0, 5):
        row = PolicyHeldout(
            step=step, episode=[f"e{step}-{i}" for i in range(9)], task=[f"t{i}" for i in range(9)],
            kl=[float(step)] * 9, proxy=rng.normal(step, 1, 9).tolist(),
        )  # fmt: skip
        ledger.write(run, [Evaluation(f"h{step}", row.NAME, "careful", row.metrics(), row.n)])
    audit = audit_run(ledger, run)
    assert audit.headline["gold_gain_interval"] is None
    assert audit["optimisation"]["careful"]["points"][1]["gold"] is None
    assert audit["optimisation"]["careful"]["points"][1]["proxy"].low > 0
    assert "cannot say" in audit.claims[0]


def test_a_superseded_row_does_not_count(tmp_path_factory: pytest.TempPathFactory) -> None:
    with Ledger.open(tmp_path_factory.mktemp("again") / "ledger.db") as ledger:
        run = build_run(ledger, arms=("careful",), tasks=48)
        before = audit_run(ledger, run)
        old = next(e for e in ledger.evaluations(run, "policy_heldout") if e.metrics["step"] == 60)
        better = old.metrics | {"gold": [1.0] * old.n}
        ledger.write(run, [Evaluation(old.id, old.name, old.subject, better, old.n)], supersedes=old.id)
        after = audit_run(ledger, run)
    assert before.headline["gold_optimised"] < 1
    assert after.headline["gold_optimised"] == 1
    assert before["arms"] is None
