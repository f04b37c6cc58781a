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
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Annotated, Any, Literal, get_args

import torch

from custodes.audit.sections.taught import RewardTaught
from custodes.environments import GoldReward, check_results, gold, instruction_tasks, read_tasks
from custodes.feedback.annotator_model import AnnotatorModel, fit_annotators
from custodes.feedback.assisted import SimulatedCritic
from custodes.feedback.exchange import merged_pairs, pairs_from_judgments
from custodes.feedback.reading import FeedbackFile, read_feedback
from custodes.job.command import command
from custodes.job.options import Output, Use
from custodes.job.trackers import tracked_as
from custodes.job.workspace import Workspace
from custodes.ledger import Model
from custodes.lm.adapter import Adapter, AdapterConfig
from custodes.lm.engine import TorchEngine
from custodes.lm.loading import LanguageModel, check_model, load
from custodes.lm.precision import multiplies_bfloat16
from custodes.loop import evaluation, judging
from custodes.loop.alarm_watch import STOPPED_BY_ROUNDS, AlarmOptions, set_alarms
from custodes.loop.assisted_labels import judge_with_and_without_help, record_assisted_labels
from custodes.loop.chosen_tasks import LEAST, fitting_tasks, split_tasks
from custodes.loop.evaluation import Gold
from custodes.loop.judging import Judged
from custodes.loop.optimised_arm import Optimised, OptimisedArm, base_row, record_samples
from custodes.loop.quickstart_compare import compare_briefly
from custodes.loop.quickstart_disclosure import LOSSES, disclosed_run
from custodes.loop.quickstart_rounds import JudgedTeacher
from custodes.loop.round_judges import PairJudge, SimulatedJudge, open_judge
from custodes.loop.round_options import RoundOptions
from custodes.loop.rounds import Rounds
from custodes.policy import Algorithm, OptimiseConfig, algorithm_of
from custodes.ranges import Count, Positive, Threads, at_least, ranged
from custodes.registry import Chosen, algorithm
from custodes.reward import RewardConfig, RewardModel, load_reward, save_reward, train_reward
from custodes.reward.groups import Groups
from custodes.reward.reading import Reader
from custodes.train import TrainStep
from custodes.types import Episode, InputError, Sampling, Task

Arm = Literal["naive", "careful"]
ADAPTER = "adapter"
"""Folder of a policy that is handed over."""
READ_TOKENS = 1024
"""Tokens that the reward reads of a conversation."""
TASKS_PER_STEP = 12
"""Tasks per step of optimisation, where there are so many."""

OF_ARMS = {
    "steps": (20, 16), "kl_budget": (None, 2.0), "kl_coefficient": (0.0, 0.02), "learning_rate": (1.2e-3, 4e-4)
}  # fmt: skip
"""Option -> its default in the naive and in the careful arm; steps are doubled on processors with bfloat16 products."""

JUDGES = {
    "expert": 4, "expert:brief": 2, "hasty": 3, "hasty:brief": 2,
    "length_biased": 4, "position_biased": 4, "random": 4, "poisoner": 5,
}  # fmt: skip
"""How many simulated judges there are of each nature; four of them value brevity more than the checks."""


def _twice_where_fast(number: int) -> int:
    """Double on processors with bfloat16 products: several times faster, they judge and learn more in less time."""
    return 2 * number if multiplies_bfloat16() else number


