"""Logs of other trainers: the numbers of each step, and its replies, in the forms that TRL, verl and this package write.

Numbers: TRL's ``trainer_state.json`` with its ``log_history``, or that list alone; a table with a row a step, as trackers
export it; verl's file logger, whose lines are ``{"step": ..., "data": {...}}``; this package's ``metrics.jsonl``; a ledger that
:mod:`custodes.adapters` wrote, with its replies. Replies: a table,
or a folder of tables, with the columns step, prompt and completion (TRL's ``completions``) or step, input and output (verl's
``rollout_data_dir``).
"""

from __future__ import annotations

import contextlib
import hashlib
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from custodes.adapters.outside_run import LOGGED
from custodes.ledger import Ledger, Run
from custodes.policy.alarm import WatchedStep
from custodes.table_sources import EXTENSIONS
from custodes.tables import TableRow, read_rows
from custodes.types import Episode, InputError, Message, Scores, Task

LENGTHS = ("completions/mean_length", "response_length/mean", "length")
"""Columns of the mean length, tokens, in the order in which they are looked for."""
KL_OF_EPISODES = ("objective/kl",)
KL_OF_TOKENS = ("actor/reward_kl_penalty", "actor/kl_loss", "kl")
"""Columns of the KL from the reference, nats: an episode, and a token. This package's own kl is an episode's."""
OWN = "kl_token"
"""A column that only this package's metrics have."""
PROMPTS, REPLIES, SPREAD = ("prompt", "input"), ("completion", "output"), "proxy_std"
EVALUATED = "eval_"
MOST = 1e12
"""No step, no length and no KL is larger; what is, is a fault of the log."""


@dataclass(frozen=True)
class LoggedSteps:
    """What the logs hold: for each step its mean length and KL, where they do, and its replies."""

    steps: tuple[int, ...]
    length: dict[int, float]  # tokens
    kl: dict[int, float]  # nats an episode
    replies: dict[int, WatchedStep]
    absent: dict[str, str]  # alarm -> which columns it would have needed


def read_trainer_logs(log: Path, rollouts: Path | None) -> LoggedSteps:
    """Raises InputError for files that hold no steps. Of a ledger the replies are read too where no others are named."""
    if rollouts is None and _is_ledger(log):
        rollouts = log
    rows = _numbers(log)
    length = {step: value for step, row in rows.items() if (value := _first(row, LENGTHS)) is not None}
    kl: dict[int, float] = {}
    for step, row in rows.items():
        of_episode = _first(row, ("kl",) if OWN in row else KL_OF_EPISODES)
        of_token = None if OWN in row else _first(row, KL_OF_TOKENS)
        if of_episode is not None:
            kl[step] = of_episode
        elif of_token is not None and step in length:
            kl[step] = of_token * length[step]
    replies = {} if rollouts is None else _replies(rollouts)
    absent = {}
    if not kl:
        absent["kl"] = _absence(log, rows, (*KL_OF_EPISODES, *KL_OF_TOKENS), " beside a length")
    if not length and not replies:
        absent["length"] = _absence(log, rows, LENGTHS, ", and no replies were given")
    if not replies:
        absent["repetition"] = "no replies of steps were given; name them with --rollouts"
    if not any(step.scores is not None for step in replies.values()):
        absent["disagreement"] = (
            f"no step has {SPREAD}, the standard deviation of the reward's members, as a finite number for each reply"
        )
    absent["accuracy"] = "logs hold no labels of pairs"
    if not (kl or length or replies):
        raise InputError(f"{log} holds nothing that an alarm watches: {'; '.join(absent.values())}.")
    if replies and (kl or length) and not replies.keys() & (kl.keys() | length.keys()):
        both = [f"{min(steps)} to {max(steps)}" for steps in (list(replies), [*kl, *length])]
        raise InputError(f"the replies are of steps {both[0]} and {log} is of steps {both[1]}: no step is in both.")
    return LoggedSteps(tuple(sorted({*kl, *length, *replies})), length, kl, replies, absent)


def _numbers(log: Path) -> dict[int, dict[str, Any]]:
    """Step -> its columns; where a step stands twice, later ones join."""
    if _is_ledger(log):
        with Ledger.open(log, read_only=True) as ledger:
            logged = [e.metrics for run in _last_training(ledger) for e in ledger.evaluations(run.id, LOGGED)]
        if not logged:
            raise InputError(
                f"{log} holds no numbers of training steps; give the trainer's own log, and the ledger as --rollouts."
            )
        rows = [TableRow(log, n, row) for n, row in enumerate(logged, 1)]
    else:
        rows = list(read_rows(log))
        if len(rows) == 1 and "log_history" in rows[0].values:  # trainer_state.json
            listed = rows[0].values["log_history"]
            if not isinstance(listed, list) or not all(isinstance(row, dict) for row in listed):
                raise InputError(f"{log}: log_history is no list of steps; give trainer_state.json as TRL wrote it.")
            rows = [TableRow(log, n, row) for n, row in enumerate(listed, 1)]
    steps: dict[int, dict[str, Any]] = {}
    for row in rows:
        values = row.values
        inner = values.get("data")
        columns = {**values, **inner} if isinstance(inner, Mapping) else values
        if any(name.startswith(EVALUATED) for name in columns) or "train_runtime" in columns:
            continue  # TRL's evaluations, and its summary of the whole
        _check(row, columns)
        steps.setdefault(_step(row), {}).update(columns)
    if not steps:
        raise InputError(f"{log} holds no training step; give a log with a row a step.")
    return steps


