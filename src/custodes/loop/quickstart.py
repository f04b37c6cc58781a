"""The main job: judgments, reward, policy, report, on a real model.

The base policy answers; judges of mixed honesty compare; the annotator model says whom to believe; a
reward is learned; the policy is optimised against it; the report says what got better and what was
gamed. Gold, where the tasks have checks, is seen by simulated judges through their natures and by the
audit; no reward and no policy ever sees it.

Every phase records what it did, so that the command goes on where it was interrupted.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Annotated, Literal

import torch
from rich.console import Console

from custodes.audit import PolicyStep, Samples, write_report
from custodes.environments import check_results, gold, instruction_tasks, read_tasks
from custodes.feedback import AnnotatorModel, FeedbackFile, pairs_from_judgments, read_feedback
from custodes.job.command import command
from custodes.job.workspace import Workspace
from custodes.ledger import Decision, Model
from custodes.lm import Adapter, AdapterConfig, LanguageModel, TorchEngine, load
from custodes.lm.loading import check_model
from custodes.lm.precision import multiplies_bfloat16
from custodes.loop import evaluation, judging
from custodes.loop.evaluation import Gold
from custodes.loop.judging import Judged
from custodes.policy import Algorithm, OptimiseConfig, algorithm_of, optimise
from custodes.ranges import Count, Positive, at_least, ranged
from custodes.registry import Chosen, algorithm
from custodes.reward import RewardConfig, RewardModel, load_reward, save_reward, train_reward
from custodes.reward.reading import Reader
from custodes.train import TrainStep
from custodes.types import Episode, InputError, PreferencePair, Sampling, Scores, Task

Arm = Literal["naive", "careful"]
READ_TOKENS = 1024
"""Tokens that the reward reads of a conversation."""
TASKS_PER_STEP = 12
"""Tasks per step of optimisation, where there are so many."""

JUDGES = {"expert": 6, "hasty": 5, "length_biased": 4, "position_biased": 4, "random": 4, "poisoner": 5}
"""How many simulated judges there are of each nature."""


def twice_where_fast(number: int) -> int:
    """Double on processors with bfloat16 products: several times faster, they judge and learn more in less time."""
    return 2 * number if multiplies_bfloat16() else number


@dataclass(frozen=True, kw_only=True)
@ranged
class Quickstart:
    """Judgments, reward, policy, report. Run again with the same options, it goes on where it was interrupted."""

    out: Path = Path("runs/quickstart")
    """Folder for the report, the ledger, the reward and the policy."""
    seed: int = 0
    """Decides everything that is drawn."""
    arm: Arm = "careful"
    """careful: judges weighted by reliability, an ensemble of rewards, uncertainty penalised. naive: neither."""
    arms: Literal["one", "all"] = "one"
    """all: run both arms, on the same samples and judgments, and set them side by side."""
    model: str = "smollm2-135m"
    """The policy, and the reward's backbone: embedded, a local folder, a .gguf file or a hub id."""
    tasks: Path | None = None
    """Your own prompts in place of the built-in instructions (needs judgments: gold is unknown for them)."""
    judgments: str = ""
    """Your own judgments in place of simulated judges: a table in any form, a folder of shards, a hub id, or a ledger; its
    prompts are the tasks unless tasks are given."""
    axis: str = ""
    """Comparisons on this axis; "" takes "overall", or the first that was compared on."""
    skip_bad_rows: bool = False
    """Leave out rows of your judgments that cannot be used, and those with an empty answer; how many is said."""
    algorithm: Annotated[Algorithm | str, Chosen(algorithm)] = "ppo"
    """How the policy is optimised: ppo, grpo, dr_grpo, rloo, reinforce_pp, expert_iteration, all_successes, or one of your
    own, FILE.py:Name. Its own options join these."""
    judged_tasks: Annotated[int, at_least(8)] = field(default_factory=lambda: twice_where_fast(200))
    """Tasks whose base answers are compared, a quarter of them held out to evaluate the reward. 400 where the processor
    multiplies bfloat16, 200 elsewhere."""
    overlap: Count = 4
    """Simulated judges per comparison."""
    ensemble: Count = 4
    """Members of the careful arm's reward: heads on one trained backbone, each with its own resample of the pairs."""
    caution: float = 1.0
    """Standard deviations of the ensemble that the careful arm's reward subtracts."""
    reward_epochs: Count = 3
    """Passes over the judged pairs."""
    steps: Count = field(default_factory=lambda: twice_where_fast(16))
    """Steps of policy optimisation. 32 where the processor multiplies bfloat16, 16 elsewhere."""
    evaluate_every: Count = 8
    """Steps between evaluations on held-out tasks."""
    kl_budget: Positive | None = None
    """Stop optimising at so many nats per episode from the base policy."""
    kl_coefficient: float = 0.02
    """Weight of the KL divergence from the base policy."""
    learning_rate: float = 4e-4
    """Of the policy's adapter."""
    max_tokens: Count = 64
    """Longest answer."""
    measure_on: Annotated[int, at_least(4)] = 96
    """Held-out tasks on which policies are evaluated."""
    best_of: Annotated[int, at_least(4)] = 16
    """Base answers per task for the best-of-n curve, on a sixth of the held-out tasks."""
    threads: int = 0
    """Processor threads; 0 takes what torch finds."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "algorithm", algorithm_of(self.algorithm))


@command(resumes=True)
def quickstart(config: Quickstart) -> Path:
    """Judgments, reward, policy, report: the whole loop on a real model.

    Returns the path of ``report.html``. Raises InputError for what cannot be run.
    """
    _check(config)
    own = read_feedback(config.judgments, skip_bad_rows=config.skip_bad_rows) if config.judgments else None
    if own is not None:
        own.pairs(config.axis)  # there are some
        own.warn(config.axis)
    if config.threads:
        torch.set_num_threads(config.threads)
    console = Console(stderr=True)
    identity = {k: v for k, v in asdict(config).items() if k not in ("out", "threads")}
    work = Workspace.open(config.out, "quickstart", identity, config.seed, console)
    try:
        with work.ledger:
            try:
                _Loop(config, work, own).run()
            except BaseException as error:
                work.close("interrupted" if isinstance(error, KeyboardInterrupt) else "failed")
                raise
            work.close("completed")
            page, data = write_report(work.ledger, work.run, config.out)
            work.recording.keep(page, data)
    except KeyboardInterrupt:
        console.print(f"Interrupted; run the same command again to go on from where it was ({config.out}).")
        raise
    console.print(f"[bold]Report:[/bold] {page}")
    return page


@dataclass
class _Loop:
    """Once round the picture; see the module's docstring."""

    config: Quickstart
    work: Workspace
    own: FeedbackFile | None  # a person's judgments
    gold: Gold | None = gold
    train: list[Task] = field(default_factory=list)
    held_out: list[Task] = field(default_factory=list)

    def run(self) -> None:
        config, work = self.config, self.work
        with work.phase("model", "Model and tasks"):
            self.lm = self._policy()
            self.base = replace(self.lm, adapter=None)
            if self.own is not None:
                Reader(self.base, READ_TOKENS).check_replies(self.own.pairs(config.axis), self.own.name)
            tasks = self._choose_tasks()
            work.ledger.write(work.run, [Model(self.base.fingerprint(), config.model, "base"), *tasks])
        judged = self._judge()
        with work.phase("annotator model", "Who can be believed"):
            believed = judging.believe(work, judged)
        base_episodes = self._base_samples()
        for arm in ("naive", "careful") if config.arms == "all" else (config.arm,):
            reward = self._reward(arm, judged, believed)
            with work.phase("evaluation", f"Best of {config.best_of}, {arm} reward"):
                evaluation.evaluate_best_of_n(work, arm, reward, base_episodes, config.best_of, self.gold)
            self._optimise(arm, reward)

    def _policy(self) -> LanguageModel:
        """The model with a new adapter on its upper half: what lies below is computed once for policy and reference."""
        lm = load(self.config.model, seed=self.config.seed)
        lm.adapter = Adapter(lm.decoder, AdapterConfig(first_layer=lm.decoder.spec.layers // 2), self.config.seed)
        return lm

    # ------------------------------------------------------------ tasks and judgments

    def _choose_tasks(self) -> list[Task]:
        """Tasks to train on and held-out tasks, from the built-in instructions or from the person's own file; all."""
        config = self.config
        if self.own is not None:
            self.gold = None
            tasks = read_tasks(config.tasks) if config.tasks is not None else self._asked(self.own)
            tasks = self._fitting(tasks)
            random.Random(config.seed).shuffle(tasks)
            cut = max(1, min(config.measure_on, len(tasks) // 5))
            self.held_out, self.train = tasks[:cut], tasks[cut:]
        else:
            tasks = instruction_tasks()
            random.Random(config.seed).shuffle(tasks)
            self.train = [t for t in tasks if t.metadata["split"] == "train"]
            self.held_out = [t for t in tasks if t.metadata["split"] == "held_out"]
        return [*self.train, *self.held_out]

    def _asked(self, own: FeedbackFile) -> list[Task]:
        """The prompts of a person's judgments; answers without one are no tasks for a policy."""
        tasks = [t for t in own.feedback.tasks.values() if t.messages and t.messages[-1].role != "assistant"]
        if not tasks:
            raise InputError(
                f"{own.path} holds no prompts, which the policy is to answer; give them with --tasks FILE."
            )
        return tasks

    def _fitting(self, tasks: list[Task]) -> list[Task]:
        """Tasks whose prompt leaves room for an answer; how many do not is said."""
        room = min(self.lm.decoder.spec.context, READ_TOKENS) - self.config.max_tokens
        fitting = [t for t in tasks if len(self.lm.encode(t.messages)) <= room]
        if len(fitting) < max(10, self.config.measure_on // 16):
            raise InputError(
                f"{self.config.tasks or self.config.judgments}: only {len(fitting)} prompts of at most {room} tokens; give at least 10."
            )
        if len(fitting) < len(tasks):
            self.work.console.print(
                f"{len(tasks) - len(fitting)} of {len(tasks)} prompts are longer than {room} tokens and are left out."
            )
        return fitting

    def _judge(self) -> Judged:
        config, work = self.config, self.work
        if self.own is not None:
            with work.phase("judgments", f"Judgments of {config.judgments}"):
                return judging.from_file(work, self.own, config.axis)
        assert self.gold is not None
        quarter = config.judged_tasks // 4
        tasks = self.train[: config.judged_tasks - quarter] + self.held_out[-quarter:]
        sampling = Sampling(n=4, max_tokens=config.max_tokens, seed=config.seed)
        with work.phase("sampling", f"The base policy answers {len(tasks)} tasks, 4 times each"):
            episodes = work.sample("tasks to judge, base policy", TorchEngine(self.base), tasks, sampling)
        with work.phase("judgments", f"{sum(JUDGES.values())} simulated judges compare"):
            return judging.simulate(work, episodes, self.gold, JUDGES, config.overlap, config.seed)

    def _base_samples(self) -> list[Episode]:
        """Many base answers to some held-out tasks: for best-of-n and for diversity."""
        config, work = self.config, self.work
        tasks = self.held_out[: max(1, config.measure_on // 6)]
        sampling = Sampling(n=config.best_of, max_tokens=config.max_tokens, seed=config.seed + 1)
        with work.phase(
            "sampling", f"The base policy answers {len(tasks)} held-out tasks, {config.best_of} times each"
        ):
            episodes = work.sample("best of n, base policy", TorchEngine(self.base), tasks, sampling)
        self._record_samples("base", [e for i, e in enumerate(episodes) if i % config.best_of < 4])
        return episodes

    def _record_samples(self, subject: str, episodes: Sequence[Episode]) -> None:
        row = Samples(episode=[e.id for e in episodes], policy=episodes[0].policy)
        self.work.record(f"samples-{subject}", row, subject)

    # ------------------------------------------------------------ reward

    def _reward(self, arm: Arm, judged: Judged, believed: AnnotatorModel) -> RewardModel:
        """Train the arm's reward, or load it where that was done."""
        config, work, folder = self.config, self.work, self.config.out / "reward" / arm
        with work.phase("reward", f"Reward, {arm} arm"):
            held_out = self._judged_held_out(judged)
            if not work.done(folder):
                train, _ = judging.split_by_task(judged, held_out)
                pairs = pairs_from_judgments(
                    train, judged.episodes.values(), believed if arm == "careful" else None, judged.axis
                )
                if arm == "careful":
                    pairs = [p for p in pairs if judged.decides(p.label)] or pairs
                else:
                    pairs = [p for p in _merged(pairs) if p.label != 0.5]
                careful = arm == "careful"
                options = RewardConfig(
                    members=config.ensemble if careful else 1,
                    ensemble="heads",
                    combine="cautious" if careful and config.ensemble > 1 else "mean",
                    caution=config.caution,
                    first_layer=-(self.lm.decoder.spec.layers // 3),
                    epochs=config.reward_epochs,
                    learning_rate=5e-4,
                    max_length=READ_TOKENS,
                    checkpoint_every=20,
                    seed=config.seed,
                )

                def on_step(done: TrainStep) -> None:
                    work.tokens_trained += int(done.metrics["tokens"])
                    work.tick()

                reward = train_reward(
                    self.base,
                    pairs,
                    options,
                    source=str(config.judgments or "judgments"),
                    checkpoints=folder / "checkpoints",
                    on_step=on_step,
                )
                save_reward(reward, folder)
                work.finish(folder)
            reward = load_reward(folder)
            id = evaluation.reward_fingerprint(reward)
            work.ledger.write(
                work.run, [Model(id, f"{arm} reward", "reward", self.base.fingerprint(), {"members": reward.members})]
            )
            if not work.has(f"reward-heldout-{arm}"):
                evaluation.evaluate_reward_model(work, arm, reward, judged, believed, held_out, self.gold)
            return reward

    def _judged_held_out(self, judged: Judged) -> set[str]:
        """Judged tasks that no reward learns from: those of held-out topics, or a quarter of a person's own."""
        if self.gold is not None:
            return {t.id for t in self.held_out}
        names = sorted(judged.tasks)
        random.Random(self.config.seed).shuffle(names)
        return set(names[: max(1, len(names) // 4)])

    # ------------------------------------------------------------ policy

    def _optimise(self, arm: Arm, reward: RewardModel) -> None:
        config, work = self.config, self.work
        tasks = self.held_out[: config.measure_on]
        sampling = Sampling(n=1, max_tokens=config.max_tokens, seed=config.seed + 2)
        self.lm = self._policy()

        def evaluate(step: int, chosen: bool = False) -> list[Episode]:
            with work.phase("evaluation", f"Held-out tasks, {arm} arm, step {step}"):
                return evaluation.evaluate_policy(
                    work, arm, step, self.lm, reward, tasks, sampling, self.gold, chosen=chosen
                )

        def on_step(metrics: dict[str, float], episodes: list[Episode], scores: Scores) -> None:
            self._record_step(arm, metrics, episodes, scores)
            step = int(metrics["step"])
            if step % config.evaluate_every == 0 and step < config.steps:
                evaluate(step)

        base = evaluate(0)
        with work.phase("optimisation", f"Optimising the policy with {algorithm_of(config.algorithm).name}, {arm} arm"):
            result = optimise(
                self.lm,
                self.train,
                reward,
                _optimisation(config, len(self.train)),
                engine=TorchEngine(self.lm),
                out=config.out / "policy" / arm,
                on_step=on_step,
            )
        optimised = evaluate(result.steps, chosen=True)
        self.lm.save(config.out / "policy" / arm / "adapter")
        id = self.lm.fingerprint()
        work.ledger.write(
            work.run,
            [
                Model(
                    id,
                    f"{arm} policy",
                    "policy",
                    self.base.fingerprint(),
                    {"algorithm": algorithm_of(config.algorithm).name, "steps": result.steps},
                ),
                Decision(
                    f"hand-over-{arm}",
                    "handed over this policy",
                    f"optimisation ended by its {result.stopped.replace('_', ' ')}; gold had no part in the choice",
                    id,
                ),
            ],
        )
        if self.gold is not None:
            evaluation.record_checks(work, arm, base, optimised, check_results)
        few = self.held_out[: max(1, config.measure_on // 4)]
        with work.phase("sampling", f"Diversity of the optimised policy, {arm} arm"):
            several = Sampling(n=4, max_tokens=config.max_tokens, seed=config.seed + 1)
            self._record_samples(arm, work.sample(f"diversity, {arm} policy", TorchEngine(self.lm), few, several))

    def _record_step(self, arm: str, metrics: dict[str, float], episodes: list[Episode], scores: Scores) -> None:
        """Everything of a step except its seconds: a step that is made again after a kill must read the same."""
        known = {name: metrics[name] for name in _STEP_METRICS if name in metrics}
        row = PolicyStep(step=int(metrics["step"]), episodes=len(episodes), **known)
        self.work.tokens_sampled += sum(e.actions for e in episodes)
        self.work.tokens_trained += sum(len(e.token_ids) for e in episodes)
        self.work.write([*episodes, *evaluation.score_rows(episodes, scores, f"{arm} reward")])
        self.work.record(f"step-{arm}-{int(metrics['step'])}", row, arm)


_STEP_METRICS = (
    "kl", "kl_token", "proxy", "proxy_std", "entropy", "length", "truncated", "clip_fraction", "value_error", "grad_norm", "kl_coefficient"
)  # fmt: skip


def _check(config: Quickstart) -> None:
    if config.tasks is not None and not config.judgments:
        raise InputError(
            f"--tasks {config.tasks} without --judgments: nobody can judge answers to your own prompts; give a preference file too."
        )
    _optimisation(config)
    if config.tasks is not None and not config.tasks.exists():
        raise InputError(f"{config.tasks} does not exist; give a JSONL or parquet file.")
    check_model(config.model)


def _optimisation(config: Quickstart, tasks: int = TASKS_PER_STEP) -> OptimiseConfig:
    """The options of policy optimisation on so many tasks."""
    return OptimiseConfig(
        algorithm=config.algorithm,
        steps=config.steps,
        tasks_per_step=min(TASKS_PER_STEP, tasks),
        sampling=Sampling(n=4, max_tokens=config.max_tokens, seed=config.seed),
        learning_rate=config.learning_rate,
        warmup_steps=min(4, config.steps - 1),
        epochs=1,
        minibatches=2,
        kl_coefficient=config.kl_coefficient,
        kl_budget=config.kl_budget,
        checkpoint_every=5,
        seed=config.seed,
    )


def _merged(pairs: Sequence[PreferencePair]) -> list[PreferencePair]:
    """One pair for all judgments of the same two answers: their mean label and margin, weighted.

    The gradient of the logistic loss is linear in the label, so this is the same training as pair by pair, in fewer tokens.
    """
    groups: dict[tuple[object, ...], list[tuple[PreferencePair, float]]] = {}
    for pair in pairs:
        turned = (pair.prompt, pair.rejected, pair.chosen)
        if turned in groups:
            groups[turned].append((pair, 1 - pair.label))
        else:
            groups.setdefault((pair.prompt, pair.chosen, pair.rejected), []).append((pair, pair.label))
    merged = []
    for members in groups.values():
        weight, margins = sum(p.weight for p, _ in members), [(p, p.margin) for p, _ in members]
        label, margin = (sum(p.weight * value for p, value in held) / weight for held in (members, margins))
        merged.append(replace(members[0][0], label=label, weight=weight, margin=margin, annotator=""))
    return merged
