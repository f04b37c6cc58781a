"""A saved reward that is taught again: on the judgments that it learned from, and on those of the rounds."""

from __future__ import annotations

import json
import shutil
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any, Protocol

from custodes.feedback.collection import Feedback
from custodes.feedback.reading import read_feedback
from custodes.files import save_json
from custodes.job.workspace import Workspace
from custodes.ledger import Model
from custodes.lm.loading import load
from custodes.lm.precision import DtypeName
from custodes.loop.chosen_tasks import held_out_prompts
from custodes.loop.evaluation import reward_fingerprint
from custodes.reward import RewardConfig, RewardModel, load_reward, save_reward
from custodes.reward.evaluate import calibrate, evaluate_reward
from custodes.reward.objective import Material
from custodes.reward.reading import Reader
from custodes.reward.storage import TRAINING
from custodes.reward.teaching import courses_of, open_objectives, value_pairs, with_outputs
from custodes.reward.train import teach_reward
from custodes.stats import Interval
from custodes.train import TrainStep
from custodes.types import Annotator, Episode, InputError, Judgment, PreferencePair


@dataclass(frozen=True)
class TaughtReward:
    """A reward of a round."""

    model: RewardModel
    name: str
    held_out: Interval
    """Its accuracy on the pairs that no reward of the run learns from."""


class RewardTeacher(Protocol):
    """Makes the rewards of a run."""

    @property
    def axis(self) -> str:
        """What judges are asked to compare on."""
        ...

    def first(self) -> TaughtReward:
        """The reward of the first round."""
        ...

    def learned_from(self) -> Feedback:
        """The judgments of the first reward."""
        ...

    def teach(self, number: int, judged: Feedback) -> TaughtReward:
        """The reward of a round, which learns from the first one's judgments and from all that were ``judged`` since."""
        ...


class SavedReward:
    """The reward in a folder of ``custodes reward train``, which says there what it learned from and how."""

    def __init__(self, work: Workspace, rewards: Sequence[str], out: Path, dtype: DtypeName, device: str) -> None:
        """Raises InputError for what cannot be taught again."""
        self.work, self.out, self.dtype, self.device = work, out, dtype, device
        check_teachable(rewards)
        self.folder = Path(rewards[0])
        self.told = json.loads((self.folder / TRAINING).read_text(encoding="utf-8"))
        names = {f.name for f in fields(RewardConfig)}
        self.training = RewardConfig(**{k: v for k, v in self.told["training"].items() if k in names})
        self.objectives = open_objectives(tuple(self.told["objectives"]))
        file = read_feedback(
            self.told["judgments_file"],
            skip_bad_rows=self.told["skip_bad_rows"],
            rows=self.told["rows"],
            read_as=self.told["read_as"],
        )
        self.axis, self.feedback, self.source = file.axis(self.told["axis"]), file.feedback, file.name

    def first(self) -> TaughtReward:
        model = load_reward(self.folder, self.dtype, self.device)
        if len(model.outputs) > 1:
            raise InputError(
                f"--reward {self.folder} has several outputs ({', '.join(model.outputs)}); rounds teach a reward with one."
            )
        return TaughtReward(model, "first reward", self._held_out(model))

    def learned_from(self) -> Feedback:
        return self.feedback

    def teach(self, number: int, judged: Feedback) -> TaughtReward:
        folder, name = self.out / str(number) / "reward", f"reward of round {number}"
        if not self.work.done(folder):
            lm = load(self.told["model"], dtype=self.dtype, device=self.device)
            learned, held_out = self._material(lm, judged)
            courses, _ = courses_of(learned, self.objectives, self.training.members)

            def on_step(done: TrainStep) -> None:
                self.work.tokens_trained += int(done.metrics.get("tokens", 0))
                self.work.tick()

            model = teach_reward(
                lm,
                courses,
                self.training,
                axes=learned.axes,
                marks=learned.marks,
                checkpoints=folder / "checkpoints",
                on_step=on_step,
            )
            calibrate(model, value_pairs(held_out), self.source)
            save_reward(model, folder)
            save_json(
                folder / TRAINING, self.told | {"taught_again": {"round": number, "judgments": len(judged.judgments)}}
            )
            shutil.rmtree(folder / "checkpoints", ignore_errors=True)
            self.work.finish(folder)
        model = load_reward(folder, self.dtype, self.device)
        id, parent = reward_fingerprint(model), replace(model.lm, adapter=None).fingerprint()
        self.work.ledger.write(self.work.run, [Model(id, name, "reward", parent, {"round": number})])
        return TaughtReward(model, name, self._held_out(model))

    def _held_out(self, model: RewardModel) -> Interval:
        return evaluate_reward(model, self._held_out_pairs(model), self.source).accuracy

    def _held_out_pairs(self, model: RewardModel) -> list[PreferencePair]:
        return value_pairs(self._material(model.lm, Feedback())[1])

    def _material(self, lm: Any, judged: Feedback) -> tuple[Material, Material]:
        """(what is learned from, what is held out): the first reward's prompts stay held out, and what is judged since is learned."""
        reader = Reader(lm, self.training.max_length)
        before = with_outputs(self.feedback, reader, self.objectives, self.told["axes"], self.axis)
        prompts = map(before.prompt, self.feedback.judgments)
        learned, held_out = before.divided(held_out_prompts(prompts, self.told["held_out"], self.training.seed))
        if not value_pairs(held_out):
            raise InputError(
                f"--reward {self.folder} held no pair out, so nobody knows how right it is; train it with --held-out 0.1."
            )
        kept = {_prompt(held_out.feedback, judgment) for judgment in held_out.feedback.judgments}
        new = [judgment for judgment in judged.judgments if _prompt(judged, judgment) not in kept]
        every = Feedback(
            self.feedback.tasks | judged.tasks,
            self.feedback.episodes | judged.episodes,
            [*learned.feedback.judgments, *new],
            self.feedback.annotators | judged.annotators,
            self.feedback.origins,
        )
        return replace(learned, feedback=every, used=Counter(), unused=Counter()), held_out


