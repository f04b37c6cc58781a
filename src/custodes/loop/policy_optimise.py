"""A model, prompts and a reward: the policy that earns more of it, measured on held-out prompts and recorded.

What ``custodes policy optimise`` does. The command goes on where it was interrupted, and where a reward or an environment
failed: mend its file and call it again.
"""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Annotated, Any

import torch
from rich.console import Console

from custodes.audit.sections.alarms import alarm_sentences
from custodes.audit.sections.objectives import constraint_sentences
from custodes.audit.sections.rounds import round_sentences
from custodes.environments import prompts_are_text, read_tasks
from custodes.environments.own import own_environment
from custodes.files import save_json
from custodes.job.command import command, in_words
from custodes.job.invocation import leave_no_record, reads
from custodes.job.options import Output, Use
from custodes.job.workspace import Workspace
from custodes.ledger import Decision, Model
from custodes.lm.address import EngineName
from custodes.lm.engine import TorchEngine
from custodes.lm.loading import POLICY, LanguageModel, check_model
from custodes.loop import evaluation
from custodes.loop.alarm_watch import STOPPED_BY_ROUNDS, AlarmOptions, set_alarms
from custodes.loop.chosen_tasks import LEAST, fitting_tasks, say_known_to_rewards, say_near_duplicates, split_tasks
from custodes.loop.gains import Gain, gain_of, gains_over_seeds
from custodes.loop.new_policy import NewPolicy, new_policy
from custodes.loop.optimised_arm import OptimisedArm, base_row, recorded_run
from custodes.loop.policy_front import FRONT, Front, front_of, read_front
from custodes.loop.policy_plan import Plan, plan_of
from custodes.loop.round_judges import gold_as_seen, open_judge
from custodes.loop.round_options import RoundOptions
from custodes.loop.round_reward import SavedReward, TaughtReward, check_teachable
from custodes.loop.rounds import Rounds
from custodes.loop.training_oversight import PolicyOversight, TrainingOversight
from custodes.policy import OptimiseConfig, algorithm_of
from custodes.policy.constraints import read_constraints
from custodes.policy.environment_reward import EnvironmentReward
from custodes.policy.sizes import learning_rate_for, micro_tokens_for
from custodes.ranges import Count, Threads, ranged
from custodes.reward import Mixture, RewardModel
from custodes.reward.aggregate import GroupAggregate
from custodes.reward.options import RewardOptions
from custodes.reward.parts import PartWeights
from custodes.stats import Interval
from custodes.types import InputError, Reward, Task
from custodes.wording import counted

STANDARDISE_ON = 48
"""Prompts whose replies by the base policy give each group's mean and deviation."""


@dataclass(frozen=True, kw_only=True)
@ranged
class PolicyOptimise(RewardOptions, NewPolicy):
    """Optimise a model on your prompts against your reward. Run again with the same options, it goes on where it was interrupted."""

    out: Output
    """Folder for the policy, the report, the ledger and the checkpoints."""
    tasks: str
    """Prompts: a table (.jsonl, .json, .csv, .parquet) or a hub id, with a column prompt or messages. Its other columns reach
    reward functions by name."""
    prompt_column: str = ""
    """The column with the prompt, where it is not called prompt or messages."""
    system: str = ""
    """System message that opens every conversation."""
    eval_tasks: str = ""
    """Held-out prompts in a file of their own; without it some of the prompts are held out."""
    measure_on: Count = 96
    """Held-out prompts on which policies are measured, at most."""
    evaluate_every: Count = 10
    """Steps between evaluations on held-out prompts."""
    gold: str = ""
    """A reward that held-out replies are measured with and that is never optimised against."""
    environment: str = ""
    """Play each prompt in an environment of your own, FILE.py:Name: several turns, tools. Its own reward is called environment."""
    engine: EngineName = "torch"
    """What draws replies: torch or vllm in this process, or an endpoint. Only torch can be optimised."""
    seeds: Annotated[Count, Use.MEANS] = 1
    """Runs with so many seeds, from --seed on, each in a folder of its own; their gains are set side by side."""
    dry_run: Annotated[bool, Use.MEANS] = False
    """Say what would be done, and what memory, time and cost it would take; write nothing."""
    threads: Annotated[Threads, Use.MEANS] = 0
    """Processor threads; 0 takes what torch finds."""
    optimisation: OptimiseConfig = field(default_factory=OptimiseConfig)
    overseen: PolicyOversight = field(default_factory=PolicyOversight)
    relabelling: RoundOptions = field(default_factory=RoundOptions)
    watching: AlarmOptions = field(default_factory=AlarmOptions)

    @property
    def seed(self) -> int:
        return self.optimisation.sampling.seed


