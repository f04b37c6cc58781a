"""What the Python of the documentation speaks of: small files, a tiny model, and the names that a page leaves to its reader."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from custodes.feedback.kinds.comparison import Comparison
from custodes.feedback.kinds.label import Label
from custodes.types import Episode, Message, Task

PEOPLE = ("anna", "ben", "cleo")
COLUMNS = ["t0", "t1", "t2", "t3"] * 3, [p for p in PEOPLE for _ in range(4)], ["yes", "no", "no", "yes"] * 3
BY_PAGE: dict[str, dict[str, Any]] = {
    "quality": dict(zip(("tasks", "annotators", "labels"), COLUMNS, strict=True)),
    "whose-values": {
        "first": np.random.default_rng(1).normal(size=(60, 2)),
        "second": np.random.default_rng(2).normal(size=(60, 2)),
        "chose_first": np.random.default_rng(3).integers(0, 2, 60) * 1.0,
        "who": [PEOPLE[i % 3] for i in range(60)],
    },
}
"""Names that mean something else on one page."""


def names(page: str, folder: Path, model: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """Fills ``folder``, the working directory, and returns the names. ``smollm2-135m`` is the tiny ``model`` here."""
    from custodes.feedback.formats import read_preferences
    from custodes.lm import loading
    from custodes.lm.adapter import AdapterConfig
    from custodes.lm.loading import load
    from custodes.registry import alarm, algorithm, monitor, objective, script, section, stage
    from custodes.reward import FunctionReward, save_reward, train_reward
    from custodes.reward.config import RewardConfig

    # what a page makes known is gone after the test
    for family in (alarm, algorithm, objective, section, stage, monitor, script):
        for name in family.names():
            family.find(name)  # a module is run once: what its file makes known must be known before
        monkeypatch.setattr(family, "_found", dict(family._found))
    where = loading.model_folder
    monkeypatch.setattr(loading, "model_folder", lambda name: where(str(model) if name == "smollm2-135m" else name))
    (folder / "path/to").mkdir(parents=True)
    (folder / "path/to/folder").symlink_to(model)
    _write_files(folder)
    pairs = read_preferences(folder / "prefs.jsonl")
    save_reward(train_reward(load(str(model)), pairs, RewardConfig(rank=2, first_layer=0, epochs=1)), folder / "reward")
    draw = np.random.default_rng(0)
    return {
        "Path": Path,
        "lm": load(str(model), adapter=AdapterConfig(rank=2)),
        "tasks": [_task(i) for i in range(16)],
        "reward": FunctionReward(lambda completions, **columns: [float(len(c[-1]["content"])) for c in completions]),
        "episodes": _episodes(),
        "judgments": _judgments(),
        "read_preferences": read_preferences,
        "features": draw.normal(size=(12, 3)),
        "features_asked": draw.normal(size=(12, 3)),
        "features_open": draw.normal(size=(60, 3)),
        "preferred": draw.integers(0, 2, 12),
        "reliability": np.ones(12),
        "label": draw.random(12),
        "annotator": draw.integers(0, 2, 12),
        "probe": draw.normal(size=(5, 3)),
        "probe_label": draw.integers(0, 2, 5),
        **_ledger(folder),
        **BY_PAGE.get(page, {}),
    }


def _write_files(folder: Path) -> None:
    from custodes.feedback.records import write_judgments
    from custodes.tables import write_rows

    rows = [
        {"prompt": f"Name river {i}.", "chosen": f"The Danube {i}.", "rejected": f"I would rather not {i}.", "annotator": p}
        for i in range(4)
        for p in PEOPLE
    ]  # fmt: skip
    write_judgments(folder / "judgments.parquet", _judgments())
    for name in ("prefs.jsonl", "prefs.parquet", "preferences.jsonl"):
        write_rows(folder / name, rows)
    asked = [{"prompt": f"Say something about {i}.", "topic": str(i), "answer": str(i)} for i in range(12)]
    write_rows(folder / "prompts.jsonl", asked)
    write_rows(folder / "sft.jsonl", [{"prompt": "Name a river.", "completion": "The Danube."}])


def _task(i: int) -> Task:
    return Task(f"t{i}", (Message("user", f"Name river {i}."),))


def _episodes() -> list[Episode]:
    empty = np.zeros(0, np.int32), np.zeros(0, np.bool_), np.zeros(0, np.float32)
    return [
        Episode(f"e{i}{side}", _task(i), (*_task(i).messages, Message("assistant", text)), *empty, "stop", "base")
        for i in range(4)
        for side, text in (("a", "The Danube."), ("b", "I would rather not."))
    ]


def _judgments() -> list[Comparison]:
    return [
        Comparison(id=f"{i}{p}", annotator=p, task=f"t{i}", episodes=(f"e{i}a", f"e{i}b"), strength=-1 if p == "cleo" and i else 2)
        for i in range(4)
        for p in PEOPLE
    ]  # fmt: skip


def _ledger(folder: Path) -> dict[str, Any]:
    from custodes.ledger import Ledger

    ledger = Ledger.open(folder / "ledger.db")
    run = ledger.start_run("labels", {}, seed=0)
    rows = zip(*COLUMNS, strict=True)
    ledger.write(
        run,
        [Label(id=t + a, annotator=a, task=t, episodes=(t,), name="acceptable", value=value) for t, a, value in rows],
    )
    return {"ledger": ledger, "run": run}


def record_a_demo(folder: Path) -> None:
    """``runs/demo/ledger.db``, made up."""
    from custodes.ledger import Ledger

    spec = importlib.util.spec_from_file_location("made_up_run", Path(__file__).parent / "audit/made_up_run.py")
    assert spec is not None
    assert spec.loader is not None
    made_up = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(made_up)
    (folder / "runs/demo").mkdir(parents=True)
    with Ledger.open(folder / "runs/demo/ledger.db") as ledger:
        made_up.build_run(ledger)
