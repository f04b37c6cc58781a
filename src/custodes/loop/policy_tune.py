"""A policy tuned on demonstrations or preferences, without a reward: what ``custodes policy tune`` does.

What is held out says what was learned: of demonstrations the loss before and after, of preferences how often the chosen
reply gained more than the rejected one, and what each gained. Where a reward is given, replies to held-out prompts are
scored before and after as well.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import torch
from numpy.typing import NDArray

from custodes.audit.sections.tuning import Tuned
from custodes.environments import prompts_are_text, read_tasks, task_id
from custodes.feedback.reading import JudgmentsOptions
from custodes.files import save_json
from custodes.job.command import command, in_words
from custodes.job.options import Output, Use, identity
from custodes.job.workspace import Workspace
from custodes.ledger import Decision, Model
from custodes.lm.engine import TorchEngine
from custodes.lm.loading import POLICY, LanguageModel, check_model
from custodes.loop.chosen_tasks import held_out_prompts
from custodes.loop.evaluation import evaluate_policy
from custodes.loop.gains import Gain, gain_of
from custodes.loop.new_policy import NewPolicy, new_policy
from custodes.loop.optimised_arm import SNAPSHOTS, base_row, recorded_run
from custodes.policy.learner import Reference
from custodes.policy.passages import Passage, TextMethod, opening_id
from custodes.policy.tuning import TuneMethod, method_of, tune
from custodes.policy.turns import demonstration_of
from custodes.ranges import Count, PartShare, Threads, ranged
from custodes.registry import Chosen, method
from custodes.reward.options import RewardOptions
from custodes.stats import Interval
from custodes.train import Metrics, TrainStep
from custodes.types import Episode, InputError, Reward, Sampling, Task
from custodes.wording import counted

Floats = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
@ranged
class PolicyTune(JudgmentsOptions, RewardOptions, NewPolicy):
    """Tune a model on demonstrations (sft), preferences (dpo, ipo), labels (kto) or scored text (conditional). Run again with the same options, it goes on where it was interrupted."""

    out: Output
    """Folder for the policy, the report, the ledger and the checkpoints."""
    judgments: str = ""
    """Judgments in any form: a table (.jsonl, .json, .csv, .parquet, plain or packed), a folder of shards, a hub id, a ledger."""
    method: Annotated[TuneMethod | str, Chosen(method)] = "sft"
    """sft learns what was said; dpo and ipo learn which of two replies is preferred; kto, which replies are desirable.
    conditional, filter and mle learn text whose lines are scored. Its own options join these."""
    held_out: PartShare = 0.1
    """Share of the prompts kept out of training, on which what was learned is measured."""
    eval_tasks: str = ""
    """Held-out prompts in a file of their own; without it some of the prompts are held out."""
    measure_on: Count = 96
    """Held-out prompts on which policies are measured, at most."""
    snapshots: int = 4
    """Adapters kept on the way, by which policies are compared at equal KL."""
    max_tokens: Count = 128
    """Longest reply, in tokens."""
    threads: Annotated[Threads, Use.MEANS] = 0
    """Processor threads; 0 takes what torch finds."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "method", method_of(self.method))