@dataclass(frozen=True, kw_only=True)
@ranged
class Quickstart:
    """Judgments, reward, policy, report. Run again with the same options, it goes on where it was interrupted.

    Without --steps the careful arm makes 32 at most and the naive one 40; half as many where the processor does not multiply
    bfloat16. Without --kl-budget the careful arm ends at 2 nats an episode.
    """

    out: Output = Path("runs/quickstart")
    """Folder for the report, the ledger, the reward and the policy."""
    seed: int = 0
    """Decides everything that is drawn."""
    arm: Arm = "careful"
    """careful: judges weighted by reliability, an ensemble of rewards, uncertainty and KL penalised, KL bounded. naive: every judge
    believed, one reward, no penalty and no bound, a higher rate."""
    arms: Literal["one", "all"] = "one"
    """all: run both arms, on the same samples and judgments, and set them side by side."""
    assist: str = ""
    """Compare judges alone with judges who have a critic's findings beside the answer, in equal minutes, in place of the arms:
    simulated:catch=.3,helped=.6,misled=.1,reading=10."""
    model: str = "smollm2-135m"
    """The policy, and the reward's backbone: embedded, a local folder, a .gguf file or a hub id."""
    tasks: Path | None = None
    """Your own prompts in place of the built-in instructions (needs judgments: gold is unknown for them)."""
    judgments: str = ""
    """Your own judgments in place of simulated judges: a table in any form, a folder of shards, a hub id, or a ledger; its
    prompts are the tasks unless tasks are given."""
    axis: str = ""
    """Axis of the comparisons. "" takes "overall", or the first axis that was compared on."""
    skip_bad_rows: bool = False
    """Leave out rows that cannot be used, and rows with an empty answer; their number is printed."""
    algorithm: Annotated[Algorithm | str, Chosen(algorithm)] = "ppo"
    """ppo, grpo, dr_grpo, rloo, reinforce_pp, best_of_n, expert_iteration, all_successes, or one of your own, FILE.py:Name.
    Its own options join these."""
    judged_tasks: Annotated[int, at_least(8)] = field(default_factory=lambda: _twice_where_fast(200))
    """Tasks whose base answers are compared, a quarter of them held out to evaluate the reward. 400 where the processor
    multiplies bfloat16, 200 elsewhere."""
    overlap: Count = 4
    """Simulated judges per comparison."""
    members: Count = 4
    """Size K of the ensemble."""
    caution: float = 1.0
    """Standard deviations of the members that a cautious score subtracts."""
    reward_epochs: Count = 3
    """Passes over the pairs that the reward learns from."""
    steps: Count | None = None
    """Steps of optimisation: sample, score, update."""
    naive_steps: Count | None = None
    """Steps of the naive arm, where they are to differ from the careful one's."""
    evaluate_every: Count = 8
    """Steps between evaluations on held-out prompts."""
    kl_budget: Positive | None = None
    """Stop as soon as the policy is so many nats an episode from the reference."""
    kl_coefficient: float | None = None
    """Weight of the KL divergence from the reference. Without: 0.02 in the careful arm and 0 in the naive one."""
    naive_kl_coefficient: float | None = None
    """That of the naive arm, where it is to differ."""
    learning_rate: float | None = None
    """Of the policy's adapter. Without: 4e-4 in the careful arm and 1.2e-3 in the naive one."""
    naive_learning_rate: float | None = None
    """That of the naive arm, where it is to differ."""
    max_tokens: Count = 64
    """Longest reply, in tokens."""
    measure_on: Annotated[int, at_least(4)] = 96
    """Held-out prompts on which policies are measured, at most."""
    compare_best_of: Annotated[int, at_least(4)] = 16
    """Measure the best of up to N replies of the base model too."""
    threads: Annotated[Threads, Use.MEANS] = 0
    """Processor threads; 0 takes what torch finds."""
    relabelling: RoundOptions = field(default_factory=RoundOptions)
    watching: AlarmOptions = field(default_factory=AlarmOptions)

    def __post_init__(self) -> None:
        object.__setattr__(self, "algorithm", algorithm_of(self.algorithm))

    def of_arm(self, name: str, arm: str) -> Any:
        """An option that the naive arm may have of its own; where neither is given, the arm's default."""
        own = None if arm == "careful" else getattr(self, f"naive_{name}", None)
        given = getattr(self, name) if own is None else own
        usual = OF_ARMS[name][arm != "naive"]
        usual_here = _twice_where_fast(usual) if isinstance(usual, int) else usual
        return usual_here if given is None else given


@command(resumes=True, steps=True)
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
    return disclosed_run(config, lambda work: _Loop(config, work, own).run())


