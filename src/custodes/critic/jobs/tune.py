"""A model that writes critiques: warm start, reward model, PPO, search. What ``custodes critic tune`` does.

The picture is that of arXiv 2407.00215. (1) Supervised: critiques that point out inserted bugs, and that say so where there
is none. (2) Critiques of code that was not used for (1) are drawn, several of each, and rated by simulated raters who
know the bug and err in a stated way; a reward model learns the order within a question, without sight of the bug. (3) PPO
against it. (4) Base, warm start and RL write about code of every split that training never saw, RL also by force sampling
beam search at four modifiers; the rules rate them all, and differences are paired by question.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from pathlib import Path
from typing import Annotated, Any

import numpy as np

from custodes.critic.policies import Measured, Question, demonstration, measure, modifiers, question, rated
from custodes.critic.rating import SimulatedRater, rate
from custodes.critic.search import Search, SearchConfig, force_sampling_beam_search
from custodes.critic.searches import search_each
from custodes.critic.tamper.examples import Example, read_examples
from custodes.feedback.critique import parse_critique
from custodes.files import save_json, take_over
from custodes.job.command import command, in_words
from custodes.job.options import Output
from custodes.job.workspace import Workspace
from custodes.ledger import Evaluation, Model
from custodes.lm import Adapter, AdapterConfig, LanguageModel, TorchEngine, load
from custodes.policy import OptimiseConfig, optimise
from custodes.policy.algorithm import Algorithm, algorithm_of
from custodes.policy.methods import Sft
from custodes.policy.tuning import tune
from custodes.ranges import Count, Positive, Range, at_least, ranged
from custodes.registry import Chosen, algorithm
from custodes.reward import RewardConfig, RewardModel, load_reward, save_reward, train_reward
from custodes.stats import Interval
from custodes.types import Episode, InputError, Message, PreferencePair, Sampling

TRAIN = "train"
WARM_BATCH = 8
"""Examples per update of the warm start: an adapter learns the form from many small updates sooner than from few large ones."""


@dataclass(frozen=True, kw_only=True)
@ranged
class CriticTune:
    """Teach a model to write critiques. The same command again goes on where it was interrupted."""

    data: Path
    """Examples that `custodes critic tamper` made, or rows of your own: id, code, bug_lines, description, and a split,
    which is train or the name of a held-out one."""
    out: Output
    """Folder of the adapters, the reward, the ledger and summary.json."""
    model: str = "smollm2-135m"
    """The critic, and the reward's backbone: embedded, a local folder, a .gguf file or a hub id."""
    warm_start: Count = 2000
    """Examples of the warm start."""
    rated: Annotated[int, at_least(8)] = 400
    """Further examples whose critiques are rated for the reward."""
    samples: Annotated[int, at_least(2)] = 4
    """Critiques of each of them."""
    slip: Annotated[float, Range(0, 0.5)] = 0.1
    """How often a simulated rater turns a yes-or-no scale round."""
    steps: int = 30
    """Steps of PPO; 0 leaves it out."""
    questions: Count = 16
    """Examples of each step."""
    measure_on: Annotated[int, at_least(2)] = 100
    """Examples of each held-out split on which policies are measured."""
    searched: int = 20
    """Of those, how many are also searched (28 critiques each)."""
    max_tokens: Annotated[int, at_least(8)] = 120
    """Longest critique."""
    begin: Path | None = None
    """Folder of an earlier run whose warm start and reward are taken over, to try another PPO or another search."""
    reward: Path | None = None
    """Folder of a reward that `custodes reward train` learned from people's comparisons of critiques, in place of one
    learned here from simulated raters."""
    learning_rate: float = 2e-4
    """Of the adapter in the warm start."""
    algorithm: Annotated[Algorithm | str, Chosen(algorithm)] = "ppo"
    """How the critic is optimised: ppo, another algorithm by name, or one of your own, FILE.py:Name. Its own options join these."""
    rl_learning_rate: Positive | None = None
    """Of the adapter in PPO; by default a quarter of the warm start's: at the whole of it a small critic soon
    finds what a reward of few ratings overrates."""
    kl_coefficient: float = 0.1
    """Weight of the KL divergence from the warm start."""
    rank: Count = 8
    """Rank of the adapter."""
    seed: int = 0
    """Decides everything that is drawn."""
    reward_epochs: Count = 2
    """Passes over the ranked critiques."""

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
        summary = _Tuning(config, work).run()
        save_json(config.out / "summary.json", summary)
    return summary


