"""A model that writes critiques: warm start, reward model, PPO, search. What ``custodes critic tune`` does.

The picture is that of arXiv 2407.00215.

1. Supervised: critiques that point out inserted bugs, and that say so where there is none.
2. Critiques of other code are drawn, several of each, and rated by simulated raters who know the bug and err in a stated
   way. A reward model learns the order within a question, without sight of the bug.
3. PPO against that reward.
4. Base, warm start and RL write about code of every split that training never saw, RL also by force sampling beam search
   at four modifiers. The rules rate them all, and differences are paired by question.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import combinations, islice
from pathlib import Path
from typing import Annotated, Any

import numpy as np

from custodes.critic.examples import TRAIN, BugExample, read_bug_examples
from custodes.critic.kept_apart import MANIFEST, TeachingRows
from custodes.critic.policies import (
    ReviewQuestion,
    chosen_by,
    compared_in_pairs,
    critique_demonstration,
    measure_critiques,
    modifiers,
    rated,
    review_question,
)
from custodes.critic.rating import SimulatedRater
from custodes.critic.search import Search, SearchConfig, force_sampling_beam_search, search_each
from custodes.files import save_json, take_over
from custodes.job.command import command, in_words
from custodes.job.options import Output
from custodes.job.workspace import Workspace
from custodes.ledger import Evaluation, Model
from custodes.lm.adapter import Adapter, AdapterConfig
from custodes.lm.engine import TorchEngine
from custodes.lm.loading import LanguageModel, load
from custodes.policy import OptimiseConfig, optimise
from custodes.policy.algorithm import Algorithm, algorithm_of
from custodes.policy.methods import Sft
from custodes.policy.tuning import tune
from custodes.ranges import Count, Positive, Range, at_least, ranged
from custodes.registry import Chosen, algorithm
from custodes.reward import RewardConfig, RewardModel, load_reward, save_reward, train_reward
from custodes.stats import Interval
from custodes.types import Episode, InputError, Message, PreferencePair, Sampling

WARM_BATCH = 8
"""Examples per update of the warm start: many small updates teach an adapter the form sooner than few large ones."""


@dataclass(frozen=True, kw_only=True)
@ranged
class CriticTune(TeachingRows):
    """Teach a model to write critiques. The same command again goes on where it was interrupted.

    Rows of the split train teach; rows of every other split are measured on.
    """

    out: Output
    """Folder of the adapters, the reward, the ledger and summary.json."""
    model: str = "smollm2-135m"
    """The critic, and the reward's backbone: embedded, a local folder, a .gguf file or a hub id."""
    warm_start: Count = 2000
    """Examples on which the model is tuned before it is optimised."""
    rated: Annotated[int, at_least(8)] = 400
    """Further examples whose critiques are rated for the reward."""
    samples: Annotated[int, at_least(2)] = 4
    """Critiques of each piece of code or answer, where critiques are drawn."""
    slip: Annotated[float, Range(0, 0.5)] = 0.1
    """How often a simulated rater turns a yes-or-no scale round."""
    steps: int = 30
    """Steps of optimisation: sample, score, update."""
    tasks_per_step: Count = 16
    """Different tasks per step; several replies are drawn to each."""
    measure_on: Annotated[int, at_least(2)] = 100
    """Examples of each held-out split on which policies are measured."""
    searched: int = 20
    """Of those, how many are also searched (28 critiques each)."""
    max_tokens: Annotated[int, at_least(8)] = 120
    """Longest critique."""
    begin: Path | None = None
    """Folder of an earlier run whose warm start and reward are taken over, to try another PPO or another search."""
    reward: Path | None = None
    """Folder of a reward that `custodes reward train` learned from people's comparisons of critiques. By default a reward
    is learned here from simulated raters."""
    learning_rate: float = 2e-4
    """Of the adapter in the warm start."""
    algorithm: Annotated[Algorithm | str, Chosen(algorithm)] = "ppo"
    """How the critic is optimised: ppo, another algorithm by name, or one of your own, FILE.py:Name. Its own options join these.
    --steps 0 leaves it out."""
    rl_learning_rate: Positive | None = None
    """Of the adapter in PPO; by default a quarter of the warm start's. At the whole of it a small critic soon finds what a
    reward of few ratings overrates."""
    kl_coefficient: float = 0.1
    """Weight of the KL divergence from the reference, here the warm start."""
    rank: Count = 8
    """Rank of adapters."""
    seed: int = 0
    """Decides everything that is drawn."""
    reward_epochs: Count = 2
    """Passes over the pairs that the reward learns from."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "algorithm", algorithm_of(self.algorithm))
        if self.reward is not None and not self.reward.is_dir():
            raise InputError(f"{self.reward} is no folder; give one that `custodes reward train` made.")


@command(resumes=True, steps=True)
def critic_tune(config: CriticTune) -> dict[str, Any]:
    """Teach a model to write critiques: warm start, reward, PPO, search.

    Run all phases; returns the summary. Raises InputError where the data are too few or cannot be read.
    """
    with Workspace.open(config.out, "critic tune", config, config.seed) as work:
        tuning = _Tuning(config, work)
        summary = tuning.run()
        save_json(config.out / MANIFEST, tuning.manifest, indent=None)
        save_json(config.out / "summary.json", summary)
    return summary


@in_words(critic_tune)
def _show(options: CriticTune, told: dict[str, Any]) -> None:
    for split, found in told["splits"].items():
        print(f"{split} ({found['n']} functions)")
        for policy, measured in found["policies"].items():
            measures = {name: Interval.from_dict(measured[name]) for name in ("cbi", "hallucinations", "false_alarms")}
            shown = "   ".join(f"{name.replace('_', ' ')} {interval}" for name, interval in measures.items())
            print(f"  {policy:<12}{shown}")
    print(f"The adapters are in {options.out}.")


class _Tuning:
    """The phases, in order."""

    def __init__(self, config: CriticTune, work: Workspace) -> None:
        self.config, self.work = config, work
        examples = read_bug_examples(config.data, described=True)
        random.Random(config.seed).shuffle(examples)
        training, self.manifest = config.taught(examples)
        if len(training) < config.warm_start + config.rated:
            wanted = f"{config.warm_start} for the warm start and {config.rated} to rate are asked for"
            raise InputError(f"{config.data} has {len(training)} training examples; {wanted}.")
        self.warm, self.rest = training[: config.warm_start], training[config.warm_start :]
        splits = sorted({e.split for e in examples} - {TRAIN})
        self.held_out = {s: [e for e in examples if e.split == s][: config.measure_on] for s in splits}
        if not splits:
            wanted = "one whose split is not train; nothing can be measured"
            raise InputError(f"{config.data} has no held-out example, {wanted}.")

    def run(self) -> dict[str, Any]:
        config, work = self.config, self.work
        with work.phase("model", "Model"):
            self.lm = load(config.model, seed=config.seed)
            self.room = min(self.lm.decoder.spec.context, 2048) - config.max_tokens
            base = replace(self.lm, adapter=None)
        with work.phase("warm start", f"Warm start on {len(self.warm):,} examples"):
            self._warm_start(config.out / "warm-start")
        source = str(config.reward or config.begin or f"rated critiques of {config.rated} examples")
        with work.phase("reward", f"Reward from {source}"):
            self._learn_reward(config.out / "reward")
            reward = load_reward(config.out / "reward")
        policies = {"base": base, "warm start": self._policy("warm-start")}
        if config.steps:
            with work.phase("optimisation", "PPO against the reward"):
                self._optimise(reward, config.out / "rl")
            policies["RL"] = self._policy("rl")
        raters = "simulated" if config.reward is None else f"those of {config.reward}"
        splits = {split: self._measured(split, policies, reward) for split in self.held_out}
        return {"raters": f"{raters}; measured by rules that know the bugs", "splits": splits}

    # ------------------------------------------------------------ training

    def _policy(self, name: str) -> LanguageModel:
        """The model with the adapter of a phase that is done."""
        return replace(self.lm, adapter=Adapter.load(self.config.out / name, self.lm.decoder))

    def _fitting(self, examples: Sequence[BugExample], most: int) -> list[tuple[BugExample, ReviewQuestion]]:
        """The first ``most`` examples whose code leaves room for a critique."""
        pairs = ((example, review_question(example)) for example in examples)
        fitting = (pair for pair in pairs if len(self.lm.encode(pair[1].task.messages)) <= self.room)
        found = list(islice(fitting, most))
        if not found:
            raise InputError(f"{self.config.data}: no example is short enough for {self.lm.name}.")
        return found

    def _warm_start(self, folder: Path) -> None:
        config, work = self.config, self.work
        if work.done(folder):
            return
        if config.begin is not None:
            self._take_over(config.begin, "warm-start")
            self._save(self._policy("warm-start"), "warm start")
            return
        adapter = AdapterConfig(rank=config.rank, alpha=2 * config.rank)
        tuned = replace(self.lm, adapter=Adapter(self.lm.decoder, adapter, config.seed))  # type: ignore[arg-type]
        written = [(asked.task, critique_demonstration(e)) for e, asked in self._fitting(self.warm, len(self.warm))]
        shown = [(task, text) for task, text in written if len(self.lm.encode_reply(text)) <= config.max_tokens]
        warmup = min(5, -(-len(shown) // WARM_BATCH))
        options = Sft(batch=WARM_BATCH, learning_rate=config.learning_rate, warmup_steps=warmup, seed=config.seed)
        losses = [m["loss"] for m in tune(tuned, shown, options, checkpoints=folder / "checkpoints")]
        self._save(tuned, "warm start", folder)
        done = {"examples": len(shown), "loss_first": losses[0], "loss_last": float(np.mean(losses[-5:]))}
        work.write([Evaluation("warm-start", "warm start", "", done, len(shown))])
        work.finish(folder)

    def _learn_reward(self, folder: Path) -> None:
        """The reward model on rankings within a question; its raters know the bug, it does not."""
        config = self.config
        if self.work.done(folder):
            return
        if config.reward is not None:
            load_reward(config.reward)  # what is no reward is said before it is copied
            take_over(config.reward, folder, ignore=("checkpoints", "ledger.db*"))
        elif config.begin is not None:
            self._take_over(config.begin, "reward")
            return
        else:
            asked = [q for _, q in self._fitting(self.rest, config.rated)]
            sampling = Sampling(n=config.samples, max_tokens=config.max_tokens, seed=config.seed + 1)
            engine = TorchEngine(self._policy("warm-start"))
            pairs = self._rankings(
                asked, self.work.sample("critiques to rate", engine, [q.task for q in asked], sampling)
            )
            if not pairs:
                raise InputError("the critiques of every example were rated alike: nothing can be ranked; rate more.")
            options = RewardConfig(epochs=config.reward_epochs, seed=config.seed)
            base, checkpoints = replace(self.lm, adapter=None), folder / "checkpoints"
            save_reward(train_reward(base, pairs, options, source="ratings", checkpoints=checkpoints), folder)
        self.work.finish(folder)

    def _rankings(self, asked: Sequence[ReviewQuestion], episodes: Sequence[Episode]) -> list[PreferencePair]:
        """Every two critiques of a question that a rater told apart overall; the ratings go into the ledger."""
        n, judgments, pairs = self.config.samples, [], []
        rater = SimulatedRater(id="simulated-rater-1", slip=self.config.slip, seed=self.config.seed)
        for i, q in enumerate(asked):
            own, values = episodes[i * n : (i + 1) * n], []
            for episode, from_rules in zip(own, rated([q] * n, own), strict=True):
                ratings = rater.ratings(q.task.id, episode.id, episode.completion, from_rules)
                judgments += ratings
                values.append(next(r.value for r in ratings if r.axis == "overall"))
            for a, b in combinations(range(n), 2):
                if values[a] != values[b] and own[a].completion != own[b].completion:
                    better, worse = (own[a], own[b]) if values[a] > values[b] else (own[b], own[a])
                    sides = [(Message("assistant", episode.completion),) for episode in (better, worse)]
                    pairs.append(PreferencePair(q.task.messages, sides[0], sides[1], annotator=rater.id))
        self.work.write([rater.annotator, *{j.id: j for j in judgments}.values()])
        return pairs

    def _optimise(self, reward: RewardModel, folder: Path) -> None:
        config = self.config
        if self.work.done(folder):
            return
        lm, wanted = self._policy("warm-start"), config.rated + config.steps * config.tasks_per_step
        tasks = [q.task for _, q in self._fitting(self.rest, wanted)]
        options = OptimiseConfig(
            algorithm=config.algorithm,
            steps=config.steps,
            tasks_per_step=min(config.tasks_per_step, len(tasks)),
            sampling=Sampling(n=4, max_tokens=config.max_tokens, seed=config.seed),
            learning_rate=config.rl_learning_rate or config.learning_rate / 4,
            warmup_steps=min(4, config.steps - 1),
            minibatches=2,
            kl_coefficient=config.kl_coefficient,
            checkpoint_every=5,
        )
        optimise(lm, tasks, reward, options, engine=TorchEngine(lm), out=folder)
        self._save(lm, "RL", folder)
        self.work.finish(folder)

    def _take_over(self, begin: Path, part: str) -> None:
        """A finished part of an earlier run as this one's own."""
        if not (begin / part / "done").is_file():
            raise InputError(f"{begin} has no finished {part}; name a folder of `custodes critic tune`.")
        take_over(begin / part, self.config.out / part, ignore=("checkpoints",))
        self.work.recording.keep(self.config.out / part)

    def _save(self, lm: LanguageModel, name: str, folder: Path | None = None) -> None:
        """Record a model, whose adapter goes into the folder where it is not there."""
        if folder is not None and lm.adapter is not None:
            lm.adapter.save(folder, self.lm.name)
        self.work.write([Model(lm.fingerprint(), name, "critic")])

    # ------------------------------------------------------------ measuring

    def _measured(self, split: str, policies: dict[str, LanguageModel], reward: RewardModel) -> dict[str, Any]:
        """Policies on the examples of a split, and the last of them by FSBS at four modifiers on the first examples."""
        config, work = self.config, self.work
        examples = self.held_out[split]
        asked = [q for _, q in self._fitting(examples, len(examples))]
        sampling = Sampling(max_tokens=config.max_tokens, seed=config.seed + 2)
        critiques = {}
        for name, lm in policies.items():
            with work.phase("evaluation", f"{split}: {name}"):
                drawn = work.sample(f"{split}, {name}", TorchEngine(lm), [q.task for q in asked], sampling)
                critiques[name] = rated(asked, drawn)
        measured = {name: measure_critiques(asked, rows) for name, rows in critiques.items()}
        told: dict[str, Any] = {"n": len(asked), "policies": {name: m.to_dict() for name, m in measured.items()}}
        told["paired"] = compared_in_pairs(measured, ("cbi", "located", "hallucinations", "nitpicks", "overall"))
        if config.searched:
            last, some = list(policies)[-1], asked[: config.searched]
            options = SearchConfig(max_tokens=config.max_tokens // 2, seed=config.seed)

            def search(i: int) -> Search:
                return force_sampling_beam_search(policies[last], some[i].task, some[i].code, reward, options)

            with work.phase("search", f"{split}: force sampling beam search"):
                searches = search_each(work, split, [q.code for q in some], options, search)
            told["search"] = {
                str(percentile): {
                    "modifier": modifier,
                    **measure_critiques(some, chosen_by(modifier, searches, some)).to_dict(),
                }
                for percentile, modifier in modifiers(searches, critiques[last]).items()
            }
        work.write([Evaluation(f"critics-{split}", "critics", split, told, len(asked))])
        return told
