"""Replies of a model: what ``custodes policy sample`` prints."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from custodes.environments import read_tasks
from custodes.job.command import command, in_words
from custodes.lm import TorchEngine, load
from custodes.lm.loading import DtypeName
from custodes.types import InputError, Message, Sampling, Task


@dataclass(frozen=True, kw_only=True)
class PolicySample:
    """Sample replies from a model, to one prompt or to a file of prompts."""

    model: str = "smollm2-135m"
    """Embedded model, a local folder, a .gguf file or a hub id."""
    adapter: Path | None = None
    """Folder of a saved adapter."""
    prompt: str = ""
    """What the user says."""
    prompts: Path | None = None
    """File with a column prompt, messages or chosen: JSONL, CSV or parquet."""
    dtype: DtypeName = "auto"
    """Precision of computation; auto takes bfloat16 where this machine multiplies it natively."""
    sampling: Sampling = field(default_factory=Sampling)


@command()
def policy_sample(config: PolicySample) -> list[dict[str, Any]]:
    """Sample replies from a model."""
    if bool(config.prompt) == (config.prompts is not None):
        raise InputError("custodes policy sample takes --prompt TEXT or --prompts FILE, one of them.")
    own = [Task("prompt", (Message("user", config.prompt),))]
    tasks = own if config.prompts is None else read_tasks(config.prompts)
    lm = load(config.model, adapter=config.adapter, dtype=config.dtype)
    return [
        {
            "task": episode.task.id,
            "messages": [m.to_dict() for m in episode.messages],
            "outcome": episode.outcome,
            "tokens": episode.actions,
        }
        for episode in TorchEngine(lm).generate(tasks, config.sampling)
    ]


@in_words(policy_sample)
def _show(config: PolicySample, replies: list[dict[str, Any]]) -> None:
    for reply in replies:
        print(reply["messages"][-1]["content"], end="\n\n" if len(replies) > 1 else "\n")
