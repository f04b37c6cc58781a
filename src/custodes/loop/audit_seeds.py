"""Runs side by side at equal KL: what one seed's held-out tasks can tell, and what seeds tell of the next run."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro
from rich.console import Console
from rich.table import Table

from custodes.audit import audit_run
from custodes.audit.overoptimisation import OveroptimisationTest
from custodes.job.command import command, in_words
from custodes.job.workspace import latest_runs
from custodes.ledger import Ledger
from custodes.stats import Interval, mean_interval
from custodes.types import InputError


@dataclass(frozen=True, kw_only=True)
class AuditSeeds:
    """The careful and the naive arm of several runs (custodes quickstart --arms all --seed N) at equal KL."""

    runs: tyro.conf.Positional[Annotated[tuple[str, ...], tyro.conf.arg(metavar="DIR")]]
    """Folders of the runs, or their ledgers; one for each seed."""


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
    overoptimisation: dict[str, OveroptimisationTest]
    """Arm -> whether its gold turned down, or stayed behind the proxy, by the end."""


@dataclass(frozen=True)
class SeedsOfArms:
    """Several runs that differ in their seed."""

    runs: tuple[SeedOfArms, ...]
    difference: Interval
    """Student's t over the runs' differences (n is the number of runs): what to expect of another seed."""


@command()
def audit_seeds(config: AuditSeeds) -> SeedsOfArms:
    """Set the arms of several runs side by side at equal KL, seed by seed.

    Raises InputError for a ledger without both arms, and for the same seed twice.
    """
    if not config.runs:
        raise InputError("no runs to compare; give the folders of some, one for each seed.")
    seeds = tuple(map(_seed, config.runs))
    twice = [s for i, s in enumerate(seeds) if s.seed in {other.seed for other in seeds[:i]}]
    if twice:
        raise InputError(f"{twice[0].run} has seed {twice[0].seed} like another run; runs of one seed are one run.")
    return SeedsOfArms(seeds, mean_interval([s.difference.estimate for s in seeds]))


@in_words(audit_seeds)
def _show(config: AuditSeeds, compared: SeedsOfArms) -> None:
    table = Table("seed", "√KL", "gold, careful", "gold, naive", "difference, paired by task", box=None)
    for s in compared.runs:
        table.add_row(str(s.seed), f"{s.sqrt_kl:.2f}", *(str(i) for i in (s.careful, s.naive, s.difference)))
    Console().print(table)
    for s in compared.runs:
        for arm, test in s.overoptimisation.items():
            print(f"Seed {s.seed}, {arm}: {test.sentence}")
    print(f"Over seeds (Student's t of the seeds' differences): {compared.difference}.")


def _seed(where: str) -> SeedOfArms:
    path = Path(where) / "ledger.db" if Path(where).is_dir() else where
    with Ledger.open(path, read_only=True) as ledger:
        runs = latest_runs(ledger)
        if not runs:
            raise InputError(f"{where} holds no run; there is nothing to compare.")
        audit = audit_run(ledger, runs[0].id)
        seed = runs[0].seed
    arms = audit["arms"]
    if arms is None or set(arms["gold"]) != {"careful", "naive"}:
        raise InputError(f"{where} has no two arms with gold at several KLs; run it with --arms all, to its end.")
    gold, difference = arms["gold"], arms["difference"]["naive"]
    accuracy = {arm: reward["accuracy"] for arm, reward in audit["rewards"].items()}
    tests = arms["overoptimisation"]
    return SeedOfArms(where, seed, arms["sqrt_kl"], gold["careful"], gold["naive"], difference, accuracy, tests)
