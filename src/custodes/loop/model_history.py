"""What is known of how a model came about: the base of an adapter, the run that made a policy, a chat template."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

from custodes.job.workspace import latest_runs
from custodes.ledger import Ledger
from custodes.lm.adapter import ADAPTER_CONFIG
from custodes.lm.engine import TorchEngine
from custodes.lm.loading import base_of, policy_within

TOLD = ("method_name", "method", "algorithm", "epochs", "steps", "kl_budget")
"""Options of a run that say how far it went."""


def history_of(model: str, engine: Any) -> str:
    """One or two sentences on how a model came about; it is called already tuned where it brings a chat template of its own."""
    if not isinstance(engine, TorchEngine):
        return "It is behind a server; how it came about is not known."
    sentences = []
    folder = Path(policy_within(model))
    if (folder / ADAPTER_CONFIG).is_file():
        sentences.append(f"An adapter on {base_of(folder)}.")
    for place in (Path(model), folder, folder.parent):
        if (place / "ledger.db").is_file():
            sentences += _of_run(place / "ledger.db")
            break
    if engine.lm.tokenizer.chat_template is not None:
        what = "Its base" if sentences else "It"
        sentences.append(f"{what} brings a chat template, so it was already tuned to converse.")
    return " ".join(sentences) or "It brings no chat template: a base model, as far as its files say."


def tokenizer_hash(engine: Any) -> str:
    """Of the vocabulary and the chat template: models of one hash give the same text the same tokens; "" where it is not known."""
    if not isinstance(engine, TorchEngine):
        return ""
    tokenizer = engine.lm.tokenizer
    known = json.dumps([sorted(tokenizer.get_vocab().items()), engine.lm.chat.template])
    return hashlib.sha256(known.encode()).hexdigest()[:16]


def _of_run(path: Path) -> list[str]:
    with Ledger.open(path, read_only=True) as ledger:
        runs = latest_runs(ledger)
    if not runs:
        return []
    run = runs[0]
    told = [f"{name.replace('_', ' ')} {value}" for name in TOLD if (value := run.config.get(name)) not in (None, "")]
    return [f"Made by custodes {run.recipe}{': ' if told else ''}{', '.join(told)}."]
