"""Policies compared on the same variants: what ``custodes gaming compare`` does.

Two sides, each one run or several seeds: one row a stage, and one below it for each seed. More than two arms (policies,
or one policy under several options): one row a folder, each against the first.
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
    """Compare runs on the variants that they share: two; several seeds of each of two policies; or more policies,
    mitigations and options, one row each, against the first."""

    folders: tyro.conf.Positional[Annotated[tuple[Path, ...], tyro.conf.arg(metavar="DIR_A DIR_B ...")]]
    """What was given to custodes gaming run as --out: two folders or more."""
    measure: str = "gamed"
    """gamed, failed, caught, well_formed, or a fact such as edited-guard."""
    stage: str = ""
    """Only this stage; all that the runs share when it is not given."""


@dataclass(frozen=True, slots=True)
class _Folder:
    """One run, as its summary tells of it."""

    path: Path
    seed: int
    stages: list[str]
    arm: str  # the options, as JSON: what is equal in runs that differ by their seed alone
    options: dict[str, Any]  # the policy and the split among them

    def rows(self, stage: str) -> EpisodeRows:
        rows = read_index(self.path / "episodes.index")
        return rows[rows["stage"] == self.stages.index(stage)]


@command()
def gaming_compare(config: GamingCompare) -> dict[str, Any]:
    """Compare policies, or mitigations on and off, on the same variants, paired.

    Stage by stage, ready for JSON: ``a`` against ``b`` where there are two sides, else ``rows``, each against the first. ``differs`` says which options of a side are not those of the other, or of a row not those of the first.

    Raises InputError where the runs share nothing, and where two policies do not have the same seeds.
    """
    measure = config.measure
    if len(config.folders) < 2:
        raise InputError(f"custodes gaming compare takes two folders or more, not {len(config.folders)}.")
    runs = [_read(folder) for folder in config.folders]
    stages = _shared(runs, config.stage)
    if len(runs) > 2 and len({run.arm for run in runs}) != 2:
        return {"measure": measure, "rows": [_row(run, runs[0], stages, measure) for run in runs]}
    a, b = _sides(runs)
    by_seed = {run.seed: run for run in b}
    pairs = [(x, by_seed.get(x.seed, b[0])) for x in a] if len(runs) > 2 else [(a[0], b[0])]
    told: dict[str, Any] = {"measure": measure, "a": _about(a, b), "b": _about(b, a), "stages": {}}
    for name in stages:
        seeds = {_label(x, y): (x.rows(name), y.rows(name)) for x, y in pairs}
        told["stages"][name] = compare_stage(seeds, measure)
    return told


@in_words(gaming_compare)
def _show(config: GamingCompare, told: dict[str, Any]) -> None:
    console = Console()
    if "rows" in told:
        _print_rows(told, console)
        return
    table = Table(title=f"b less a: {told['measure']}, on the same variants", title_justify="left")
    for name in ("stage", "a", "b", "b - a, 95 %", "test", "p"):
        table.add_column(name, justify="left" if name in ("stage", "test") else "right")
    for stage, found in told["stages"].items():
        table.add_row(stage, *_cells(found))
        for seed, one in found.get("seeds", {}).items():
            table.add_row(f"  {seed}", *_cells(one), style="dim")
    for side in ("a", "b"):
        console.print(
            f"{side}: {_name(told[side])} ({', '.join(told[side]['folders'])})", highlight=False, markup=False
        )
    console.print(table)


def _print_rows(told: dict[str, Any], console: Console) -> None:
    """One row for each folder and stage; the first folder's has its rate alone."""
    first, *others = told["rows"]
    console.print(f"each against: {_name(first)} ({first['folders'][0]})", highlight=False, markup=False)
    for stage in others[0]["stages"]:
        table = Table(title=f"{stage}: {told['measure']}, on the same variants", title_justify="left")
        for name in ("run", "differs in", "rate", "first", "difference, 95 %", "test", "p"):
            table.add_column(name, justify="left" if name in ("run", "differs in", "test") else "right")
        table.add_row(first["folders"][0], "", _count(first["stages"][stage]), *[""] * 4)
        for row in others:
            theirs, ours, *rest = _cells(row["stages"][stage])
            table.add_row(row["folders"][0], escape(_differing(row)) or "nothing", ours, theirs, *rest)
        console.print(table)


