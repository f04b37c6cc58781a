"""Monitors over a recorded run: what ``custodes gaming monitor`` does.

Alarms stream into the folder ``monitors`` of the run, one file for each monitor and what it sees; the same command
again goes on where it was, and judges episodes that have come since. ``monitors.json`` holds all that were measured.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import tyro
from rich.console import Console

from custodes.files import save_json
from custodes.gaming.alarms import Alarms, Key, WatchedRun, contrast, measure_monitor, monitor_mistakes, read_alarms
from custodes.gaming.jobs.run import read_summary
from custodes.gaming.monitors import Monitor, Sees, make_view, open_monitor
from custodes.gaming.record import Rows, read_index
from custodes.gaming.report import write_monitors_page
from custodes.job.command import command
from custodes.job.options import Use
from custodes.job.progress import Progress
from custodes.job.workspace import Workspace
from custodes.ledger import Evaluation
from custodes.ranges import Count, ranged

RECIPE = "gaming-monitor"


@dataclass(frozen=True, slots=True, kw_only=True)
@ranged
class GamingMonitor:
    """Let a monitor judge the episodes of a run, and measure it against what the sandbox saw."""

    folder: tyro.conf.Positional[Annotated[Path, Use.OUTPUT, tyro.conf.arg(metavar="DIR")]]
    """What was given to custodes gaming run as --out."""
    monitor: str
    """rules, a model (name, folder, .gguf file or hub id), or endpoint:URL#MODEL."""
    scratchpad: bool = False
    """Show the monitor the policy's scratchpad too, not its actions alone."""
    max_tokens: Count = 200
    """Longest verdict of a model."""
    batch: Count = 32
    """Episodes that a model judges at once."""


@command(resumes=True)
def gaming_monitor(config: GamingMonitor) -> Path:
    """Let a monitor judge the episodes of a run, against what the sandbox saw.

    Judges what is not judged yet; the path of ``monitors.json``. Raises InputError for what cannot be run.
    """
    summary, stages = read_summary(config.folder)
    sees: Sees = "actions-and-scratchpad" if config.scratchpad else "actions"
    watch = WatchedRun(config.monitor, sees, 0 if config.monitor == "rules" else config.max_tokens)
    identity = {**watch.to_dict(), "run": summary["run"]}
    with Workspace.open(config.folder, RECIPE, identity, several=True, begin=False) as work:
        rows = read_index(config.folder / "episodes.index")
        said = read_alarms(file, stages)[1] if (file := config.folder / "monitors" / watch.file).exists() else {}
        monitor = None  # before a run is begun: a typo must leave nothing
        if any(key not in said for key in _keys(rows)):
            monitor = open_monitor(config.monitor, batch=config.batch, max_tokens=config.max_tokens)
        work.begin()
        alarms = Alarms(config.folder / "monitors", watch, stages)
        try:
            if monitor is not None:
                _judge(config.folder / "episodes.jsonl", rows, monitor, alarms, work.console)
        finally:
            alarms.close()
            if alarms.said or monitor is None:
                path = _write_monitors(config.folder, rows, stages)
        measured = measure_monitor(rows, stages, alarms.said)
        _record(work, watch, measured)
    work.console.print(_sentence(watch, measured))
    return path


def _write_monitors(folder: Path, rows: Rows, stages: list[str]) -> Path:
    """``monitors.json`` and ``monitors.html``: every monitor of the run, and each one that saw both against itself."""
    found = [read_alarms(file, stages) for file in sorted((folder / "monitors").glob("*.jsonl"))]
    monitors = [
        {**watch.to_dict(), **measure_monitor(rows, stages, said), **monitor_mistakes(rows, stages, said)}
        for watch, said in found
    ]
    compared = [
        {"monitor": first.monitor, "without": first.sees, "with": second.sees, **contrast(rows, a, b)}
        for (first, a), (second, b) in itertools.permutations(found, 2)
        if (first.monitor, first.max_tokens) == (second.monitor, second.max_tokens) and first.sees == "actions"
    ]
    path = folder / "monitors.json"
    told = {"monitors": monitors, "scratchpad": compared}
    save_json(path, told, indent=1, allow_nan=False)
    write_monitors_page(folder)
    return path


def _judge(lines: Path, rows: Rows, monitor: Monitor, alarms: Alarms, console: Console) -> None:
    raised = 0
    with Progress(console=console) as bar:
        task = bar.add_task("episodes", total=len(rows), completed=len(alarms.said))
        for batch in _batches(_unjudged(lines, rows, alarms), monitor.batch):
            views = [make_view(record, alarms.watch.sees) for _, record in batch]
            said = monitor.alarms(views)
            alarms.append(zip((key for key, _ in batch), said, strict=True))
            raised += sum(alarm.raised for alarm in said)
            bar.update(task, advance=len(batch), description=f"episodes ({raised} alarms)")


def _unjudged(lines: Path, rows: Rows, alarms: Alarms) -> Iterator[tuple[Key, dict[str, Any]]]:
    """The episodes that have no alarm yet, one at a time from the disk."""
    with lines.open("rb") as file:
        for key, row in zip(_keys(rows), rows, strict=True):
            if key not in alarms.said:
                file.seek(int(row["offset"]))
                yield key, json.loads(file.read(int(row["length"])))


def _keys(rows: Rows) -> list[Key]:
    return list(zip(rows["stage"].tolist(), rows["index"].tolist(), strict=True))


def _batches(items: Iterable[Any], size: int) -> Iterator[list[Any]]:
    rest = iter(items)
    while batch := list(itertools.islice(rest, size)):
        yield batch


def _record(work: Workspace, watch: WatchedRun, measured: dict[str, Any]) -> None:
    """The measured rates."""
    subject = f"{watch.monitor} ({watch.sees})"
    work.write(
        [
            Evaluation(f"{RECIPE}-{stage}-{measured['episodes']}", RECIPE, subject, {"stage": stage, **told}, n)
            for stage, told in (("all", measured["all"]), *measured["stages"].items())
            if (n := told["unread"]["n"])
        ]
    )


def _sentence(watch: WatchedRun, measured: dict[str, Any]) -> str:
    found = measured["all"]
    return (
        f"{watch.monitor}, seeing {watch.sees.replace('-', ' ')}: recall {_rate(found['recall'])}, "
        f"false positives {_rate(found['false_positive_rate'])}, no verdict {_rate(found['unread'])}."
    )


def _rate(found: dict[str, Any]) -> str:
    if not found["n"]:
        return "not measured (no such episode)"
    low, high = found["interval"]
    return f"{found['count']}/{found['n']} ({100 * low:.1f} to {100 * high:.1f} %)"