@dataclass(frozen=True)
class OptimisedPolicy:
    """What a call of the command came to."""

    out: Path
    seeds: tuple[Gain, ...]
    """One run each."""
    over_seeds: Interval | None = None
    """Of the runs' gains, where there are several: what to expect of another seed."""
    front: Front | None = None
    """Of runs with other weights, where these are a front."""
    plan: Plan | None = None
    """Of a dry run."""

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON."""
        if self.plan is not None:
            return {"out": str(self.out), "plan": self.plan}
        told: dict[str, Any] = {"out": str(self.out), "runs": [gain.to_dict() for gain in self.seeds]}
        front = {"front": self.front.to_dict()} if self.front else {}
        return told | front | ({"over_seeds": self.over_seeds.to_dict()} if self.over_seeds else {})


@command(resumes=True, steps=True)
def policy_optimise(config: PolicyOptimise) -> OptimisedPolicy:
    """Optimise a model on your prompts against your reward.

    Raises InputError for what cannot be run, and with the episode where a reward fails.
    """
    _check(config)
    if config.threads:
        torch.set_num_threads(config.threads)
    front = read_front(config.weights, config.reward) if config.weights.startswith(FRONT) else None
    if front is not None and config.seeds > 1:
        raise InputError(
            f"--weights {config.weights} is a run for each weight and --seeds one for each seed; give one of them."
        )
    if config.dry_run:
        leave_no_record()
        if front is not None:
            config = _weighted(config, *front)[0]
        run = _Optimisation(config, Console(stderr=True))
        plan = plan_of(
            run.lm,
            run.reward,
            (run.train, run.held_out, run.duplicates),
            config.optimisation,
            run.engine(run.lm),
            config.evaluate_every,
        )
        return OptimisedPolicy(config.out, (), plan=plan)
    if front is not None:
        runs = front_of(*front, [_one(own) for own in _weighted(config, *front)])
        runs.save(config.out)
        return OptimisedPolicy(config.out, runs.runs, front=runs)
    if config.seeds == 1:
        return OptimisedPolicy(config.out, (_one(config),))
    gains = []
    for seed in range(config.seed, config.seed + config.seeds):
        sampling = replace(config.optimisation.sampling, seed=seed)
        optimisation = replace(config.optimisation, sampling=sampling)
        gains.append(_one(replace(config, out=config.out / f"seed-{seed}", optimisation=optimisation, seeds=1)))
    done = OptimisedPolicy(config.out, tuple(gains), gains_over_seeds(gains))
    save_json(config.out / "seeds.json", done.to_dict())
    return done


@in_words(policy_optimise)
def _show(config: PolicyOptimise, done: OptimisedPolicy) -> None:
    if done.plan is not None:
        for sentence in done.plan.sentences():
            print(sentence)
    for gain in done.seeds:
        print(
            f"The policy is in {gain.policy}; {counted(gain.steps, 'step')}, ended by its {gain.stopped.replace('_', ' ')}."
        )
        print(
            f"Reward on held-out prompts: {gain.before} before, {gain.after} after; gained {gain.difference}, paired."
        )
        print(f"KL from the base model, nats an episode: {gain.kl}.")
        if gain.gold is not None:
            print(f"Gold gained: {gain.gold}, paired.")
        if gain.overoptimisation is not None:
            print(gain.overoptimisation.sentence)
        for name, (mean, gained) in gain.parts.items():
            print(f"{name}: {mean} on held-out prompts; gained {gained}, paired.")
        for sentence in [
            *constraint_sentences(gain.constraints),
            *(round_sentences(gain.rounds) if gain.rounds else ()),
            *(alarm_sentences(gain.alarms) if gain.alarms else []),
        ]:
            print(sentence)
    if done.front is not None:
        for sentence in done.front.sentences():
            print(sentence)
    if done.over_seeds is not None:
        print(f"Gained over seeds (Student's t of the seeds' gains): {done.over_seeds}.")


def _check(config: PolicyOptimise) -> None:
    """What is wrong is said before a folder is claimed."""
    if config.engine != "torch":
        raise InputError(
            f"--engine {config.engine} cannot be optimised yet: it would have to receive the weights after each update; leave it out, "
            "or use it with custodes policy sample."
        )
    if not config.reward and not config.environment:
        raise InputError("nothing to optimise against; give --reward, for example --reward FILE.py:NAME.")
    if "environment" in config.reward and not config.environment:
        raise InputError("--reward environment needs an environment; name it with --environment FILE.py:Name.")
    if config.overseen.oversight:
        config.overseen.check()
    config.relabelling.check_judge()
    if config.relabelling.rounds > 1:
        check_teachable(config.reward)
        if config.watching.stop_at:
            raise InputError(STOPPED_BY_ROUNDS)
        if config.weights or config.aggregate or config.environment or config.overseen.oversight:
            raise InputError("--rounds takes one reward and no --weights, --aggregate, --environment and --oversight.")
    check_model(config.model)


def _weighted(config: PolicyOptimise, names: tuple[str, str], weights: Sequence[float]) -> list[PolicyOptimise]:
    """A run for each weight of the first objective, in a folder of its own."""
    return [
        replace(config, out=config.out / f"weight-{w:g}", weights=f"{names[0]}={w:g},{names[1]}={round(1 - w, 6):g}")
        for w in weights
    ]


def _objectives(reward: Reward) -> Sequence[str]:
    """Names of the parts that a reward weighs, where there are several."""
    if isinstance(reward, PartWeights):
        return list(reward.weights)
    names = [name for name, _, _ in reward.terms] if isinstance(reward, Mixture) else getattr(reward, "outputs", ())
    return names if len(names) > 1 else ()


def _one(config: PolicyOptimise) -> Gain:
    """One run, with one seed, in its folder."""
    gain: list[Gain] = []

    def run(work: Workspace) -> None:
        reads(*(Path(name) for name in (config.tasks, config.eval_tasks) if name and Path(name).exists()))
        optimisation = _Optimisation(config, work.console, work)
        gain.append(optimisation.run())

    report = recorded_run(config.out, "policy optimise", config, config.seed, run)
    return replace(gain[0], report=report)


class _Optimisation:
    """What one run is made of; opened in ``work``, it can be run."""

    def __init__(self, config: PolicyOptimise, console: Console, work: Workspace | None = None) -> None:
        self.config, self.console, self.work = config, console, work
        play = EnvironmentReward(own_environment(config.environment)) if config.environment else None
        self.engine = TorchEngine if play is None else play.engine
        self.play = play
        text = prompts_are_text(config.tasks, config.prompt_column)
        known: dict[str, Reward] = {"environment": play} if play is not None else {}
        rewards = config if config.reward else replace(config, reward=("environment",))
        constraints = read_constraints(config.optimisation.constrain)
        bounded = [constraint.part for constraint in constraints]
        self.reward = rewards.open_rewards(text=text, device=config.device, known=known, constrained=bounded)
        self.objectives = list(dict.fromkeys([*_objectives(self.reward), *bounded]))
        self.gold = (
            replace(config, reward=(config.gold,), weights="", aggregate="").open_rewards(text=text, known=known)
            if config.gold
            else None
        )
        self.lm = new_policy(config, config.seed)
        self.train, self.held_out = self._tasks()
        self.duplicates = say_near_duplicates(self.train, self.held_out, console)
        say_known_to_rewards(config.reward, self.held_out, console)

    def run(self) -> Gain:
        config, work = self.config, self.work
        assert work is not None
        base = replace(self.lm, adapter=None)
        work.ledger.write(work.run, [base_row(base, config.model), *self.train, *self.held_out])
        name = getattr(self.reward, "name", type(self.reward).__name__)
        self._record_sources(work, name)
        if isinstance(self.reward, GroupAggregate):
            with work.phase("sampling", "Replies of the base policy, on which groups' rewards are centred and scaled"):
                several = replace(config.optimisation.sampling, n=4, seed=config.seed + 4)
                tasks = self.train[:STANDARDISE_ON]
                self.reward.standardise(work.sample("groups, base policy", self.engine(base), tasks, several))
        options, adapter = config.optimisation, self.lm.adapter
        learns = (
            "all weights"
            if adapter is None
            else f"an adapter of rank {adapter.config.rank} from layer {adapter.first_layer} up"
        )
        rate = learning_rate_for(self.lm) if options.learning_rate is None else options.learning_rate
        self.console.print(
            f"What learns: {learns}, at {rate:g}, in micro-batches of {options.micro_tokens or micro_tokens_for(self.lm):,} tokens.",
            soft_wrap=True,
            highlight=False,
        )
        algorithm = algorithm_of(config.optimisation.algorithm).name
        rounds = self._rounds(work, algorithm) if config.relabelling.rounds > 1 else None
        if rounds is not None:
            arm, done = rounds.run()
            arm.lm.save(config.out / POLICY)
        else:
            arm = self._arm(work, algorithm, self.lm, self.reward, name, config.optimisation)
            self._watch(arm)
            done = arm.run()
        gain = gain_of(work, arm.arm, str(config.out / POLICY), config.seed, done.result.steps, done.result.stopped)
        gain = replace(gain, rounds=rounds.figures() if rounds is not None else {})
        save_json(config.out / "result.json", gain.to_dict())
        return gain

    def _arm(
        self,
        work: Workspace,
        arm: str,
        lm: LanguageModel,
        reward: Reward,
        name: str,
        options: OptimiseConfig,
        folder: Path | None = None,
    ) -> OptimisedArm:
        config, oversight = self.config, None
        if config.overseen.oversight:
            text = prompts_are_text(config.tasks, config.prompt_column)
            oversight = TrainingOversight(config.overseen, config.out, config.seed, text, self.play)
        return OptimisedArm(
            work,
            arm,
            lm,
            reward,
            name,
            self.train,
            self.held_out,
            options,
            folder=(folder or config.out) / "optimisation",
            evaluate_every=config.evaluate_every,
            policy=(folder or config.out) / POLICY,
            gold=self.gold,
            make_engine=self.engine,
            objectives=self.objectives,
            oversight=oversight,
        )

    def _watch(self, arm: OptimisedArm) -> None:
        own = self.config.relabelling
        truth = gold_as_seen(arm.work, self.gold) if self.gold is not None else None
        judge = (
            open_judge(own, self.config.rubric, self.config.out / "probes", truth, self.config.seed)
            if own.judge
            else None
        )
        set_alarms(arm, self.config.watching, judge, (own.probe_labels, own.probe_every), own.alarm_level)

    def _rounds(self, work: Workspace, algorithm: str) -> Rounds:
        config, folder = self.config, self.config.out / "rounds"
        truth = gold_as_seen(work, self.gold) if self.gold is not None else None

        def arm(name: str, reward: TaughtReward, own: Path, options: OptimiseConfig) -> OptimisedArm:
            return self._arm(work, name, new_policy(config, config.seed), reward.model, reward.name, options, own)

        return Rounds(
            work,
            config.relabelling,
            config.watching,
            config.optimisation,
            open_judge(config.relabelling, config.rubric, folder, truth, config.seed),
            SavedReward(work, config.reward, folder, config.dtype, config.device),
            arm,
            self.engine,
            algorithm,
            self.train,
            self.held_out,
            folder,
        )

    def _tasks(self) -> tuple[list[Task], list[Task]]:
        config = self.config
        sampling = config.optimisation.sampling
        room = self.lm.decoder.spec.context - sampling.max_tokens
        tasks = read_tasks(config.tasks, config.prompt_column, config.system)
        if not config.eval_tasks:
            fitting = fitting_tasks(self.lm, tasks, room, LEAST, config.tasks, self.console)
            train, held_out = split_tasks(fitting, config.measure_on, config.seed)
        else:
            train = fitting_tasks(self.lm, tasks, room, 1, config.tasks, self.console)
            others = read_tasks(config.eval_tasks, config.prompt_column, config.system)
            held_out = fitting_tasks(self.lm, others, room, 1, config.eval_tasks, self.console)[: config.measure_on]
        if len(train) < config.optimisation.tasks_per_step:
            raise InputError(
                f"{config.tasks}: {counted(len(train), 'prompt')} to train on and {config.optimisation.tasks_per_step} per step; "
                f"give more, or --tasks-per-step {len(train)}."
            )
        return train, held_out

    def _record_sources(self, work: Workspace, name: str) -> None:
        """Keep the Python that scores and plays, and the rewards' fingerprints. A file that was mended on the way is kept too."""
        files = self.config.python_files()
        if self.config.environment:
            files.append(Path(self.config.environment.rpartition(".py")[0] + ".py"))
        for file in dict.fromkeys(files):
            digest = hashlib.sha256(file.read_bytes()).hexdigest()
            kept = self.config.out / "sources" / f"{file.stem}-{digest[:12]}.py"
            if not kept.exists():
                kept.parent.mkdir(exist_ok=True)
                shutil.copyfile(file, kept)
                why = f"SHA-256 {digest}, kept as {kept.name}"
                work.ledger.write(
                    work.run, [Decision(f"source-{digest[:12]}", "runs this file from here on", why, str(file))]
                )
        model = self.reward.reward if isinstance(self.reward, GroupAggregate) else self.reward
        if isinstance(model, RewardModel):
            work.ledger.write(work.run, [Model(evaluation.reward_fingerprint(model), name, "reward", None, {})])
