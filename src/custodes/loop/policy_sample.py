"""Replies of a policy to one prompt or to a file of prompts, the best of several where a reward says which."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

from custodes.environments import prompts_are_text, read_tasks, task_id
from custodes.job.command import command, in_words
from custodes.job.options import Output, Use
from custodes.lm.address import EngineName, open_engine
from custodes.lm.precision import DtypeName
from custodes.page import number
from custodes.policy.search import best_of_n
from custodes.ranges import Count, ranged
from custodes.reward.options import RewardOptions
from custodes.tables import write_rows
from custodes.types import Episode, InputError, Message, Sampling, Task
from custodes.wording import counted


@dataclass(frozen=True, kw_only=True)
@ranged
class PolicySample(RewardOptions):
    """Sample replies from a policy, to one prompt or to a file of prompts."""

    model: str = "smollm2-135m"
    """Embedded model, a folder (also of a run), a .gguf file, a hub id, or endpoint:URL#MODEL."""
    adapter: Path | None = None
    """Folder of a saved adapter."""
    prompt: Annotated[str, Use.APART] = ""
    """What the user says."""
    tasks: str = ""
    """Prompts: a table (.jsonl, .json, .csv, .parquet) or a hub id, with a column prompt or messages. Its other columns reach
    reward functions by name."""
    prompt_column: str = ""
    """The column with the prompt, where it is not called prompt or messages."""
    system: str = ""
    """System message that opens every conversation."""
    out: Output | None = None
    """Table to write: prompt, reply and scores of each; else they are printed."""
    best_of: Count = 1
    """Draw so many replies for each that is kept, and keep the one that the reward likes best."""
    engine: EngineName = "torch"
    """What draws replies: torch or vllm in this process, or an endpoint. Only torch can be optimised."""
    device: str = "auto"
    """Where to compute: cpu, cuda, or auto, which takes CUDA where there is a device."""
    dtype: DtypeName = "auto"
    """Precision of computation."""
    sampling: Sampling = field(default_factory=Sampling)


@command()
def policy_sample(config: PolicySample) -> list[dict[str, Any]]:
    """Sample replies from a policy, the best of several where a reward says which.

    One object of each reply. Raises InputError for what cannot be opened or read.
    """
    if bool(config.prompt) == bool(config.tasks):
        raise InputError("custodes policy sample takes --prompt TEXT or --tasks FILE, one of them.")
    if config.best_of > 1 and not config.reward:
        raise InputError(f"--best-of {config.best_of} needs a --reward that says which reply is the best.")
    tasks = read_tasks(config.tasks, config.prompt_column, config.system) if config.tasks else _task(config)
    text = prompts_are_text(config.tasks, config.prompt_column) if config.tasks else True
    reward = config.open_rewards(text=text, device=config.device) if config.reward else None
    engine = open_engine(
        config.engine, config.model, "--model", adapter=config.adapter, dtype=config.dtype, device=config.device
    )
    if config.best_of > 1:
        assert reward is not None
        repeated = [task for task in tasks for _ in range(config.sampling.n)]
        episodes = best_of_n(engine, repeated, reward, config.best_of, config.sampling).chosen()
    else:
        episodes = engine.generate(tasks, config.sampling)
    scores = None if reward is None else reward.score(episodes).total().tolist()
    rows = [_row(episode, None if scores is None else scores[i]) for i, episode in enumerate(episodes)]
    if config.out is not None:
        write_rows(config.out, rows)
    return rows


def _row(episode: Episode, score: float | None) -> dict[str, Any]:
    said = episode.messages[len(episode.task.messages) :]
    row = {
        "task": episode.task.id,
        "prompt": [m.to_dict() for m in episode.task.messages],
        "completion": [m.to_dict() for m in said],
        "outcome": episode.outcome,
        "tokens": episode.actions,
    }
    return row if score is None else row | {"score": None if math.isnan(score) else score}


@in_words(policy_sample)
def _show(config: PolicySample, rows: list[dict[str, Any]]) -> None:
    if config.out is not None:
        print(f"{counted(len(rows), 'reply', 'replies')} in {config.out}.")
        return
    for row in rows:
        score = f"[{number(row['score'])}] " if row.get("score") is not None else ""
        print(score + row["completion"][-1]["content"], end="\n\n" if len(rows) > 1 else "\n")


def _task(config: PolicySample) -> Sequence[Task]:
    system = (Message("system", config.system),) if config.system else ()
    messages = (*system, Message("user", config.prompt))
    return [Task(task_id(messages), messages)]
