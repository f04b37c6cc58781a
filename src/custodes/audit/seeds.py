"""The arms of several runs side by side: what one seed's held-out tasks can tell, and what seeds tell of the next run."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from custodes.audit.report import audit_run
from custodes.ledger import Ledger
from custodes.page import plain_json
from custodes.stats import Interval, mean_interval
from custodes.types import InputError


@dataclass(frozen=True)
class SeedOfArms:
    """One run: the careful arm against the naive one at the largest sqrt(KL) that both reached."""

    run: str
    seed: int
    sqrt_kl: float
    careful: Interval
    naive: Interval
    difference: Interval
    """Gold of the careful arm minus gold of the naive one, paired by task; it speaks of this run's tasks alone."""
    reward_accuracy: dict[str, Interval]


@dataclass(frozen=True)
class SeedsOfArms:
    """Several runs that differ in their seed."""

    runs: tuple[SeedOfArms, ...]
    difference: Interval
    """Student's t over the runs' differences (n is the number of runs): what to expect of another seed."""

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON."""
        return dict(plain_json(self))


def compare_arms(ledgers: Sequence[str | Path]) -> SeedsOfArms:
    """The arms of the last run of each ledger (a file, a URL, or the folder of a run) at equal KL.

    Raises InputError for a ledger without both arms, and for the same seed twice.
    """
    if not ledgers:
        raise InputError("no runs to compare; give the folders of some, one for each seed.")
    seeds = tuple(_seed(str(where)) for where in ledgers)
    twice = [s for i, s in enumerate(seeds) if s.seed in {other.seed for other in seeds[:i]}]
    if twice:
        raise InputError(f"{twice[0].run} has seed {twice[0].seed} like another run; runs of one seed are one run.")
    return SeedsOfArms(seeds, mean_interval([s.difference.estimate for s in seeds]))


def _seed(where: str) -> SeedOfArms:
    path = Path(where) / "ledger.db" if Path(where).is_dir() else where
    with Ledger.open(path, read_only=True) as ledger:
        runs = ledger.runs()
        if not runs:
            raise InputError(f"{where} holds no run; there is nothing to compare.")
        audit = audit_run(ledger, runs[-1].id)
        seed = runs[-1].seed
    arms = audit["arms"]
    if arms is None or set(arms["gold"]) != {"careful", "naive"}:
        raise InputError(f"{where} has no two arms with gold at several KLs; run it with --arms all, to its end.")
    gold, difference = arms["gold"], arms["difference"]["naive"]
    accuracy = {arm: reward["accuracy"] for arm, reward in audit["rewards"].items()}
    return SeedOfArms(where, seed, arms["sqrt_kl"], gold["careful"], gold["naive"], difference, accuracy)
