"""TRL writes a ledger: a wrapper of its reward functions, and a callback of its trainers.

    trainer = GRPOTrainer(
        reward_funcs=recorded_reward(my_reward, "runs/trl"), callbacks=[RecordedTraining("runs/trl")], ...
    )

The wrapper records each prompt, completion and score, in every rank as a run of its own. The callback records options, numbers
of each step, and hashes of checkpoints, in rank 0. Not recorded: tokens, log-probabilities, and what is saved after training.
"""

from __future__ import annotations

import functools
import inspect
import itertools
import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from transformers import TrainerCallback

from custodes.adapters.outside_run import LOGGED, never_breaking, outside_episode, outside_run, rank, run_under_way
from custodes.files import plain_json
from custodes.ledger import Evaluation, Record, ScoreRow
from custodes.types import InputError

TRAINER = "trl"
OF_STEP = {
    "proxy": "reward", "kl_token": "kl", "entropy": "entropy", "length": "completions/mean_length",
    "truncated": "completions/clipped_ratio", "clip_fraction": "clip_ratio/region_mean", "grad_norm": "grad_norm",
    "seconds": "step_time",
}  # fmt: skip
"""Field of a report's row of a step -> what TRL calls it."""

NO_COLUMNS = frozenset(
    ("prompts", "completions", "completion_ids", "trainer_state", "log_extra", "log_metric", "environments")
)
"""What TRL gives a reward function beside the columns of the data."""


def recorded_reward(reward: Callable[..., Any], where: str | Path, name: str = "") -> Callable[..., Any]:
    """``reward``, a function of TRL's form, which records what it was given and what it answered; the scores are its own.

    ``where`` is the ledger: a folder, a file or a URL. Scores are recorded under ``name``, by default the function's own.
    Several functions may be wrapped; each completion is then one episode with several scores. A function that is a
    coroutine stays one. Raises InputError for what is no function, as for the name of a model.
    """
    inner = reward.func if isinstance(reward, functools.partial) else reward
    if not inspect.isroutine(inner) and (not callable(inner) or hasattr(inner, "parameters")):
        raise InputError(f"{str(reward)[:60]!r} is no function; wrap a model in a function that gives its scores.")
    scorer, calls = name or getattr(inner, "__name__", type(inner).__name__), itertools.count()

    def recorded(*given: Any, **columns: Any) -> Any:
        values = reward(*given, **columns)
        _keep(where, scorer, next(calls), given, columns, values)
        return values

    async def recorded_later(*given: Any, **columns: Any) -> Any:
        call = next(calls)
        values = await reward(*given, **columns)
        _keep(where, scorer, call, given, columns, values)
        return values

    later = inspect.iscoroutinefunction(inner) or inspect.iscoroutinefunction(type(inner).__call__)
    wrapped: Callable[..., Any] = recorded_later if later else recorded
    wrapped.__name__ = wrapped.__qualname__ = scorer
    return wrapped


@never_breaking
def _keep(
    where: str | Path, scorer: str, call: int, given: Sequence[Any], columns: Mapping[str, Any], values: Sequence[Any]
) -> None:
    prompts, completions = (
        columns[key] if key in columns else given[i] for i, key in enumerate(("prompts", "completions"))
    )
    step = getattr(columns.get("trainer_state"), "global_step", None)
    policy = "policy" if step is None else f"step {step}"
    own = {k: v for k, v in columns.items() if k not in NO_COLUMNS and isinstance(v, list) and len(v) == len(prompts)}
    records: list[Record] = []
    for i, (prompt, completion, value) in enumerate(zip(prompts, completions, values, strict=True)):
        metadata = {name: column[i] for name, column in own.items()}
        episode = outside_episode(f"{step or 0}-{rank()}.{call}.{i}", prompt, completion, policy, **metadata)
        records.append(episode)
        if value is not None and math.isfinite(float(value)):
            records.append(ScoreRow(episode.id, scorer, float(value)))
    outside_run(where, TRAINER).keep(records)


class RecordedTraining(TrainerCallback):
    """A callback of TRL's and transformers' trainers: their options, what they log, and hashes of their checkpoints."""

    def __init__(self, where: str | Path) -> None:
        """``where`` is the ledger: a folder, a file or a URL; the same as that of :func:`recorded_reward`."""
        self.where = where
        self._logs = 0

    def on_train_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        if state.is_world_process_zero:
            _begin(self.where, args)

    def on_log(self, args: Any, state: Any, control: Any, logs: Mapping[str, Any] | None = None, **_: Any) -> None:
        if state.is_world_process_zero and logs:
            self._logs += 1
            _keep_log(self.where, self._logs, int(state.global_step), logs, getattr(args, "beta", None))

    def on_save(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        if state.is_world_process_zero:
            _keep_checkpoint(self.where, Path(args.output_dir) / f"checkpoint-{state.global_step}")

    def on_train_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        if (run := run_under_way(self.where)) is not None:
            run.end("completed")


@never_breaking
def _begin(where: str | Path, args: Any) -> None:
    outside_run(where, TRAINER).begin(args.to_dict())  # which leaves tokens of services out


@never_breaking
def _keep_log(where: str | Path, number: int, step: int, logs: Mapping[str, Any], beta: float | None) -> None:
    told = {"step": step, **plain_json({k: v for k, v in logs.items() if isinstance(v, str | int | float | bool)})}
    records: list[Record] = [Evaluation(f"log-{number}", LOGGED, TRAINER, told, 1)]
    if "reward" in told:
        row = {field: told.get(name) for field, name in OF_STEP.items()}
        if row["kl_token"] is not None and row["length"] is not None:
            row["kl"] = row["kl_token"] * row["length"]
        told = {"step": step, **row, "kl_coefficient": beta}
        records.append(Evaluation(f"step-{number}", "policy_step", TRAINER, told, 1))
    outside_run(where, TRAINER).keep(records)


@never_breaking
def _keep_checkpoint(where: str | Path, folder: Path) -> None:
    outside_run(where, TRAINER).keep_checkpoint(folder)