def _step(row: TableRow) -> int:
    value = row.values.get("step", row.values.get("_step", row.values.get("train/global_step")))
    with contextlib.suppress(TypeError, ValueError, OverflowError):
        number = math.nan if isinstance(value, bool) else float(value)  # type: ignore[arg-type]
        if number.is_integer() and 0 <= number <= MOST:
            return int(number)
    raise InputError(f"{row.place}: the column step is {value!r}; it must be a number of a step, whole and from 0.")


def _check(row: TableRow, columns: Mapping[str, Any]) -> None:
    """Refuse numbers that cannot be."""
    for name in (*LENGTHS, *KL_OF_EPISODES, *KL_OF_TOKENS):
        number = _first(columns, (name,))
        if number is not None and (abs(number) > MOST or (name in LENGTHS and number < 0)):
            what = "a mean length in tokens is 0 or more" if name in LENGTHS else "a KL in nats"
            raise InputError(f"{row.place}: the column {name} is {number:g}; {what}, and at most {MOST:g}.")


def _absence(log: Path, rows: Mapping[int, Mapping[str, Any]], names: Sequence[str], beside: str) -> str:
    """Why nothing is known: the columns are not there, or they hold no finite number."""
    there = [name for name in names if any(name in row or f"train/{name}" in row for row in rows.values())]
    if there and all(_first(row, names) is None for row in rows.values()):
        return f"the column {there[0]} of {log} holds no finite number{beside}"
    return f"{log} has no column {' or '.join(names)}{beside}"


def _first(row: Mapping[str, Any], names: Sequence[str]) -> float | None:
    """The first of these columns that holds a finite number; trackers may write train/ before a name."""
    for name in names:
        value = row.get(name, row.get(f"train/{name}"))
        try:
            number = math.nan if isinstance(value, bool) else float(value)  # type: ignore[arg-type]
        except (TypeError, ValueError, OverflowError):
            continue
        if math.isfinite(number):
            return number
    return None


def _is_ledger(path: Path) -> bool:
    return path.suffix in (".db", ".sqlite", ".sqlite3")


def _last_training(ledger: Ledger) -> list[Run]:
    """The last run that another trainer wrote, and those of the processes that were started with it."""
    runs = [run for run in ledger.runs() if "launch" in run.config and "ranks" in run.config]
    if not runs:
        raise InputError(f"{ledger.name} holds no run of another trainer.")
    last = next((run for run in reversed(runs) if run.config["rank"] == 0), runs[-1])
    launch = last.config["launch"]
    return [run for run in runs if run.id == last.id or (launch and run.config["launch"] == launch)]


def _replies_of_ledger(path: Path) -> dict[int, WatchedStep]:
    steps: dict[int, list[Episode]] = {}
    with Ledger.open(path, read_only=True) as ledger:
        for run in _last_training(ledger):
            for episode in ledger.episodes(run.id):
                name, _, step = episode.policy.partition(" ")
                if name == "step" and step.isdigit():
                    steps.setdefault(int(step), []).append(episode)
    return {step: WatchedStep(episodes, None) for step, episodes in sorted(steps.items())}


def _replies(path: Path) -> dict[int, WatchedStep]:
    if _is_ledger(path):
        return _replies_of_ledger(path)
    files = sorted(f for f in path.iterdir() if f.name.lower().endswith(EXTENSIONS)) if path.is_dir() else [path]
    if not files:
        raise InputError(f"{path} holds no tables of replies; give a folder of .parquet or .jsonl, or one file.")
    episodes: dict[int, list[Episode]] = {}
    spreads: dict[int, list[float]] = {}
    for file in files:
        for row in read_rows(file):
            prompt, reply = (_column(row, names) for names in (PROMPTS, REPLIES))
            step, question, text = _step(row), _text(row, prompt), _text(row, reply)
            id = hashlib.sha256(question.encode()).hexdigest()[:16]
            asked = Task(id, (Message("user", question),))
            of_step = episodes.setdefault(step, [])
            messages = (*asked.messages, Message("assistant", text))
            of_step.append(Episode.written(f"{step}-{len(of_step)}", asked, messages, f"step {step}"))
            if (spread := _first(row.values, (SPREAD,))) is not None:
                if spread < 0:
                    raise InputError(f"{row.place}: {SPREAD} is {spread:g}; a standard deviation is 0 or more.")
                spreads.setdefault(step, []).append(spread)
    return {step: WatchedStep(own, _scores(spreads.get(step, ()), len(own))) for step, own in episodes.items()}


def _scores(spread: Sequence[float], replies: int) -> Scores | None:
    return Scores(np.zeros(replies), np.array(spread)) if len(spread) == replies else None


def _column(row: TableRow, names: Sequence[str]) -> Any:
    for name in names:
        if name in row.values:
            return row.values[name]
    raise InputError(f"{row.place} has no column {' or '.join(names)}; it has {', '.join(row.values) or 'none'}.")


def _text(row: TableRow, value: Any) -> str:
    """Of a text, or of messages: what they say, one after the other. Raises InputError for anything else."""
    if isinstance(value, str):
        return value
    parts = [m.get("content") if isinstance(m, Mapping) else m for m in value] if isinstance(value, list) else [None]
    if not all(isinstance(part, str) for part in parts):
        raise InputError(f"{row.place}: prompt and reply must be a text, or a list of messages with content.")
    return "\n".join(map(str, parts))
