"""What the section on rewards makes of held-out pairs."""

from pathlib import Path
from typing import Any

from custodes.audit import RewardHeldout
from custodes.audit.record import RecordedRun
from custodes.audit.sections.rewards import RewardsSection
from custodes.ledger import Evaluation, Ledger


def figures(folder: Path, calibrated_on: list[bool] | None) -> dict[str, Any]:
    """Of 40 pairs, of which the reward has the first half right and is sure of all."""
    row = RewardHeldout(
        margin=[3.0] * 40,
        outcome=[1] * 20 + [0] * 20,
        length_difference=[1] * 40,
        task=[f"task {i}" for i in range(40)],
        calibrated_on=calibrated_on,
    )
    with Ledger.open(folder / "ledger.db") as ledger:
        run = ledger.start_run("quickstart", {}, 0)
        ledger.write(run, [Evaluation("reward-heldout-careful", row.NAME, "careful", row.metrics(), row.n)])
        read = RewardsSection(RecordedRun(ledger, run)).read_arm("careful")
    assert read is not None
    return read


def test_accuracy_counts_all_pairs_and_calibration_those_apart(tmp_path: Path) -> None:
    """The temperature was fitted on the first half: only the second, where the reward is wrong, says how well it is calibrated."""
    read = figures(tmp_path, [True] * 20 + [False] * 20)
    assert read["accuracy"].estimate == 0.5
    assert read["accuracy"].n == 40
    assert read["ece_after"].n == 20
    assert read["ece_after"].estimate > 0.9


def test_a_row_that_does_not_say_was_not_calibrated_on_its_pairs(tmp_path: Path) -> None:
    assert figures(tmp_path, None)["ece_after"].n == 40


def test_nothing_apart_says_nothing_of_calibration(tmp_path: Path) -> None:
    read = figures(tmp_path, [True] * 40)
    assert read["accuracy"].n == 40
    assert read["ece_after"].n == 0