@dataclass
class _Loop:
    """Once round the picture; see the module's docstring."""

    config: Quickstart
    work: Workspace
    own: FeedbackFile | None  # a person's judgments
    gold: Gold | None = gold
    train: list[Task] = field(default_factory=list)
    held_out: list[Task] = field(default_factory=list)
    groups: Groups | None = None  # of the judges, by what they prefer

    def run(self) -> None:
        config, work = self.config, self.work
        self.critic = SimulatedCritic.read(config.assist) if config.assist else None
        with work.phase("model", "Model and tasks"):
            self.lm = self._policy()
            self.base = replace(self.lm, adapter=None)
            if self.own is not None:
                Reader(self.base, READ_TOKENS).check_replies(self.own.pairs(config.axis), self.own.name)
            tasks = self._choose_tasks()
            work.ledger.write(work.run, [base_row(self.base, config.model), *tasks])
        judged_by = self._judged_by_arm()
        with work.phase("annotator model", "Who can be believed"):
            first = next(iter(judged_by.values()))
            believed, groups = judging.believe(work, first)
            self.groups = groups.groups if groups is not None else None
            others = [j for j in judged_by.values() if j is not first]
            fitted = {id(j): fit_annotators(j.judgments, j.episodes.values(), j.axis) for j in others}
        base_episodes, arms = self._base_samples(), dict[str, tuple[Path, str]]()
        for arm, judged in judged_by.items():
            with tracked_as(arm):
                reward = self._reward(arm, judged, fitted.get(id(judged), believed))
                if self.critic is not None and self.gold is not None:
                    held_out = self._judged_held_out(judged)
                    record_assisted_labels(work, arm, judged, self.gold, self.critic, held_out, reward)
                with work.phase("evaluation", f"Best of {config.compare_best_of}, {arm} reward"):
                    evaluation.evaluate_best_of_n(
                        work, arm, reward, base_episodes, config.compare_best_of, GoldReward() if self.gold else None
                    )
                go = self._in_rounds if config.relabelling.rounds > 1 else self._optimise
                name, done = go(arm, reward, judged)
                if self.gold is not None:
                    evaluation.record_checks(work, name, done.before, done.after, check_results)
                arms[arm] = config.out / "policy" / arm / ADAPTER, name
        compare_briefly(work, self.base, arms, GoldReward() if self.gold else None, config.measure_on, config.seed)

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
            room = min(self.lm.decoder.spec.context, READ_TOKENS) - config.max_tokens
            least, source = max(LEAST, config.measure_on // 16), str(config.tasks or config.judgments)
            tasks = fitting_tasks(self.lm, tasks, room, least, source, self.work.console)
            self.train, self.held_out = split_tasks(tasks, config.measure_on, config.seed)
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

    def _judge(self) -> Judged:
        config, work = self.config, self.work
        if self.own is not None:
            with work.phase("judgments", f"Judgments of {config.judgments}"):
                return judging.from_file(work, self.own, config.axis)
        assert self.gold is not None
        episodes = self._answers_to_judge()
        with work.phase("judgments", f"{sum(JUDGES.values())} simulated judges compare"):
            return judging.simulate_judges(work, episodes, self.gold, JUDGES, config.overlap, config.seed)

    def _judged_by_arm(self) -> dict[str, Judged]:
        """What each arm learns from: the same judgments, unless help is compared."""
        config = self.config
        if self.critic is None:
            return dict.fromkeys(("naive", "careful") if config.arms == "all" else (config.arm,), self._judge())
        assert self.gold is not None
        episodes, held_out = self._answers_to_judge(), {task.id for task in self.held_out}
        with self.work.phase("judgments", f"{sum(JUDGES.values())} simulated judges compare, alone and with help"):
            return judge_with_and_without_help(
                self.work, episodes, self.gold, JUDGES, config.overlap, config.seed, self.critic, held_out
            )

    def _answers_to_judge(self) -> list[Episode]:
        """Four base answers to some tasks, a quarter of them held out."""
        config = self.config
        quarter = config.judged_tasks // 4
        tasks = self.train[: config.judged_tasks - quarter] + self.held_out[-quarter:]
        sampling = Sampling(n=4, max_tokens=config.max_tokens, seed=config.seed)
        with self.work.phase("sampling", f"The base policy answers {len(tasks)} tasks, 4 times each"):
            return self.work.sample("tasks to judge, base policy", TorchEngine(self.base), tasks, sampling)

    def _base_samples(self) -> list[Episode]:
        """Many base answers to some held-out tasks: for best-of-n and for diversity."""
        config, work = self.config, self.work
        tasks = self.held_out[: max(1, config.measure_on // 6)]
        sampling = Sampling(n=config.compare_best_of, max_tokens=config.max_tokens, seed=config.seed + 1)
        with work.phase(
            "sampling", f"The base policy answers {len(tasks)} held-out tasks, {config.compare_best_of} times each"
        ):
            episodes = work.sample("best of n, base policy", TorchEngine(self.base), tasks, sampling)
        record_samples(work, "base", [e for i, e in enumerate(episodes) if i % config.compare_best_of < 4])
        return episodes

    # ------------------------------------------------------------ reward

    def _reward(self, arm: str, judged: Judged, believed: AnnotatorModel, name: str = "") -> RewardModel:
        """Train the arm's reward, or load it where that was done; those of later rounds have a ``name`` of their own."""
        name = name or arm
        config, work = self.config, self.work
        folder = config.out / "reward" / name.replace(", ", "-").replace(" ", "-")
        with work.phase("reward", f"Reward, {name} arm"):
            held_out = self._judged_held_out(judged)
            if not work.done(folder):
                train, _ = judging.split_by_task(judged, held_out)
                pairs = pairs_from_judgments(
                    train, judged.episodes.values(), believed if arm != "naive" else None, judged.axis
                )
                careful = arm != "naive"
                every = pairs if careful else merged_pairs(pairs)
                pairs = [p for p in every if (judged.decides(p.label) if careful else p.label != 0.5)]
                pairs = pairs or (every if careful else [])
                open_ = {
                    "kind": "pair",
                    "why": "which answer is better is left open",
                    "judgments": len(every) - len(pairs),
                }
                taught = RewardTaught(
                    used={"pair": len(pairs)}, unused=[open_] if open_["judgments"] else [], measures={}, losses=LOSSES
                )
                if not work.has(f"reward-taught-{name}"):
                    work.record(f"reward-taught-{name}", taught, f"{name} reward")
                options = RewardConfig(
                    members=config.members if careful else 1,
                    ensemble="heads",
                    combine="cautious" if careful and config.members > 1 else "mean",
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
                work.run, [Model(id, f"{name} reward", "reward", self.base.fingerprint(), {"members": reward.members})]
            )
            if not work.has(f"reward-heldout-{name}"):
                evaluation.evaluate_reward_model(work, name, reward, judged, believed, held_out, self.gold, self.groups)
            return reward

    def _judged_held_out(self, judged: Judged) -> set[str]:
        """Judged tasks that no reward learns from: those of held-out topics, or a quarter of a person's own."""
        if self.gold is not None:
            return {t.id for t in self.held_out}
        names = sorted(judged.tasks)
        random.Random(self.config.seed).shuffle(names)
        return set(names[: max(1, len(names) // 4)])

    # ------------------------------------------------------------ policy

    def _optimise(self, arm: str, reward: RewardModel, judged: Judged) -> tuple[str, Optimised]:
        config, rounds = self.config, self.config.relabelling
        options = _optimisation(config, arm, len(self.train))
        optimised = self._arm(arm, reward, f"{arm} reward", config.out / "policy" / arm, options)
        judge = self._judge_of_rounds(judged) if self.gold is not None or rounds.judge else None
        set_alarms(optimised, config.watching, judge, (rounds.probe_labels, rounds.probe_every), rounds.alarm_level)
        return arm, optimised.run()

    def _arm(self, name: str, reward: RewardModel, scorer: str, folder: Path, options: OptimiseConfig) -> OptimisedArm:
        config = self.config
        return OptimisedArm(
            self.work,
            name,
            self._policy(),
            reward,
            scorer,
            self.train,
            self.held_out[: config.measure_on],
            options,
            folder=folder,
            evaluate_every=config.evaluate_every,
            policy=folder / ADAPTER,
            gold=GoldReward() if self.gold else None,
        )

    def _in_rounds(self, arm: str, reward: RewardModel, judged: Judged) -> tuple[str, Optimised]:
        """The same in rounds: an alarm ends one, the present policy's replies are judged, and the reward learns again."""
        config, folder, held_out = self.config, self.config.out / "policy" / arm, self._judged_held_out(judged)

        def again(every: Judged, believed: AnnotatorModel, name: str) -> RewardModel:
            return self._reward(arm, every, believed, name)

        last, done = Rounds(
            self.work,
            config.relabelling,
            config.watching,
            _optimisation(config, arm, len(self.train)),
            self._judge_of_rounds(judged),
            JudgedTeacher(self.work, arm, judged, held_out, reward, again),
            lambda name, taught, own, options: self._arm(name, taught.model, taught.name, own, options),
            TorchEngine,
            arm,
            self.train,
            self.held_out[: config.measure_on],
            folder,
        ).run()
        last.lm.save(folder / ADAPTER)
        return last.arm, done

    def _judge_of_rounds(self, judged: Judged) -> PairJudge:
        """The simulated judges of the beginning, where no other is asked for."""
        config, gold = self.config, self.gold
        if gold is None or config.relabelling.judge not in ("", "simulated"):
            return open_judge(config.relabelling, None, config.out / "rounds", None, config.seed)

        def truth(episodes: Sequence[Episode]) -> list[float]:
            return [gold(e.task, e.completion) for e in episodes]

        return SimulatedJudge(judged.simulated, truth, config.overlap, config.seed)


def _check(config: Quickstart) -> None:
    if config.tasks is not None and not config.judgments:
        raise InputError(
            f"--tasks {config.tasks} without --judgments: nobody can judge answers to your own prompts; give a preference file too."
        )
    for arm in get_args(Arm):
        _optimisation(config, arm)
    rounds = config.relabelling
    if rounds.rounds > 1 and config.watching.stop_at:
        raise InputError(STOPPED_BY_ROUNDS)
    if rounds.rounds > 1 and config.arms == "all":
        raise InputError("--rounds optimises one arm; leave out --arms all.")
    if config.judgments or rounds.rounds == 1:
        rounds.check_judge()
    if config.assist:
        SimulatedCritic.read(config.assist)
        options = {"--judgments": config.judgments, "--arms all": config.arms == "all", "--rounds": rounds.rounds > 1}
        if other := next((name for name, given in options.items() if given), ""):
            raise InputError(f"--assist compares simulated judges with and without help; leave out {other}.")
    if config.tasks is not None and not config.tasks.exists():
        raise InputError(f"{config.tasks} does not exist; give a JSONL or parquet file.")
    check_model(config.model)


def _optimisation(config: Quickstart, arm: str, tasks: int = TASKS_PER_STEP) -> OptimiseConfig:
    """The options of an arm's policy optimisation on so many tasks."""
    steps, budget = config.of_arm("steps", arm), config.of_arm("kl_budget", arm)
    if config.kl_budget is None and algorithm_of(config.algorithm).draws_from == "reference":
        budget = None  # its replies never move away
    return OptimiseConfig(
        algorithm=config.algorithm,
        steps=steps,
        tasks_per_step=min(TASKS_PER_STEP, tasks),
        sampling=Sampling(n=4, max_tokens=config.max_tokens, seed=config.seed),
        learning_rate=config.of_arm("learning_rate", arm),
        warmup_steps=min(4, steps - 1),
        epochs=1,
        minibatches=2,
        kl_coefficient=config.of_arm("kl_coefficient", arm),
        kl_budget=budget,
        checkpoint_every=5,
    )
