"""Arms over several seeds."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from made_up_run import build_run

from custodes.cli import main
from custodes.ledger import Ledger
from custodes.loop.audit_seeds import AuditSeeds, audit_seeds
from custodes.types import InputError


def made_up(folder: Path, seed: int, arms: tuple[str, ...] = ("naive", "careful")) -> str:
    folder.mkdir()
    with Ledger.open(folder / "ledger.db") as ledger:
        build_run(ledger, arms, tasks=48, seed=seed)
    return str(folder)


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    folder = tmp_path_factory.mktemp("seeds")
    return [made_up(folder / str(seed), seed) for seed in (1, 2, 3)]


def test_what_seeds_say_is_the_mean_of_what_each_says_and_wider(runs: list[str]) -> None:
    found = audit_seeds(AuditSeeds(runs=tuple(runs)))
    each = [seed.difference for seed in found.runs]
    assert found.difference.n == 3
    assert found.difference.estimate == pytest.approx(sum(d.estimate for d in each) / 3)
    for seed in found.runs:  # at equal KL, on the same tasks, the difference is that of the means
        assert seed.difference.estimate == pytest.approx(seed.careful.estimate - seed.naive.estimate)
        assert seed.difference.n == 48
        assert set(seed.reward_accuracy) == {"careful", "naive"}
    assert [seed.seed for seed in found.runs] == [1, 2, 3]


def test_one_run_says_nothing_of_other_seeds(runs: list[str]) -> None:
    assert audit_seeds(AuditSeeds(runs=tuple(runs[:1]))).difference.to_dict()["low"] is None


def test_the_command_prints_every_seed(runs: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["audit", "seeds", *runs]) == 0
    printed = capsys.readouterr().out
    assert "Over seeds" in printed
    assert all(f"Seed {seed}, {arm}: " in printed for seed in (1, 2, 3) for arm in ("careful", "naive"))
    assert main(["audit", "seeds", *runs, "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert [run["seed"] for run in told["runs"]] == [1, 2, 3]
    assert told["difference"]["n"] == 3


def test_what_cannot_be_compared_is_one_sentence(runs: list[str], tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no runs"):
        audit_seeds(AuditSeeds(runs=()))
    with pytest.raises(InputError, match="seed 1 like another run"):
        audit_seeds(AuditSeeds(runs=(runs[0], runs[0])))
    with pytest.raises(InputError, match="--arms all"):
        audit_seeds(AuditSeeds(runs=(made_up(tmp_path / "one", 5, ("careful",)),)))
    with pytest.raises(InputError):
        audit_seeds(AuditSeeds(runs=(str(tmp_path / "nothing.db"),)))