def _cells(found: dict[str, Any]) -> list[str]:
    d = found["difference"]
    pairs = f"{found['test']}, {found['pairs']} pairs of {found['variants']} variants"
    counts = [_count(found[side]) for side in ("a", "b")]
    return [*counts, f"{d['estimate']:+.4f} [{d['low']:+.4f}, {d['high']:+.4f}]", pairs, f"{found['p']:.2g}"]


def _count(found: dict[str, Any]) -> str:
    return f"{found['count']}/{found['n']}"


def _name(side: dict[str, Any]) -> str:
    """The policy, and what else is not as on the other side."""
    others = _differing({"differs": {k: v for k, v in side["differs"].items() if k != "policy"}})
    return side["policy"] + (f", {others}" if others else "")


def _differing(side: dict[str, Any]) -> str:
    return ", ".join(f"{name} = {value!r}" for name, value in side["differs"].items())


def _shared(runs: list[_Folder], stage: str) -> list[str]:
    """The stages to compare."""
    shared = [s for s in runs[0].stages if all(s in run.stages for run in runs)]
    if stage and stage not in shared:
        raise InputError(f"stage {stage!r} is not in all of the runs; they share {', '.join(shared) or 'none'}.")
    if not shared:
        raise InputError(f"{' and '.join(str(run.path) for run in runs)} share no stage.")
    return [stage] if stage else shared


def _row(run: _Folder, first: _Folder, stages: list[str], measure: str) -> dict[str, Any]:
    """A run against the first; of the first itself its rates."""
    about = _about([run], [first])
    if run is first:
        rows = {name: run.rows(name) for name in stages}
        return {**about, "stages": {name: variant_rate(hits_of(r, measure), r["variant"]) for name, r in rows.items()}}
    found = {name: compare_stage({"": (first.rows(name), run.rows(name))}, measure) for name in stages}
    return {**about, "stages": found}


def _sides(runs: list[_Folder]) -> tuple[list[_Folder], list[_Folder]]:
    if len(runs) == 2:
        return [runs[0]], [runs[1]]
    arms = list(dict.fromkeys(run.arm for run in runs))
    a, b = ([run for run in runs if run.arm == arm] for arm in arms)
    seeds = [sorted(run.seed for run in side) for side in (a, b)]
    if seeds[0] != seeds[1] or len(set(seeds[0])) < len(seeds[0]):
        raise InputError(f"the seeds of the two policies are {seeds[0]} and {seeds[1]}; give the same, each once.")
    return a, b


def _read(folder: Path) -> _Folder:
    summary, stages = read_summary(folder)
    try:
        arm = {"policy": summary["policy"], "split": summary["split"], **summary["options"]}
        return _Folder(folder, int(summary["seed"]), stages, json.dumps(arm, sort_keys=True), arm)
    except (KeyError, TypeError, ValueError):
        raise InputError(f"{folder / 'summary.json'} does not say which policy and seed it is of.") from None


def _about(side: list[_Folder], other: list[_Folder]) -> dict[str, Any]:
    mine = {**side[0].options, "seed": side[0].seed} if len(side) == 1 else side[0].options
    theirs = {**other[0].options, "seed": other[0].seed}
    before = option_defaults() | defaults_of(
        GamingRun
    )  # what runs were done with that were recorded before an option existed
    return {
        "policy": side[0].options["policy"],
        "options": side[0].options,
        "differs": {name: value for name, value in mine.items() if value != theirs.get(name, before.get(name))},
        "folders": [str(run.path) for run in side],
        "seeds": [run.seed for run in side],
    }


def _label(a: _Folder, b: _Folder) -> str:
    return f"seed {a.seed}" if a.seed == b.seed else f"seeds {a.seed} and {b.seed}"
