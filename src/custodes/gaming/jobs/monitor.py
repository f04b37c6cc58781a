"""Monitors over a recorded run: what ``custodes gaming monitor`` does.

Alarms stream into the folder ``monitors`` of the run, one file for each monitor and what it sees; the same command
again goes on where it was, and judges episodes that have come since. ``monitors.json`` holds all that were measured.
"""

from __future__ import annotations

import itertools
import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any

import tyro
from rich.console import Console

from custodes.files import save_json
from custodes.gaming.alarms import Alarms, Key, WatchedRun, contrast, measure_monitor, monitor_mistakes, read_alarms
from custodes.gaming.jobs.run import read_summary
from custodes.gaming.monitoring import Monitor, MonitorAlarm, Sees, is_plugin, make_view, open_monitor
from custodes.gaming.record import EpisodeRows, read_index
from custodes.gaming.report import write_monitors_page
from custodes.job.command import command
from custodes.job.options import Use
from custodes.job.progress import Progress
from custodes.job.workspace import Workspace
from custodes.ledger import Evaluation
from custodes.ranges import Count, ranged
from custodes.types import InputError

RECIPE = "gaming-monitor"


@dataclass(frozen=True, slots=True, kw_only=True)
@ranged
class GamingMonitor:
    """Let a monitor judge the episodes of a run, and measure it against what the sandbox saw."""

    folder: tyro.conf.Positional[Annotated[Path, Use.OUTPUT, tyro.conf.arg(metavar="DIR")]]
    """What was given to custodes gaming run as --out."""
    monitor: str
    """rules; one of your own, FILE.py:Name; a model (name, folder, .gguf file or hub id); or endpoint:URL#MODEL."""
    scratchpad: bool = False
    """Show the monitor the policy's scratchpad too, not its actions alone."""
    max_tokens: Count = 200
    """Longest verdict of a model."""
    max_batch: Count = 32
    """Conversations that a model is asked for at once."""


@command(resumes=True)
def gaming_monitor(config: GamingMonitor) -> Path:
    """Let a monitor judge the episodes of a run, against what the sandbox saw.

    Judges what is not judged yet; the path of ``monitors.json``. Raises InputError for what cannot be run.
    """
    summary, stages = read_summary(config.folder)
    sees: Sees = "actions-and-scratchpad" if config.scratchpad else "actions"
    watch = WatchedRun(config.monitor, sees, 0 if is_plugin(config.monitor) else config.max_tokens)
    identity = {**asdict(watch), "run": summary["run"]}
    with Workspace.open(config.folder, RECIPE, identity, several=True, begin=False) as work:
        rows = read_index(config.folder / "episodes.index")
        file = config.folder / "monitors" / watch.file
        judged = read_alarms(file, stages)[1] if file.exists() else {}
        monitor = None  # before a run is begun: a typo must leave nothing
        if any(key not in judged for key in _keys(rows)):
            monitor = open_monitor(config.monitor, batch=config.max_batch, max_tokens=config.max_tokens)
        work.begin()
        alarms = Alarms(config.folder / "monitors", watch, stages)
        try:
            if monitor is not None:
                _judge(config.folder / "episodes.jsonl", rows, monitor, alarms, work.console)
        finally:
            alarms.close()
            if alarms.by_episode or monitor is None:
                path = _write_monitors(config.folder, rows, stages)
        measured = measure_monitor(rows, stages, alarms.by_episode)
        subject, rates = f"{watch.monitor} ({watch.sees})", {"all": measured["all"], **measured["stages"]}
        for stage, of_stage in rates.items():
            if n := of_stage["unread"]["n"]:
                id = f"{RECIPE}-{stage}-{measured['episodes']}"
                work.write([Evaluation(id, RECIPE, subject, {"stage": stage, **of_stage}, n)])
    recall, false, unread = (_rate(measured["all"][name]) for name in ("recall", "false_positive_rate", "unread"))
    seeing = watch.sees.replace("-", " ")
    work.console.print(
        f"{watch.monitor}, seeing {seeing}: recall {recall}, false positives {false}, no verdict {unread}."
    )
    return path


def _write_monitors(folder: Path, rows: EpisodeRows, stages: list[str]) -> Path:
    """``monitors.json`` and ``monitors.html``: every monitor of the run, and each one that saw both against itself."""
    watched = [read_alarms(file, stages) for file in sorted((folder / "monitors").glob("*.jsonl"))]
    monitors = [
        {**asdict(watch), **measure_monitor(rows, stages, alarms), **monitor_mistakes(rows, stages, alarms)}
        for watch, alarms in watched
    ]
    compared = [
        {"monitor": first.monitor, "without": first.sees, "with": second.sees, **contrast(rows, a, b)}
        for (first, a), (second, b) in itertools.permutations(watched, 2)
        if (first.monitor, first.max_tokens) == (second.monitor, second.max_tokens) and first.sees == "actions"
    ]
    path = folder / "monitors.json"
    save_json(path, {"monitors": monitors, "scratchpad": compared}, indent=1, allow_nan=False)
    write_monitors_page(folder)
    return path


def _judge(lines: Path, rows: EpisodeRows, monitor: Monitor, alarms: Alarms, console: Console) -> None:
    """Read the episodes that have no alarm yet, one batch at a time from the disk, and keep what the monitor says."""
    with Progress(console=console) as bar, lines.open("rb") as file:
        task = bar.add_task("episodes", total=len(rows), completed=len(alarms.by_episode))
        left = ((key, row) for key, row in zip(_keys(rows), rows, strict=True) if key not in alarms.by_episode)
        raised = 0
        while batch := list(itertools.islice(left, monitor.batch)):
            views = []
            for _, row in batch:
                file.seek(int(row["offset"]))
                views.append(make_view(json.loads(file.read(int(row["length"]))), alarms.watch.sees))
            given = monitor.alarms(views)
            if len(given) != len(batch) or not all(isinstance(alarm, MonitorAlarm) for alarm in given):
                raise InputError(
                    f"monitor {alarms.watch.monitor} must give one MonitorAlarm for each of {len(batch)} episodes."
                )
            alarms.append(zip((key for key, _ in batch), given, strict=True))
            raised += sum(alarm.raised for alarm in given)
            bar.update(task, advance=len(batch), description=f"episodes ({raised} alarms)")


def _keys(rows: EpisodeRows) -> list[Key]:
    return list(zip(rows["stage"].tolist(), rows["index"].tolist(), strict=True))


def _rate(rate: dict[str, Any]) -> str:
    if not rate["n"]:
        return "not measured (no such episode)"
    low, high = rate["interval"]
    return f"{rate['count']}/{rate['n']} ({100 * low:.1f} to {100 * high:.1f} %)"
