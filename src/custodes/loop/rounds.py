"""Rounds: a policy learns until its reward is no longer right about it, its replies are judged, and the reward learns again.

Iterated as in arXiv 2405.07863, with labels asked where they are needed (2505.18126 relearns from the final reward). The
first policy stays the reference of the KL in all rounds. What is done is not done again: each part is recorded under a name of
its own, and a run that goes on walks through the same parts.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from custodes.audit import RecordedRun
from custodes.audit.heldout import chosen_row, shared_tasks, task_matrix
from custodes.audit.sections.rounds import (
    FINAL,
    ProbeAsked,
    ProbeLabels,
    Relearned,
    RewardOnPairs,
    RoundEnded,
    RoundLabelled,
    RoundReward,
    round_figures,
)
from custodes.feedback.collection import Feedback
from custodes.job.workspace import Workspace
from custodes.ledger import Decision
from custodes.lm.adapter import Adapter
from custodes.lm.loading import LanguageModel
from custodes.loop.alarm_watch import AlarmOptions, set_alarms
from custodes.loop.evaluation import reward_fingerprint
from custodes.loop.optimised_arm import Optimised, OptimisedArm
from custodes.loop.round_judges import PairAnswers, PairJudge, answers, preference
from custodes.loop.round_options import RoundOptions
from custodes.loop.round_pairs import Pair, choose_pairs, one_pair_each, pair_margins, pairs_within_tasks
from custodes.loop.round_reward import RewardTeacher, TaughtReward, comparisons_of, judged_feedback
from custodes.loop.round_watch import RewardWatch, UnansweredError
from custodes.policy import OptimiseConfig
from custodes.types import Engine, Episode, InputError, Task

REPLIES = 4
"""Replies of a prompt among which pairs are chosen: six pairs."""
CANDIDATES = 4
"""Pairs to choose from for each one that is judged."""

MakeArm = Callable[[str, TaughtReward, Path, OptimiseConfig], OptimisedArm]
"""(name, reward, folder, options) -> an optimisation that begins with the model as it came."""


@dataclass
class Rounds:
    """The rounds of one run."""

    work: Workspace
    options: RoundOptions
    alarms: AlarmOptions  # they watch every round and end none; accuracy is asked by a round's own probes
    config: OptimiseConfig
    judge: PairJudge
    teacher: RewardTeacher
    make_arm: MakeArm
    make_engine: Callable[[LanguageModel], Engine]
    arm: str  # name of the first round's arm, and how those of later ones begin
    train: Sequence[Task]
    held_out: Sequence[Task]
    folder: Path
    feedback: Feedback = field(default_factory=Feedback)  # what was judged in the rounds so far

    def run(self) -> tuple[OptimisedArm, Optimised]:
        """Every round; the last one's optimisation. Raises InputError where a judge fails or does not answer in time."""
        rewards = [self._recorded(1, self.teacher.first())]
        if self.options.trigger.signal == "disagreement" and rewards[0].model.members < 2:
            raise InputError("--relabel disagreement needs a reward with several members; this one has one.")
        labelled_at, steps = 0.0, 0
        for number in range(1, self.options.rounds + 1):
            arm, done, watch = self._round(number, rewards[-1], labelled_at)
            steps = done.result.steps + (steps if self.options.restart == "last" else 0)
            if watch.rang is None or number == self.options.rounds:
                break
            labelled_at = watch.steps[max(watch.steps)].kl or 0.0
            self._relabel(number, arm, rewards[-1])
            rewards.append(self._recorded(number + 1, self.teacher.teach(number + 1, self.feedback)))
        if watch.rang is not None:
            self._say("The last round ended by an alarm too; its policy is handed over as it was then.")
        else:
            self._say(f"Round {number} ended without an alarm; no more labels are needed.")
        self._ask_about_probes(number, rewards)
        self._ask_at_the_end(arm, rewards)
        if self.options.relearn:
            self._relearn(arm, rewards[-1], steps)
        return arm, done

    def figures(self) -> dict[str, Any]:
        """What became of the rounds (:func:`custodes.audit.sections.rounds.round_figures`)."""
        return round_figures(RecordedRun(self.work.ledger, self.work.run))

    # ------------------------------------------------------------ one round

    def _round(
        self, number: int, reward: TaughtReward, labelled_at: float
    ) -> tuple[OptimisedArm, Optimised, RewardWatch]:
        """Optimise until an alarm rings or the steps are made; where people must answer first, wait for them."""
        name, folder, before = self._name(number), self.folder / str(number), self.folder / str(number - 1)
        while True:
            watch = RewardWatch(
                self.work,
                name,
                self.judge,
                self.options,
                reward.held_out,
                self.teacher.axis,
                self.config.sampling.seed,
                labelled_at,
            )
            with self.work.phase("judgments", f"Round {number}, {reward.name}: right on {reward.held_out} held out"):
                watch.settle()
            arm = self._watched_arm(name, reward, folder, self.config)
            arm.watches.append(watch)
            if number > 1 and self.options.restart == "last":
                self._begin_at(arm.lm, before / arm.policy.name)
            try:
                done = arm.run()
            except UnansweredError:
                del arm  # its model is no longer as it began
                continue
            break
        id = f"round-ended-{name}"
        if not self.work.has(id):
            steps, last = done.result.steps, watch.steps.get(done.result.steps)
            stopped = "alarm" if watch.rang is not None and watch.rang.step == steps else done.result.stopped
            kl = last.kl if last is not None else None
            self.work.record(
                id, RoundEnded(round=number, reward=reward.name, steps=steps, stopped=stopped, kl=kl), name
            )
        return arm, done, watch

    def _begin_at(self, lm: LanguageModel, policy: Path) -> None:
        """Give ``lm`` the adapter with which the last round ended; its reference stays as it was."""
        if lm.adapter is None:
            raise InputError(
                "--restart last goes on from an adapter, and --full trains all weights; use --restart base."
            )
        lm.adapter.restore(Adapter.load(policy, lm.decoder).tensors(), str(policy))

    def _relabel(self, number: int, arm: OptimisedArm, reward: TaughtReward) -> None:
        """Choose pairs of the present policy's replies, have them judged, and add them to what is known."""
        name, count = self._name(number), self.options.labels
        tasks = list(self.train)
        rng = np.random.default_rng([self.config.sampling.seed, number, 17])
        wanted = -(-CANDIDATES * count // (REPLIES * (REPLIES - 1) // 2))
        chosen = [tasks[i] for i in rng.permutation(len(tasks))[:wanted]]
        with self.work.phase("sampling", f"Replies of round {number}'s policy, to be judged"):
            episodes = self._sample(f"to judge, {name} policy", arm, chosen, REPLIES, 5)
        with self.work.phase("judgments", f"Pairs that teach most, after round {number}"):
            known = comparisons_of(self.teacher.learned_from(), self.teacher.axis) | comparisons_of(
                self.feedback, self.teacher.axis
            )
            pairs = choose_pairs(
                self.options.choose, reward.model, pairs_within_tasks(episodes), known, count, self.config.sampling.seed
            )
            if not pairs:
                raise InputError(
                    f"round {number}: all replies to a prompt are the same, so there is nothing to judge; raise the temperature."
                )
            told = self._judged(f"the pairs after {name}", pairs)
            self._cost(name, told, pairs, episodes, self.options.choose)
        new = judged_feedback(episodes, told.judgments, told.annotators)
        self.feedback = Feedback(
            self.feedback.tasks | new.tasks,
            self.feedback.episodes | new.episodes,
            [*self.feedback.judgments, *new.judgments],
            self.feedback.annotators | new.annotators,
        )

    # ------------------------------------------------------------ how right rewards are

    def _ask_about_probes(self, rounds: int, rewards: Sequence[TaughtReward]) -> None:
        """Every reward on the probes of every round: none has learned from them. Stale where it taught, fresh after."""
        asked: dict[str, tuple[list[ProbeAsked], list[ProbeLabels]]] = {}
        for name in map(self._name, range(1, rounds + 1)):
            if not all(self.work.has(_on_pairs(reward.name, name)) for reward in rewards):
                of_round = self.work.ledger, self.work.run, name
                asked[name] = ProbeAsked.recorded(*of_round), ProbeLabels.recorded(*of_round)
        wanted = {id for rows, _ in asked.values() for row in rows for id in (*row.first, *row.second)}
        held = {e.id: e for e in self.work.ledger.episodes(self.work.run) if e.id in wanted} if wanted else {}
        for name, (rows, labels) in asked.items():
            side = {row.step: row.label for row in labels}
            judged = sorted((row for row in rows if row.step in side), key=lambda row: row.step)
            pairs = [(held[a], held[b]) for row in judged for a, b in zip(row.first, row.second, strict=True)]
            for reward in rewards if pairs else ():
                self._record_on(reward, name, pairs, [x for row in judged for x in side[row.step]])

    def _ask_at_the_end(self, arm: OptimisedArm, rewards: Sequence[TaughtReward]) -> None:
        """Every reward on random pairs of the final policy's held-out replies."""
        with self.work.phase("evaluation", "How right each reward is on the final policy's replies"):
            episodes = self._sample(f"final pairs, {arm.arm} policy", arm, self.held_out, REPLIES, 6)
            pairs = one_pair_each(episodes, self.options.final_labels, [self.config.sampling.seed, 19])
            if not pairs:
                self._say("All final replies to a prompt are the same; no reward can be asked about them.")
                return
            told = self._judged(f"the final pairs of {arm.arm}", pairs)
            self._cost(FINAL, told, pairs, episodes, "random")
            label = [preference(told.judgments, pair) for pair in pairs]
            for reward in rewards:
                self._record_on(reward, FINAL, pairs, label)

    def _record_on(self, reward: TaughtReward, where: str, pairs: Sequence[Pair], label: list[int]) -> None:
        id = _on_pairs(reward.name, where)
        if not self.work.has(id):
            margin = pair_margins(reward.model, pairs).tolist()
            row = RewardOnPairs(where=where, task=[a.task.id for a, _ in pairs], margin=margin, label=label)
            self.work.record(id, row, reward.name)

    def _relearn(self, arm: OptimisedArm, reward: TaughtReward, steps: int) -> None:
        """A second policy from the model as it came, on the final reward alone, with another seed and as many steps."""
        name = f"{self.arm}, relearned"
        config = _with(self.config, steps, self.config.sampling.seed + 1)
        again = self._watched_arm(name, reward, self.folder / "relearned", config)
        again.run()
        id = f"relearned-{name}"
        if self.work.has(id):
            return
        source = RecordedRun(self.work.ledger, self.work.run)
        ends = [chosen_row(source.heldout[which]) for which in (arm.arm, name)]
        proxy, gold = task_matrix(ends, "proxy"), task_matrix(ends, "gold")
        assert proxy is not None  # every row has it
        told: dict[str, Any] = {"proxy": proxy[0].tolist(), "proxy_relearned": proxy[1].tolist()}
        if gold is not None:
            told |= {"gold": gold[0].tolist(), "gold_relearned": gold[1].tolist()}
        row = Relearned(steps=steps, task=list(shared_tasks(ends)), **told)
        self.work.record(id, row, name)

    # ------------------------------------------------------------ parts

    def _watched_arm(self, name: str, reward: TaughtReward, folder: Path, config: OptimiseConfig) -> OptimisedArm:
        arm = self.make_arm(name, reward, folder, config)
        set_alarms(arm, self.alarms, None, (1, 1), self.options.alarm_level)
        return arm

    def _name(self, number: int) -> str:
        return self.arm if number == 1 else f"{self.arm}, round {number}"

    def _sample(self, purpose: str, arm: OptimisedArm, tasks: Sequence[Task], n: int, draw: int) -> list[Episode]:
        own = self.config.sampling
        return self.work.sample(purpose, self.make_engine(arm.lm), tasks, replace(own, n=n, seed=own.seed + draw))

    def _judged(self, purpose: str, pairs: Sequence[Pair]) -> PairAnswers:
        return answers(self.work, self.judge, purpose, pairs, self.teacher.axis, self.options.wait_hours)

    def _cost(
        self, arm: str, told: PairAnswers, pairs: Sequence[Pair], episodes: Sequence[Episode], choice: str
    ) -> None:
        """Record who judged what, and what it cost."""
        id = f"round-labelled-{arm}"
        if self.work.has(id):
            return
        row = RoundLabelled(
            judge=self.judge.name,
            choice=choice,
            pairs=len(pairs),
            judgments=len(told.judgments),
            seconds=told.seconds,
            tokens=sum(e.actions for e in episodes),
        )
        self.work.record(id, row, arm)
        why = f"{row.judgments} judgments of {row.pairs} pairs, {row.seconds:.0f} s of annotators' time, {row.tokens} tokens sampled"
        what = f"asked {self.judge.name} about the replies of {arm}"
        self.work.write([Decision(f"labels-{arm}", what, why, arm)])

    def _recorded(self, number: int, reward: TaughtReward) -> TaughtReward:
        """Record a reward and how right it is held out."""
        id, model = f"round-reward-{number}", reward_fingerprint(reward.model)
        if not self.work.has(id):
            learned = len(self.feedback.judgments)
            row = RoundReward(round=number, held_out=reward.held_out.to_dict(), judgments=learned, model=model)
            self.work.record(id, row, reward.name)
        return reward

    def _say(self, sentence: str) -> None:
        self.work.console.print(sentence, soft_wrap=True, highlight=False)


def _on_pairs(reward: str, where: str) -> str:
    return f"reward-on-pairs-{reward}-{where}"


def _with(config: OptimiseConfig, steps: int, seed: int) -> OptimiseConfig:
    """The same options with other steps and another seed."""
    sampling = replace(config.sampling, seed=seed)
    return replace(config, steps=steps, warmup_steps=min(config.warmup_steps, steps), sampling=sampling)