@in_words(critic_tune)
def _show(options: CriticTune, told: dict[str, Any]) -> None:
    for split, found in told["splits"].items():
        print(f"{split} ({found['n']} functions)")
        for policy, measured in found["policies"].items():
            shown = (
                f"{name.replace('_', ' ')} {Interval.from_dict(measured[name])}"
                for name in ("cbi", "hallucinations", "false_alarms")
            )
            print(f"  {policy:<12}{'   '.join(shown)}")
    print(f"The adapters are in {options.out}.")


class _Tuning:
    """The phases, in order."""

    def __init__(self, config: CriticTune, work: Workspace) -> None:
        self.config, self.work = config, work
        examples = list(read_examples(config.data))
        random.Random(config.seed).shuffle(examples)
        training = [e for e in examples if e.split == TRAIN]
        if len(training) < config.warm_start + config.rated:
            raise InputError(
                f"{config.data} has {len(training)} training examples; {config.warm_start} for the warm start and "
                f"{config.rated} to rate are asked for."
            )
        self.warm = training[: config.warm_start]
        self.rest = training[config.warm_start :]
        splits = sorted({e.split for e in examples} - {TRAIN})
        self.held_out = {s: [e for e in examples if e.split == s][: config.measure_on] for s in splits}
        if not splits:
            raise InputError(
                f"{config.data} has no held-out example, one whose split is not train; nothing can be measured."
            )

    def run(self) -> dict[str, Any]:
        config, work = self.config, self.work
        with work.phase("model", "Model"):
            self.lm = load(config.model, seed=config.seed)
            self.room = min(self.lm.decoder.spec.context, 2048) - config.max_tokens
            base = replace(self.lm, adapter=None)
        self._warm_start()
        reward = self._reward()
        policies = {"base": base, "warm start": self._policy("warm-start")}
        if config.steps:
            self._ppo(reward)
            policies["RL"] = self._policy("rl")
        return self._measure(policies, reward)

    # ------------------------------------------------------------ training

    def _policy(self, name: str) -> LanguageModel:
        """The model with the adapter of a phase that is done."""
        adapter = Adapter.load(self.config.out / name, self.lm.decoder)
        return replace(self.lm, adapter=adapter)

    def _fitting(self, examples: Sequence[Example], most: int) -> list[tuple[Example, Question]]:
        """The first ``most`` examples whose code leaves room for a critique."""
        found: list[tuple[Example, Question]] = []
        for example in examples:
            if len(found) == most:
                break
            asked = question(example)
            if len(self.lm.encode(asked.task.messages)) <= self.room:
                found.append((example, asked))
        if not found:
            raise InputError(f"{self.config.data}: no example is short enough for {self.lm.name}.")
        return found

    def _warm_start(self) -> None:
        config, folder = self.config, self.config.out / "warm-start"
        with self.work.phase("warm start", f"Warm start on {len(self.warm):,} examples"):
            if self.work.done(folder):
                return
            if config.begin is not None:
                self._take_over("warm-start")
                self._model(self._policy("warm-start"), "warm start")
                return
            tuned = replace(
                self.lm,
                adapter=Adapter(self.lm.decoder, AdapterConfig(rank=config.rank, alpha=2 * config.rank), config.seed),
            )  # type: ignore[arg-type]
            shown = [
                (asked.task, text)
                for example, asked in self._fitting(self.warm, len(self.warm))
                for text in [demonstration(example)]
                if len(self.lm.encode_reply(text)) <= config.max_tokens
            ]
            options = Sft(
                batch=WARM_BATCH,
                learning_rate=config.learning_rate,
                warmup_steps=min(5, -(-len(shown) // WARM_BATCH)),
                seed=config.seed,
            )
            metrics = tune(tuned, shown, options, checkpoints=folder / "checkpoints")
            assert tuned.adapter is not None
            tuned.adapter.save(folder, self.lm.name)
            self._model(tuned, "warm start")
            losses = [m["loss"] for m in metrics]
            done = {"examples": len(shown), "loss_first": losses[0], "loss_last": float(np.mean(losses[-5:]))}
            self.work.ledger.write(self.work.run, [Evaluation("warm-start", "warm start", "", done, len(shown))])
            self.work.finish(folder)

    def _reward(self) -> RewardModel:
        """The reward model on rankings within a question; its raters know the bug, it does not."""
        config, folder = self.config, self.config.out / "reward"
        source = str(config.reward or config.begin or f"rated critiques of {config.rated} examples")
        with self.work.phase("reward", f"Reward from {source}"):
            if not self.work.done(folder) and config.reward is not None:
                load_reward(config.reward)  # what is no reward is said before it is copied
                take_over(config.reward, folder, ignore=("checkpoints", "ledger.db*"))
                self.work.finish(folder)
            if not self.work.done(folder) and config.begin is not None:
                self._take_over("reward")
            if not self.work.done(folder):
                chosen = self._fitting(self.rest, config.rated)
                sampling = Sampling(n=config.samples, max_tokens=config.max_tokens, seed=config.seed + 1)
                engine = TorchEngine(self._policy("warm-start"))
                episodes = self.work.sample("critiques to rate", engine, [q.task for _, q in chosen], sampling)
                pairs = self._rankings([q for _, q in chosen], episodes)
                if not pairs:
                    raise InputError(
                        "the critiques of every example were rated alike: nothing can be ranked; rate more."
                    )
                base = replace(self.lm, adapter=None)
                options = RewardConfig(epochs=config.reward_epochs, seed=config.seed)
                reward = train_reward(base, pairs, options, source="ratings", checkpoints=folder / "checkpoints")
                save_reward(reward, folder)
                self.work.finish(folder)
            return load_reward(folder)

    def _rankings(self, asked: Sequence[Question], episodes: Sequence[Episode]) -> list[PreferencePair]:
        """Every two critiques of a question that a rater told apart overall; the ratings go into the ledger."""
        n, judgments, pairs = self.config.samples, [], []
        rater = SimulatedRater(id="simulated-rater-1", slip=self.config.slip, seed=self.config.seed)
        for i, q in enumerate(asked):
            values = []
            for episode in episodes[i * n : (i + 1) * n]:
                from_rules = rate(parse_critique(episode.completion), q.code, q.bugs)
                ratings = rater.ratings(q.task.id, episode.id, episode.completion, from_rules)
                judgments += ratings
                values.append(next(r.value for r in ratings if r.axis == "overall"))
            for a, b in combinations(range(n), 2):
                if values[a] != values[b] and episodes[i * n + a].completion != episodes[i * n + b].completion:
                    better, worse = (a, b) if values[a] > values[b] else (b, a)
                    sides = [(Message("assistant", episodes[i * n + k].completion),) for k in (better, worse)]
                    pairs.append(PreferencePair(q.task.messages, sides[0], sides[1], annotator=rater.id))
        self.work.ledger.write(self.work.run, [rater.annotator, *{j.id: j for j in judgments}.values()])
        return pairs

    def _ppo(self, reward: RewardModel) -> None:
        config, folder = self.config, self.config.out / "rl"
        with self.work.phase("optimisation", "PPO against the reward"):
            if self.work.done(folder):
                return
            lm = self._policy("warm-start")
            tasks = [q.task for _, q in self._fitting(self.rest, config.rated + config.steps * config.questions)]
            options = OptimiseConfig(
                algorithm=config.algorithm,
                steps=config.steps,
                tasks_per_step=min(config.questions, len(tasks)),
                sampling=Sampling(n=4, max_tokens=config.max_tokens, seed=config.seed),
                learning_rate=config.rl_learning_rate or config.learning_rate / 4,
                warmup_steps=min(4, config.steps - 1),
                minibatches=2,
                kl_coefficient=config.kl_coefficient,
                checkpoint_every=5,
            )
            optimise(lm, tasks, reward, options, engine=TorchEngine(lm), out=folder)
            assert lm.adapter is not None
            lm.adapter.save(folder, self.lm.name)
            self._model(lm, "RL")
            self.work.finish(folder)

    def _take_over(self, part: str) -> None:
        """A finished part of an earlier run as this one's own."""
        assert self.config.begin is not None
        source, folder = self.config.begin / part, self.config.out / part
        if not (source / "done").is_file():
            raise InputError(f"{self.config.begin} has no finished {part}; name a folder of `custodes critic tune`.")
        take_over(source, folder, ignore=("checkpoints",))
        self.work.recording.keep(folder)

    def _model(self, lm: LanguageModel, name: str) -> None:
        self.work.ledger.write(self.work.run, [Model(lm.fingerprint(), name, "critic")])

    # ------------------------------------------------------------ measuring

    def _measure(self, policies: dict[str, LanguageModel], reward: RewardModel) -> dict[str, Any]:
        raters = "simulated" if self.config.reward is None else f"those of {self.config.reward}"
        summary: dict[str, Any] = {"raters": f"{raters}; measured by rules that know the bugs", "splits": {}}
        for split, examples in self.held_out.items():
            asked = [q for _, q in self._fitting(examples, len(examples))]
            measured, highlights = {}, []
            for name, lm in policies.items():
                with self.work.phase("evaluation", f"{split}: {name}"):
                    sampling = Sampling(max_tokens=self.config.max_tokens, seed=self.config.seed + 2)
                    drawn = self.work.sample(f"{split}, {name}", TorchEngine(lm), [q.task for q in asked], sampling)
                    found = rated(asked, drawn)
                    measured[name] = measure(asked, [[r] for r in found])
                    highlights = [sum(f.kind != "misquote" for f in r.findings) for r in found]
            told = {"n": len(asked), "policies": {name: m.to_dict() for name, m in measured.items()}}
            told["paired"] = _paired(measured)
            last = list(policies)[-1]
            if self.config.searched:
                told["search"] = self._searched(split, policies[last], asked, reward, highlights)
            summary["splits"][split] = told
            self.work.ledger.write(self.work.run, [Evaluation(f"critics-{split}", "critics", split, told, len(asked))])
        return summary

    def _searched(
        self, split: str, lm: LanguageModel, asked: Sequence[Question], reward: RewardModel, highlights: list[int]
    ) -> dict[str, Any]:
        """The last policy by FSBS, at four modifiers, on the first questions of a split."""
        some = asked[: self.config.searched]
        options = SearchConfig(max_tokens=self.config.max_tokens // 2, seed=self.config.seed)

        def search(i: int) -> Search:
            return force_sampling_beam_search(lm, some[i].task, some[i].code, reward, options)

        with self.work.phase("search", f"{split}: force sampling beam search"):
            searches = search_each(self.work, split, some, options, search)
        found = {}
        for percentile, modifier in modifiers(searches, highlights).items():
            critiques = [
                [rate(s.chosen(modifier).critique, q.code, q.bugs)] for s, q in zip(searches, some, strict=True)
            ]
            found[str(percentile)] = {"modifier": modifier, **measure(some, critiques).to_dict()}
        return found


def _paired(measured: dict[str, Measured]) -> dict[str, Any]:
    """Every later policy minus every earlier one, paired by question."""
    return {
        f"{later} - {earlier}": {
            name: measured[later].against(measured[earlier], name)
            for name in ("cbi", "located", "hallucinations", "nitpicks", "overall")
        }
        for earlier, later in combinations(measured, 2)
    }