@dataclass(frozen=True)
class TunedPolicy:
    """What a call of the command came to."""

    policy: Path
    method: str
    examples: int
    updates: int
    measured: dict[str, Interval]
    """On what was held out; empty where nothing was."""
    gain: Gain | None = None
    """In reward, where one was given."""
    report: Path | None = None

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON."""
        told = {"policy": str(self.policy), "method": self.method, "examples": self.examples, "updates": self.updates}
        more: dict[str, Any] = {"measured": {name: interval.to_dict() for name, interval in self.measured.items()}}
        if self.gain is not None:
            more["gain"] = self.gain.to_dict()
        return told | more | ({"report": str(self.report)} if self.report else {})


@command(resumes=True, steps=True)
def policy_tune(config: PolicyTune) -> TunedPolicy:
    """Tune a model on demonstrations or on preferences.

    Raises InputError for examples that cannot be used and for a folder of another run.
    """
    check_model(config.model)
    if config.eval_tasks and not config.reward:
        raise InputError("--eval-tasks holds prompts whose replies a reward measures; give --reward as well.")
    if config.threads:
        torch.set_num_threads(config.threads)
    examples = method_of(config.method).examples(config)
    done: list[TunedPolicy] = []
    own = method_of(config.method)
    options = identity(config) | {"method_name": own.name}
    report = recorded_run(
        config.out, "policy tune", options, own.seed, lambda work: done.append(_Tuning(config, work, examples).run())
    )
    return replace(done[0], report=report)


@in_words(policy_tune)
def _show(config: PolicyTune, done: TunedPolicy) -> None:
    updates, examples = counted(done.updates, "update"), counted(done.examples, "example")
    print(f"The policy is in {done.policy}: {updates} on {examples} with {done.method}.")
    for name, interval in done.measured.items():
        print(f"{name.capitalize():<18} {interval}")
    if done.gain is not None:
        print(f"Reward on held-out prompts: gained {done.gain.difference}, paired; KL {done.gain.kl} nats an episode.")


def _prompt(example: Any) -> Any:
    """What of an example is held out together: its prompt, or of a text its place."""
    return example[0].messages if isinstance(example, tuple) else example.prompt


def _task(example: Any) -> str:
    return example.place if isinstance(example, Passage) else task_id(_prompt(example))


@dataclass(frozen=True)
class _Continuing:
    """An engine that goes on with given tokens, whatever the task."""

    engine: TorchEngine
    ids: NDArray[np.int32]

    def generate(
        self, tasks: Sequence[Task], sampling: Sampling, prefixes: Sequence[str] | None = None
    ) -> list[Episode]:
        return self.engine.generate(tasks, sampling, prefixes, prompts=[self.ids] * len(tasks))

    def logprobs(self, episodes: Sequence[Episode], temperature: float = 1.0) -> list[NDArray[np.float32]]:
        return self.engine.logprobs(episodes, temperature)


class _Tuning:
    """One run."""

    def __init__(self, config: PolicyTune, work: Workspace, examples: Sequence[Any]) -> None:
        self.config, self.work, self.method = config, work, method_of(config.method)
        held = held_out_prompts(map(_prompt, examples), config.held_out, self.method.seed)
        self.train = [example for example in examples if _prompt(example) not in held]
        self.held_out = [example for example in examples if _prompt(example) in held]
        with work.phase("model", "Model and examples"):
            self.lm = self.method.begin(new_policy(config, self.method.seed), config.out)
            reference = Reference.of(self.lm)
            self.base = replace(self.lm, decoder=reference.decoder, adapter=reference.adapter)
            work.ledger.write(work.run, [base_row(self.base, config.model)])
            self.scored = self._scored() if config.reward else None

    def run(self) -> TunedPolicy:
        config, work, method = self.config, self.work, self.method
        measured_on = self._episodes()
        before = self._likelihoods(self.base, self._episodes(plain=True))
        texts = self._texts(self.base, "before")
        self._score(0)
        with work.phase("tuning", f"Tuning on {counted(len(self.train), 'example')} with {method.name}"):
            metrics = tune(
                self.lm,
                self.train,
                method,
                checkpoints=config.out / "tuning" / "checkpoints",
                on_step=self._keep,
            )
        work.tokens_trained += int(sum(m["tokens"] for m in metrics))
        after = self._likelihoods(self.lm, measured_on)
        row = replace(self._row(metrics, measured_on, before, after), texts=texts | self._texts(self.lm, "after"))
        self.lm.save(config.out / POLICY)
        self._score(len(metrics), chosen=True)
        id = self.lm.fingerprint()
        work.ledger.write(
            work.run,
            [
                Model(id, f"{method.name} policy", "policy", self.base.fingerprint(), {"method": method.name}),
                Decision(
                    "hand-over", "handed over this policy", "every example was learned from as often as asked", id
                ),
            ],
        )
        work.record("tuned", row, method.name)
        gain = None
        if config.reward:
            gain = gain_of(work, method.name, str(config.out / POLICY), method.seed, len(metrics), "updates")
        done = TunedPolicy(config.out / POLICY, method.name, len(self.train), len(metrics), row.measured(), gain)
        save_json(config.out / "result.json", done.to_dict())
        return done

    def _keep(self, step: TrainStep) -> None:
        """Keep the adapter at evenly spaced updates: a policy is compared at a KL that it passed."""
        parts, done = self.config.snapshots + 1, step.step
        due = done < step.steps and (done * parts) // step.steps > ((done - 1) * parts) // step.steps
        if due and self.lm.adapter is not None:
            self.lm.save(self.config.out / "tuning" / SNAPSHOTS / f"step-{done:06d}")

    # ------------------------------------------------------------ what was held out

    def _episodes(self, plain: bool = False) -> list[Episode]:
        """The held-out replies; of preferences chosen and rejected by turns; of texts with control tokens or ``plain``."""
        if isinstance(self.method, TextMethod):
            return [self.method.episode(self.lm, passage, not plain) for passage in self.held_out]
        if self.method.learns_from == "demonstrations":
            return [demonstration_of(self.lm, task, said) for task, said in self.held_out]
        if self.method.learns_from == "labels":
            return [
                demonstration_of(self.lm, Task(example.place or f"held out {i}", example.prompt), example.completion)
                for i, example in enumerate(self.held_out, 1)
            ]
        return [
            demonstration_of(self.lm, Task(f"{pair.place or i} {side}", pair.prompt), said)
            for i, pair in enumerate(self.held_out)
            for side, said in (("chosen", pair.chosen), ("rejected", pair.rejected))
        ]

    def _likelihoods(self, lm: LanguageModel, episodes: Sequence[Episode]) -> Floats:
        """(B,) nats: log p of each reply."""
        if not episodes:
            return np.zeros(0)
        with self.work.phase("evaluation", "What was held out"):
            return np.array([row.astype(np.float64).sum() for row in TorchEngine(lm).logprobs(episodes)])

    def _row(self, metrics: Sequence[Metrics], episodes: Sequence[Episode], before: Floats, after: Floats) -> Tuned:
        curves = [{name: value for name, value in m.items() if name != "tokens"} for m in metrics]
        task, tokens = [_task(example) for example in self.held_out], [e.actions for e in episodes]
        if self.method.learns_from != "preferences":
            labels = (
                [float(bool(example.label)) for example in self.held_out]
                if self.method.learns_from == "labels"
                else None
            )
            of_replies = {"tokens": tokens, "before": before.tolist(), "after": after.tolist(), "label": labels}
            return Tuned(examples=len(self.train), updates=curves, task=task, **of_replies)
        return Tuned(
            examples=len(self.train),
            updates=curves,
            task=task,
            tokens=tokens[0::2],
            before=before[0::2].tolist(),
            after=after[0::2].tolist(),
            rejected_before=before[1::2].tolist(),
            rejected_after=after[1::2].tolist(),
            label=[pair.label for pair in self.held_out],
        )

    def _texts(self, lm: LanguageModel, when: str) -> dict[str, list[float]]:
        """Mean scores of the lines of texts that the model writes, by what it is asked for; none where no text is learned."""
        method, scores = self.method, dict[str, list[float]]()
        if not isinstance(method, TextMethod):
            return scores
        openings = method.openings(lm) if when == "after" else {"text": [opening_id(lm)]}
        scored = method.line_scores()
        sampling = Sampling(n=method.texts_drawn, max_tokens=self.config.max_tokens, seed=method.seed + 3)
        for name, ids in openings.items():
            engine = _Continuing(TorchEngine(lm), np.array(ids, np.int32))
            with self.work.phase("sampling", f"Texts {when} tuning, {name}"):
                drawn = self.work.sample(f"{name}, {when}", engine, [Task(f"text-{name}-{when}", ())], sampling)
            scores[f"{name}, {when}"] = [float(np.mean(scored(e.completion))) for e in drawn if e.completion]
        return scores

    def _scored(self) -> tuple[Reward, list[Task]]:
        """The reward, and the prompts whose replies it scores."""
        config = self.config
        tasks = read_tasks(config.eval_tasks) if config.eval_tasks else self._held_out_tasks()
        text = prompts_are_text(config.eval_tasks) if config.eval_tasks else False
        return config.open_rewards(text=text, device=config.device), tasks[: config.measure_on]

    def _score(self, step: int, chosen: bool = False) -> None:
        """Replies to held-out prompts by the reward, where there is one."""
        if self.scored is None:
            return
        reward, tasks = self.scored
        with self.work.phase("evaluation", f"Held-out prompts, {'after' if step else 'before'} tuning"):
            evaluate_policy(
                self.work,
                self.method.name,
                step,
                (TorchEngine(self.lm), TorchEngine(self.base)),
                reward,
                tasks,
                Sampling(max_tokens=self.config.max_tokens, seed=self.method.seed + 2),
                None,
                policy=(self.lm if step else self.base).fingerprint(),
                scorer=getattr(reward, "name", type(reward).__name__),
                chosen=chosen,
            )

    def _held_out_tasks(self) -> list[Task]:
        if isinstance(self.method, TextMethod):
            raise InputError(
                f"--reward needs prompts, and {self.method.name} learns from text; give --eval-tasks FILE."
            )
        prompts = dict.fromkeys(prompt for example in self.held_out if (prompt := _prompt(example)))
        if len(prompts) < 2:
            raise InputError(
                "--reward needs prompts to measure on: hold some out (--held-out), or give --eval-tasks FILE."
            )
        return [Task(task_id(prompt), prompt) for prompt in prompts]