def check_teachable(rewards: Sequence[str]) -> None:
    """Raises InputError, in one sentence, for rewards that cannot be taught again."""
    if len(rewards) != 1:
        raise InputError(f"--rounds teaches one reward again, and {len(rewards)} are given; give one --reward.")
    file = Path(rewards[0]) / TRAINING
    if not file.is_file():
        raise InputError(
            f"--rounds cannot teach {rewards[0]} again: it is no folder of custodes reward train with the judgments that it learned from."
        )
    told = json.loads(file.read_text(encoding="utf-8"))
    another = "groups" if told.get("groups") is not None else "spread" if told.get("spread") else ""
    another = another or ("demonstrations" if (told.get("demonstrated") or {}).get("against") else "")
    if another:
        raise InputError(
            f"--rounds cannot teach {rewards[0]} again: it was trained with {another}; give one that learned from comparisons."
        )


def judged_feedback(
    episodes: Sequence[Episode], judgments: Sequence[Judgment], annotators: Sequence[Annotator]
) -> Feedback:
    """What judges said of episodes, as feedback."""
    wanted = {id for judgment in judgments for id in judgment.episodes}
    held = {e.id: e for e in episodes if e.id in wanted}
    tasks = {e.task.id: e.task for e in held.values()}
    return Feedback(tasks, held, list(judgments), {one.id: one for one in annotators})


def comparisons_of(feedback: Feedback, axis: str) -> dict[tuple[Episode, Episode], float]:
    """Pair -> the mean of what its judgments say: 1 that its first is better, 0 its second."""
    told: dict[tuple[str, str], list[float]] = {}
    for judgment in feedback.judgments:
        for row in judgment.comparisons(axis):
            if row.first in feedback.episodes and row.second in feedback.episodes:
                turned = (row.second, row.first) in told
                key = (row.second, row.first) if turned else (row.first, row.second)
                sign = (row.strength > 0) - (row.strength < 0)
                told.setdefault(key, []).append(0.5 - 0.5 * sign if turned else 0.5 + 0.5 * sign)
    of = feedback.episodes
    return {(of[a], of[b]): sum(said) / len(said) for (a, b), said in told.items()}


def _prompt(feedback: Feedback, judgment: Judgment) -> Any:
    """The prompt of what was judged."""
    ids = judgment.episodes
    return (feedback.episodes[ids[0]].task if ids else feedback.tasks[judgment.task]).messages
