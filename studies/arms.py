"""What studies of policies share: an arm that is optimised and measured once, whatever interrupts it.

An arm is a folder: checkpoints and ``metrics.jsonl`` of the optimisation, ``replies.jsonl`` with every training reply's objectives,
``policy`` and ``held_out.json``. Run again with the same options, a study goes on where it was.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from custodes.environments import instruction_tasks
from custodes.files import save_json
from custodes.lm.adapter import Adapter, AdapterConfig
from custodes.lm.engine import TorchEngine
from custodes.lm.loading import LanguageModel, load
from custodes.loop.evaluation import kl_of
from custodes.policy import OptimiseConfig, optimise
from custodes.reward.base import Mixture
from custodes.types import Episode, Message, Reward, Sampling, Scores, Task

TOGETHER = 24
"""Tasks whose replies are drawn at once, which bounds memory."""

Rows = dict[str, list[float]]
"""Objective -> a value for each held-out reply, in the order of the tasks; "kl" is among them."""


@dataclass(frozen=True)
class Bench:
    """The model, its tasks and the objectives that every arm is measured by."""

    out: Path
    model: str
    train: Sequence[Task]
    held_out: Sequence[Task]
    objectives: Mapping[str, Reward]
    config: OptimiseConfig
    replies: int  # of each held-out task

    def adapted(self) -> LanguageModel:
        """The model with a new adapter on its upper half, as ``policy optimise`` makes it."""
        lm = load(self.model)
        lm.adapter = Adapter(
            lm.decoder, AdapterConfig(first_layer=lm.decoder.spec.layers // 2), self.config.sampling.seed
        )
        return lm

    def arm(self, name: str, weights: Mapping[str, float], constrain: Sequence[str] = ()) -> tuple[LanguageModel, Rows]:
        """Optimise a weighted sum of the objectives, within bounds; the policy, and its objectives on held-out tasks."""
        terms = [(objective, own, weights.get(objective, 0.0)) for objective, own in self.objectives.items()]
        return self.optimised(name, Mixture(terms), constrain)

    def optimised(
        self, name: str, reward: Reward, constrain: Sequence[str] = (), every: int = 0
    ) -> tuple[LanguageModel, Rows]:
        """Optimise any reward, within bounds; the policy, and its objectives on held-out tasks.

        With ``every`` they are measured each so many steps on the way too (:meth:`course`).
        """
        folder, lm = self.out / name, self.adapted()
        folder.mkdir(parents=True, exist_ok=True)

        def on_step(metrics: dict[str, float], episodes: list[Episode], scores: Scores) -> None:
            row = {"step": int(metrics["step"]), "task": [e.task.id for e in episodes]}
            parts = {objective: own.score(episodes).value.tolist() for objective, own in self.objectives.items()}
            with (folder / "replies.jsonl").open("a") as file:
                file.write(json.dumps(row | parts) + "\n")
            if every and row["step"] % every == 0:
                self.measured(folder / f"held_out-{row['step']:06d}.json", lm)

        options = replace(self.config, constrain=tuple(constrain))
        optimise(lm, self.train, reward, options, engine=TorchEngine(lm), out=folder, on_step=on_step)
        lm.save(folder / "policy")
        return lm, self.measured(folder / "held_out.json", lm)

    def measured(self, file: Path, lm: LanguageModel) -> Rows:
        """The objectives of held-out replies, and their KL from the base model in nats; drawn once and kept in ``file``, the
        texts beside it (:meth:`texts_of`)."""
        if not file.exists():
            sampling = replace(self.config.sampling, n=self.replies, seed=self.config.sampling.seed + 2)
            episodes = TorchEngine(lm).generate(self.held_out, sampling)
            rows = {name: reward.score(episodes).value.tolist() for name, reward in self.objectives.items()}
            base = TorchEngine(replace(lm, adapter=None))
            file.parent.mkdir(parents=True, exist_ok=True)
            save_json(self.texts_of(file), [e.completion for e in episodes])
            save_json(file, rows | {"kl": kl_of(base, episodes, 1.0).tolist()})
        return dict(json.loads(file.read_text()))

    @staticmethod
    def texts_of(file: Path) -> Path:
        """Where the replies stand that were measured in ``file``."""
        return file.with_name(f"texts-{file.name}")

    def course(self, name: str) -> dict[int, Rows]:
        """Step -> the objectives on held-out tasks, of an arm that was measured on its way; the base model has step 0."""
        files = {int(file.stem.removeprefix("held_out-")): file for file in (self.out / name).glob("held_out-*.json")}
        course = {0: self.measured(self.out / "base.json", self.adapted())}
        return course | {step: dict(json.loads(file.read_text())) for step, file in sorted(files.items())}

    @property
    def clusters(self) -> list[str]:
        """The task of each held-out reply."""
        return [task.id for task in self.held_out for _ in range(self.replies)]

    def steps(self, name: str) -> dict[int, dict[str, list]]:
        """Step -> the tasks and objectives of its replies; of a step that was made twice the last."""
        lines = (self.out / name / "replies.jsonl").read_text().splitlines()
        return {row["step"]: row for row in map(json.loads, lines)}


def drawn(file: Path, lm: LanguageModel, tasks: Sequence[Task], sampling: Sampling) -> list[Episode]:
    """Replies to the tasks, those of one task side by side; drawn once and kept in ``file`` as texts."""
    if not file.exists():
        file.parent.mkdir(parents=True, exist_ok=True)
        parts = [tasks[k : k + TOGETHER] for k in range(0, len(tasks), TOGETHER)]
        episodes = [e for part in parts for e in TorchEngine(lm).generate(part, sampling)]
        save_json(file, [[e.completion, e.outcome] for e in episodes])
    rows = iter(json.loads(file.read_text()))
    made = []
    for task in tasks:
        for n in range(sampling.n):
            text, outcome = next(rows)
            messages = (*task.messages, Message("assistant", text))
            made.append(replace(Episode.written(f"{task.id}-{n}", task, messages, lm.name), outcome=outcome))
    return made


def over_seeds(study: Callable[[Path, argparse.Namespace, int], object], chosen: argparse.Namespace, name: str) -> None:
    """Make the study for each seed, keep what it found in ``NAME.json`` and print it."""
    seeds = (0, 1, 2) if chosen.full else (chosen.seed,)
    found = [study(chosen.out / f"seed-{seed}", chosen, seed) for seed in seeds]
    save_json(chosen.out / f"{name}.json", found)
    print(json.dumps(found, indent=1))


def split_instructions(held_out: int, of_all: int = 2400) -> tuple[list[Task], list[Task]]:
    """(training, held out) of so many instruction tasks, ``held_out`` of the latter."""
    tasks = instruction_tasks(of_all)
    of = {split: [t for t in tasks if t.metadata["split"] == split] for split in ("train", "held_out")}
    return of["train"], of["held_out"][:held_out]


def options(description: str | None, out: str) -> argparse.ArgumentParser:
    """What every study of policies takes."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path(out), help="folder of the study; run again, it goes on there")
    parser.add_argument("--model", default="smollm2-135m", help="an embedded model, or a folder")
    parser.add_argument("--steps", type=int, default=32)
    parser.add_argument("--held-out", type=int, default=96, help="held-out tasks")
    parser.add_argument("--tasks-per-step", type=int, default=12)
    parser.add_argument("--learning-rate", type=float, default=4e-4)
    parser.add_argument("--max-tokens", type=int, default=64)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--full", action="store_true", help="seeds 0, 1 and 2 in place of --seed alone")
    return parser


def config_of(chosen: argparse.Namespace, seed: int) -> OptimiseConfig:
    """RLOO with the quickstart's sizes."""
    return OptimiseConfig(
        algorithm="rloo",
        steps=chosen.steps,
        tasks_per_step=chosen.tasks_per_step,
        sampling=Sampling(n=4, max_tokens=chosen.max_tokens, seed=seed),
        learning_rate=chosen.learning_rate,
        warmup_steps=min(4, chosen.steps - 1),
        kl_coefficient=0.02,
        checkpoint_every=4,
    )


def by_task(values: Sequence[float], replies: int) -> np.ndarray:
    """(tasks,) means over the replies of each task."""
    return np.asarray(values, float).reshape(-1, replies).mean(1)
