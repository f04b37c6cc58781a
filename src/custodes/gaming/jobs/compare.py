"""Policies compared on the same variants: what ``custodes gaming compare`` does.

Two sides, each one run or several seeds: one row a stage, and one below it for each seed. More than two arms (policies, or
one policy under several options): one row a folder, each against the first.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import tyro
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from custodes.gaming.comparison import compare_stage, hits_of
from custodes.gaming.jobs.run import GamingRun, read_summary
from custodes.gaming.record import EpisodeRows, read_index
from custodes.gaming.staging import option_defaults
from custodes.gaming.summary import variant_rate
from custodes.job.command import command, in_words
from custodes.job.options import defaults_of
from custodes.types import InputError


@dataclass(frozen=True, kw_only=True)
class GamingCompare:
    """Compare runs on the variants that they share.

    Two runs; several seeds of each of two policies; or more policies, mitigations and options, one row each, against the first.
    """

    folders: tyro.conf.Positional[Annotated[tuple[Path, ...], tyro.conf.arg(metavar="DIR_A DIR_B ...")]]
    """What was given to custodes gaming run as --out: two folders or more."""
    measure: str = "gamed"
    """gamed, failed, caught, well_formed, or a fact such as edited-guard."""
    stage: str = ""
    """Only this stage; all that the runs share when it is not given."""


@dataclass(frozen=True, slots=True)
class _Run:
    """One run, as its summary tells of it."""

    path: Path
    seed: int
    stages: list[str]
    options: dict[str, Any]  # the policy and the split among them

    @property
    def arm(self) -> str:
        """What is equal in runs that differ by their seed alone."""
        return json.dumps(self.options, sort_keys=True)

    def rows(self, stage: str) -> EpisodeRows:
        rows = read_index(self.path / "episodes.index")
        return rows[rows["stage"] == self.stages.index(stage)]


@command()
def gaming_compare(config: GamingCompare) -> dict[str, Any]:
    """Compare policies, or mitigations on and off, on the same variants, paired.

    Stage by stage, ready for JSON: ``a`` against ``b`` where there are two sides, else ``rows``, each against the first.
    ``differs`` says which options of a side are not those of the other, or of a row not those of the first.

    Raises InputError where the runs share nothing, and where two policies do not have the same seeds.
    """
    if len(config.folders) < 2:
        raise InputError(f"custodes gaming compare takes two folders or more, not {len(config.folders)}.")
    measure, runs = config.measure, [_read(folder) for folder in config.folders]
    stages = [s for s in runs[0].stages if all(s in run.stages for run in runs)]
    if config.stage and config.stage not in stages:
        shared = ", ".join(stages) or "none"
        raise InputError(f"stage {config.stage!r} is not in all of the runs; they share {shared}.")
    if not stages:
        raise InputError(f"{' and '.join(str(run.path) for run in runs)} share no stage.")
    stages = [config.stage] if config.stage else stages
    arms = list(dict.fromkeys(run.arm for run in runs))
    if len(runs) > 2 and len(arms) != 2:
        return {"measure": measure, "rows": [_row(run, runs[0], stages, measure) for run in runs]}
    a, b = [[run] for run in runs] if len(runs) == 2 else ([run for run in runs if run.arm == arm] for arm in arms)
    seeds = [sorted(run.seed for run in side) for side in (a, b)]
    if len(runs) > 2 and (seeds[0] != seeds[1] or len(set(seeds[0])) < len(seeds[0])):
        raise InputError(f"the seeds of the two policies are {seeds[0]} and {seeds[1]}; give the same, each once.")
    pairs = {}
    for x, y in zip(sorted(a, key=lambda run: run.seed), sorted(b, key=lambda run: run.seed), strict=True):
        pairs[f"seed {x.seed}" if x.seed == y.seed else f"seeds {x.seed} and {y.seed}"] = x, y
    by_stage = {
        name: compare_stage({label: (x.rows(name), y.rows(name)) for label, (x, y) in pairs.items()}, measure)
        for name in stages
    }
    return {"measure": measure, "a": _about(a, b), "b": _about(b, a), "stages": by_stage}


def _read(folder: Path) -> _Run:
    summary, stages = read_summary(folder)
    try:
        options = {"policy": summary["policy"], "split": summary["split"], **summary["options"]}
        return _Run(folder, int(summary["seed"]), stages, options)
    except (KeyError, TypeError, ValueError):
        raise InputError(f"{folder / 'summary.json'} does not say which policy and seed it is of.") from None


def _row(run: _Run, first: _Run, stages: list[str], measure: str) -> dict[str, Any]:
    """A run against the first; of the first itself its rates."""
    if run is first:
        rows = {name: run.rows(name) for name in stages}
        rates = {name: variant_rate(hits_of(r, measure), r["variant"]) for name, r in rows.items()}
    else:
        rates = {name: compare_stage({"": (first.rows(name), run.rows(name))}, measure) for name in stages}
    return {**_about([run], [first]), "stages": rates}


def _about(side: list[_Run], other: list[_Run]) -> dict[str, Any]:
    mine = {**side[0].options, "seed": side[0].seed} if len(side) == 1 else side[0].options
    theirs = {**other[0].options, "seed": other[0].seed}
    before = option_defaults() | defaults_of(GamingRun)  # what runs did that were recorded before an option existed
    return {
        "policy": side[0].options["policy"],
        "options": side[0].options,
        "differs": {name: value for name, value in mine.items() if value != theirs.get(name, before.get(name))},
        "folders": [str(run.path) for run in side],
        "seeds": [run.seed for run in side],
    }


# ---------------------------------------------------------------- in words


@in_words(gaming_compare)
def _show(config: GamingCompare, compared: dict[str, Any]) -> None:
    """Two sides: a row for each stage, and below it for each seed. Else a table for each stage, with a row for each folder."""
    console, measure = Console(), compared["measure"]
    if "rows" in compared:
        first, *others = compared["rows"]
        console.print(f"each against: {_name(first)} ({first['folders'][0]})", highlight=False, markup=False)
        for stage, rates in first["stages"].items():
            columns = ("run", "differs in", "rate", "first", "difference, 95 %", "test", "p")
            table = _table(f"{stage}: {measure}, on the same variants", columns)
            table.add_row(first["folders"][0], "", _count(rates), *[""] * 4)
            for row in others:
                theirs, ours, *rest = _cells(row["stages"][stage])
                differs = escape(_listed(row["differs"])) or "nothing"
                table.add_row(row["folders"][0], differs, ours, theirs, *rest)
            console.print(table)
        return
    table = _table(f"b less a: {measure}, on the same variants", ("stage", "a", "b", "b - a, 95 %", "test", "p"))
    for stage, pooled in compared["stages"].items():
        table.add_row(stage, *_cells(pooled))
        for seed, one in pooled.get("seeds", {}).items():
            table.add_row(f"  {seed}", *_cells(one), style="dim")
    for side in ("a", "b"):
        folders = ", ".join(compared[side]["folders"])
        console.print(f"{side}: {_name(compared[side])} ({folders})", highlight=False, markup=False)
    console.print(table)


def _table(title: str, columns: tuple[str, ...]) -> Table:
    table = Table(title=title, title_justify="left")
    for name in columns:
        table.add_column(name, justify="left" if name in ("run", "differs in", "stage", "test") else "right")
    return table


def _cells(pair: dict[str, Any]) -> list[str]:
    d, test = pair["difference"], f"{pair['test']}, {pair['pairs']} pairs of {pair['variants']} variants"
    span = f"{d['estimate']:+.4f} [{d['low']:+.4f}, {d['high']:+.4f}]"
    return [_count(pair["a"]), _count(pair["b"]), span, test, f"{pair['p']:.2g}"]


def _count(rate: dict[str, Any]) -> str:
    return f"{rate['count']}/{rate['n']}"


def _listed(options: dict[str, Any]) -> str:
    return ", ".join(f"{name} = {value!r}" for name, value in options.items())


def _name(side: dict[str, Any]) -> str:
    """The policy, and what else is not as on the other side."""
    others = _listed({name: value for name, value in side["differs"].items() if name != "policy"})
    return side["policy"] + (f", {others}" if others else "")
