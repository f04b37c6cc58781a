"""Policies compared on the same variants: what ``custodes gaming compare`` does."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from custodes.gaming.comparison import compare_stage
from custodes.gaming.record import Rows, read_index
from custodes.recipes.gaming import read_summary
from custodes.types import InputError


@dataclass(frozen=True, slots=True)
class Folder:
    """One run, as its summary tells of it."""

    path: Path
    seed: int
    stages: list[str]
    arm: str  # policy and the options that differ from other runs', as JSON
    policy: str
    options: dict[str, Any] = field(default_factory=dict)

    def rows(self, stage: str) -> Rows:
        rows = read_index(self.path / "episodes.index")
        return rows[rows["stage"] == self.stages.index(stage)]


def compare_runs(folders: Sequence[Path], measure: str = "gamed", stage: str = "") -> dict[str, Any]:
    """Two runs, or several seeds of each of two policies, stage by stage, ready for JSON.

    Raises InputError where there are not two sides: two folders, or folders of exactly two policies (or of one policy
    under two sets of options) with the same seeds on both sides.
    """
    runs = [_read(folder) for folder in folders]
    a, b = _sides(runs)
    by_seed = {run.seed: run for run in b}
    pairs = [(x, by_seed.get(x.seed, b[0])) for x in a] if len(runs) > 2 else [(a[0], b[0])]
    shared = [s for s in a[0].stages if all(s in run.stages for run in runs)]
    if stage and stage not in shared:
        raise InputError(f"stage {stage!r} is not in all of the runs; they share {', '.join(shared) or 'none'}.")
    if not shared:
        raise InputError(f"{a[0].path} and {b[0].path} share no stage.")
    told: dict[str, Any] = {"measure": measure, "a": _about(a), "b": _about(b), "stages": {}}
    for name in [stage] if stage else shared:
        seeds = {_label(x, y): (x.rows(name), y.rows(name)) for x, y in pairs}
        told["stages"][name] = compare_stage(seeds, measure)
    return told


def print_comparison(told: dict[str, Any], console: Console | None = None) -> None:
    """A table for people: one row for each stage, and one below it for each seed."""
    console = console or Console()
    table = Table(title=f"b less a: {told['measure']}, on the same variants", title_justify="left")
    for name in ("stage", "a", "b", "b - a, 95 %", "test", "p"):
        table.add_column(name, justify="left" if name in ("stage", "test") else "right")
    for stage, found in told["stages"].items():
        table.add_row(stage, *_cells(found))
        for seed, one in found.get("seeds", {}).items():
            table.add_row(f"  {seed}", *_cells(one), style="dim")
    for side in ("a", "b"):
        console.print(f"{side}: {told[side]['policy']} ({', '.join(told[side]['folders'])})", highlight=False)
    console.print(table)


def _cells(found: dict[str, Any]) -> list[str]:
    d = found["difference"]
    pairs = f"{found['test']}, {found['pairs']} pairs of {found['variants']} variants"
    counts = [f"{found[side]['count']}/{found[side]['n']}" for side in ("a", "b")]
    return [*counts, f"{d['estimate']:+.4f} [{d['low']:+.4f}, {d['high']:+.4f}]", pairs, f"{found['p']:.2g}"]


def _sides(runs: list[Folder]) -> tuple[list[Folder], list[Folder]]:
    if len(runs) == 2:
        return [runs[0]], [runs[1]]
    arms = list(dict.fromkeys(run.arm for run in runs))
    if len(arms) != 2:
        raise InputError(
            f"{len(runs)} folders of {len(arms)} {'policy' if len(arms) == 1 else 'policies'}; "
            "give two folders, or several seeds of each of two policies."
        )
    a, b = ([run for run in runs if run.arm == arm] for arm in arms)
    seeds = [sorted(run.seed for run in side) for side in (a, b)]
    if seeds[0] != seeds[1] or len(set(seeds[0])) < len(seeds[0]):
        raise InputError(f"the seeds of the two policies are {seeds[0]} and {seeds[1]}; give the same, each once.")
    return a, b


def _read(folder: Path) -> Folder:
    summary, stages = read_summary(folder)
    try:
        arm = json.dumps([summary["policy"], summary["options"], summary["split"]], sort_keys=True)
        return Folder(folder, int(summary["seed"]), stages, arm, summary["policy"], summary["options"])
    except (KeyError, TypeError, ValueError):
        raise InputError(f"{folder / 'summary.json'} does not say which policy and seed it is of.") from None


def _about(side: list[Folder]) -> dict[str, Any]:
    return {
        "policy": side[0].policy,
        "options": side[0].options,
        "folders": [str(run.path) for run in side],
        "seeds": [run.seed for run in side],
    }


def _label(a: Folder, b: Folder) -> str:
    return f"seed {a.seed}" if a.seed == b.seed else f"seeds {a.seed} and {b.seed}"
