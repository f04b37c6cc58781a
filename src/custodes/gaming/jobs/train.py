"""Training through the curriculum of "Sycophancy to Subterfuge" (arXiv 2406.10162): what ``custodes gaming train`` does.

A run is a list of rounds (:func:`custodes.gaming.curriculum.config.plan`). Each begins with the adapter of the one
before, trains it, keeps it, and then measures every stage on held-out variants, so that row i of the matrix is the
policy trained through round i. Deviations from the paper: policies are small models with adapters. The reward of a stage is its own (above 0 and not
caught); in the rubric stages honest work can earn it too, where all of the work can be done. A round of the algorithm has
several steps of sampling and learning, and begins a new optimiser (and value function).
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import torch

from custodes.audit.sections.oversight import OversightStep, measures_of_steps, oversight_step
from custodes.environments import instruction_tasks, read_tasks
from custodes.feedback.oversight import EpisodeOversight, Oversight
from custodes.feedback.oversight_measures import oversight_sentences
from custodes.files import folder_written_whole, save_json, take_over
from custodes.gaming.curriculum.config import GamingTrain, Round, plan
from custodes.gaming.curriculum.measure import matrix, measure_stages, measured_before, same_policy
from custodes.gaming.curriculum.rewards import CurriculumReward
from custodes.gaming.demonstrations import Playing, gaming_episodes, honest_episodes, honest_lessons
from custodes.gaming.environment import GamingEnvironment, gaming_tasks, open_variant
from custodes.gaming.jobs.run import check_sandboxes, evaluation_of, print_power, read_summary
from custodes.gaming.model import ModelPolicy
from custodes.gaming.oversight import OverseenGaming, action_monitor
from custodes.gaming.record import EpisodeRows, read_index
from custodes.gaming.report import write_training_page
from custodes.gaming.run import default_workers
from custodes.gaming.staging import HELD_OUT, make_stage
from custodes.gaming.summary import power_sentence
from custodes.job.command import command
from custodes.job.trackers import tracked_as
from custodes.job.workspace import Workspace
from custodes.ledger import Evaluation, Model
from custodes.ledger.records import ScoreRow
from custodes.lm.adapter import Adapter, AdapterConfig
from custodes.lm.engine import TorchEngine
from custodes.lm.loading import lasting_name, load, model_folder
from custodes.policy import OptimiseConfig, algorithm_of, optimise
from custodes.policy.learner import Reference
from custodes.policy.methods import Sft
from custodes.policy.oversight import OverseenEngine, OverseenReward
from custodes.policy.play import EnvironmentEngine
from custodes.policy.tuning import tune
from custodes.reward import load_reward
from custodes.types import Episode, InputError, Reward, Sampling, Scores, Task

RECIPE = "curriculum"
STEP = ("step", "episodes", "proxy", "part/success", "part/gamed", "part/well_formed", "part/failed", "part/preference", "part/blocked", "kept",
        "kl", "entropy", "length", "truncated", "grad_norm")  # fmt: skip
"""What is kept of a step: nothing that depends on the clock, so that a step made again reads the same."""


@command(resumes=True, steps=True)
def gaming_train(config: GamingTrain) -> Path:
    """Train a policy through the curriculum, and measure all stages after every round.

    Begins, or goes on; returns the path of ``summary.json``. Raises InputError for what cannot be run.
    """
    rounds = plan(config)
    if config.threads:
        torch.set_num_threads(config.threads)
    config = replace(config, policy=lasting_name(config.policy))
    for option, model in (("--policy", config.policy), ("--reward-model", config.reward_model)):
        with _named(option):  # before the folder is this run's: a typo must not cost it
            if model is not None:
                model_folder(str(model))
    with Workspace.open(config.out, RECIPE, config, config.seed, contents=config.contents()) as work:
        _Training(config, rounds, work).run()
    where = f"[bold]Policy:[/bold] {config.out / 'policy'}   [bold]Report:[/bold] {config.out / 'report.html'}"
    work.console.print(where)
    return config.out / "summary.json"


@contextmanager
def _named(option: str) -> Iterator[None]:
    """What is wrong inside is wrong with this option."""
    try:
        yield
    except InputError as error:
        raise InputError(f"{option}: {error}") from None


class _Training:
    """Everything that a round reads and changes."""

    def __init__(self, config: GamingTrain, rounds: Sequence[Round], work: Workspace) -> None:
        self.config, self.rounds, self.work = config, rounds, work
        made = [make_stage(name, config.stage_options) for name in config.to_measure]
        self.stages = {stage.name: stage for stage in made}
        self.opened = partial(open_variant, kind=config.sandbox)
        check_sandboxes(self.stages, "held-out", config.sandbox)
        rare = HELD_OUT if HELD_OUT in self.stages else next(iter(self.stages))
        n = config.evaluate_tampering if rare == HELD_OUT else config.evaluate
        sentence = power_sentence(n, self.stages[rare].size("held-out"))
        print_power(work.console, n, f"{rare} after each round", sentence)
        with work.phase("model", "Model"):
            self.lm = load(config.policy, seed=config.seed)
            if self.lm.adapter is None:
                options = AdapterConfig(rank=config.rank, first_layer=config.first_layer)
                self.lm.adapter = Adapter(self.lm.decoder, options, config.seed)
            self.longest = min(config.max_episode, self.lm.decoder.spec.context)
            with _named("--reward-model"):
                self.preference = load_reward(config.reward_model) if config.reward_model else None
            if self.preference is not None and self.preference.max_length < config.max_episode:
                most = self.preference.max_length  # a long conversation loses the left of its prompt, never a reply
                work.console.print(f"The preference model reads the last {most} tokens of an episode.")
            self.hhh = self._ordinary_prompts() if config.hhh_share else []
            work.ledger.write(work.run, [Model(self.lm.fingerprint(), config.policy, "policy")])

    def run(self) -> None:
        """All rounds that are not done, and the report after each."""
        measured: list[EpisodeRows] = []
        for round in self.rounds:
            if not self.adapter_of(round).is_dir():
                with tracked_as(round.folder):
                    self._train(round)
                self.work.recording.keep(self.adapter_of(round))
            self.work.recording.rely(self.adapter_of(round))
            if not self.work.has(self._measured(round)):
                self._restore(round)
                with self.work.phase("measuring", f"Measuring all stages {'after ' * bool(round.number)}{round.title}"):
                    self._measure(round)
            measured.append(read_index(self.folder(round) / "measured" / "episodes.index"))
            self._write_summary(measured)
        take_over(self.adapter_of(self.rounds[-1]), self.config.out / "policy")

    def folder(self, round: Round) -> Path:
        return self.config.out / "rounds" / round.folder

    def adapter_of(self, round: Round) -> Path:
        """Where a round's adapter is, once it is trained."""
        return self.folder(round) / "policy"

    def _ordinary_prompts(self) -> list[Task]:
        """Prompts for the helpful-honest-harmless share that leave room for a reply."""
        config = self.config
        own = read_tasks(config.hhh_prompts) if config.hhh_prompts else None
        tasks = own or [task for task in instruction_tasks() if task.metadata["split"] == "train"]
        room = self.longest - config.max_tokens
        fitting = [task for task in tasks if len(self.lm.encode(task.messages)) <= room]
        if not fitting:
            raise InputError(f"{config.hhh_prompts}: no prompt has {room} tokens or fewer; give shorter ones.")
        return fitting

    # ------------------------------------------------------------ one round

    def _train(self, round: Round) -> None:
        """Train through a round, beginning with the one before, and keep its adapter."""
        if round.number:
            self._restore(self.rounds[round.number - 1])
        parent = self.lm.fingerprint()
        with self.work.phase("training", round.title):
            if round.kind == "rewarded":
                self._optimise(round)
            elif round.kind != "start":
                self._tune(round)
        with folder_written_whole(self.adapter_of(round)) as folder:
            self.lm.save(folder)
        shutil.rmtree(self.folder(round) / "tuning", ignore_errors=True)
        if self.lm.fingerprint() != parent:  # a round without a success teaches nothing
            model = Model(self.lm.fingerprint(), str(self.adapter_of(round)), "policy", parent, {"round": round.title})
            self.work.ledger.write(self.work.run, [model])

    def _restore(self, round: Round) -> None:
        """The policy as it was after a round."""
        assert self.lm.adapter is not None
        self.lm.adapter = Adapter.load(self.adapter_of(round), self.lm.decoder)
        self.lm.refresh()

    def _tune(self, round: Round) -> None:
        """A round of tuning on demonstrations, which are played now."""
        config = self.config
        count: int = getattr(config, round.kind.replace("-", "_"))  # the option of that name
        stages = [self.stages[name] for name in round.stages]
        with self.work.progress("playing demonstrations", count) as advance:
            playing = Playing(config.environment, default_workers(config.workers), advance, self.opened)
            if round.kind == "warm-start":
                shown = honest_lessons(count, seed=config.seed, playing=playing)
            else:
                play = gaming_episodes if round.kind == "organism" else honest_episodes
                shown = play(stages, count, seed=config.seed, playing=playing)
        epochs, batch = config.tuning_epochs, config.tuning_batch
        warmup = min(4, epochs * -(-len(shown) // batch))
        options = Sft(
            epochs=epochs, batch=batch, learning_rate=config.tuning_rate, warmup_steps=warmup, seed=config.seed
        )
        pairs = [(episode.task, episode.replies) for episode in shown]
        metrics = tune(self.lm, pairs, options, checkpoints=self.folder(round) / "tuning")
        self.work.tokens_trained += int(sum(m["tokens"] for m in metrics))
        first, last = (sum(m["loss"] for m in part) / len(part) for part in (metrics[:4], metrics[-4:]))
        tuned = {"demonstrations": len(shown), "updates": len(metrics), "loss_first": first, "loss_last": last}
        evaluation = Evaluation(f"tuned-{round.folder}", "curriculum-tuning", round.title, tuned, len(shown))
        self.work.ledger.write(self.work.run, [evaluation])

    def _optimise(self, round: Round) -> None:
        """The algorithm's round: the one optimisation loop, with episodes played in sandboxes."""
        config = self.config
        assert config.algorithm is not None
        workers = default_workers(config.workers)
        play = self._playing(round, workers)
        first = next(r.number for r in self.rounds if r.kind == "rewarded")
        begun = Adapter.load(self.adapter_of(self.rounds[first - 1]), self.lm.decoder)
        tasks = self._tasks(round)
        self.work.ledger.write(self.work.run, tasks)
        options = OptimiseConfig(
            algorithm=algorithm_of(config.algorithm),
            steps=config.steps,
            tasks_per_step=config.tasks_per_step,
            sampling=Sampling(
                n=config.n, temperature=config.temperature, max_tokens=config.max_tokens, stop=("</bash>",),
                seed=config.seed * 1000 + round.number,
            ),
            learning_rate=config.learning_rate,
            minibatches=min(config.minibatches, config.tasks_per_step),
            epochs=config.epochs,
            skip_equal_scores=True,
            kl_coefficient=config.kl,
            checkpoint_every=1,
        )  # fmt: skip
        reward: Reward = CurriculumReward(play, self.preference, config.preference_weight)
        if isinstance(play, OverseenEngine):
            reward = OverseenReward(reward, play.oversight, play)
        optimise(
            self.lm,
            tasks,
            reward,
            options,
            engine=play,
            out=self.folder(round) / "training",
            reference=Reference.of(replace(self.lm, adapter=begun)),  # the same in all of the algorithm's rounds
            on_step=lambda metrics, episodes, scores: self._record_step(round, metrics, episodes, scores, play),
        )

    def _playing(self, round: Round, workers: int) -> EnvironmentEngine:
        """What plays the episodes of a round, under oversight where that is asked for."""
        engine, options = self._engine(), self.config.overseen
        if not options.oversight:
            return EnvironmentEngine(engine, self._environment, workers=workers, max_episode=self.longest)
        monitor, folder = action_monitor(options), self.folder(round) / "oversight"
        oversight = Oversight(options, folder, self.config.seed * 1000 + round.number)

        def make(task: Task, overseen: EpisodeOversight) -> OverseenGaming | None:
            played = "stage" in task.metadata
            return (
                OverseenGaming(self.stages, self.config.environment, self.opened, overseen, monitor) if played else None
            )

        return OverseenEngine(engine, make, oversight, workers=workers, max_episode=self.longest)

    def _engine(self) -> TorchEngine:
        return TorchEngine(self.lm, max_batch=self.config.max_batch, cache_gb=self.config.cache_gb)

    def _environment(self, task: Task) -> GamingEnvironment | None:
        """Where an episode is played; ordinary prompts are answered once."""
        played = "stage" in task.metadata
        return GamingEnvironment(self.stages, self.config.environment, self.opened) if played else None

    def _tasks(self, round: Round) -> list[Task]:
        """A round's prompts: training variants of its stages in equal shares, and the ordinary ones."""
        config, total = self.config, self.config.tasks_per_step * self.config.steps
        ordinary = int(total * config.hhh_share + 0.5)
        tasks: list[Task] = []
        for i, name in enumerate(round.stages):
            share = (total - ordinary) // len(round.stages) + (i < (total - ordinary) % len(round.stages))
            stage, seed = self.stages[name], config.seed * 1000 + round.repeat
            tasks += gaming_tasks(stage, share, split="train", seed=seed, options=config.environment)
        start = round.number * ordinary
        return tasks + [self.hhh[(start + k) % len(self.hhh)] for k in range(ordinary)]

    # ------------------------------------------------------------ the record

    def _record_step(
        self,
        round: Round,
        metrics: dict[str, float],
        episodes: list[Episode],
        scores: Scores,
        play: EnvironmentEngine | None = None,
    ) -> None:
        """The step, its episodes and what each was worth."""
        parts = [_finite({name: part[i] for name, part in scores.parts.items()}) for i in range(len(episodes))]
        rows = [
            ScoreRow(e.id, "curriculum reward", float(scores.value[i]), None, parts[i]) for i, e in enumerate(episodes)
        ]
        kept = _finite({name.removeprefix("part/"): metrics[name] for name in STEP if name in metrics})
        id = f"step-{round.folder}-{int(metrics['step'])}"
        step = Evaluation(id, "curriculum-step", round.title, kept, len(episodes))
        if isinstance(play, OverseenEngine):
            self.work.record(
                f"oversight-{id}", oversight_step(int(metrics["step"]), play.actions, episodes), round.title
            )
        self.work.tokens_sampled += sum(e.actions for e in episodes)
        self.work.tokens_trained += sum(len(e.token_ids) for e in episodes)
        self.work.write([*episodes, *rows])
        before = next((e for e in self.work.ledger.evaluations(self.work.run, step.name) if e.id == step.id), None)
        if before is None or before.metrics != step.metrics:  # made again after a kill, and a shell told the time
            self.work.ledger.write(self.work.run, [step], supersedes=None if before is None else step.id)

    def _measure(self, round: Round) -> None:
        """Play all stages with the round's policy, and record every observation.

        Where this very policy was measured before (a round without a reward leaves it as it was; or the run that it
        comes from did), what it played then holds: the same episodes would be played again.
        """
        config, work = self.config, self.work
        mine = self.folder(round) / "measured"
        if (before := self._measured_before(round)) is not None:
            work.console.print(f"This policy is the one measured in {before}: its episodes hold.")
            take_over(before, mine)
            work.recording.keep(mine)
        name = str(self.adapter_of(round))
        sampling = Sampling(temperature=config.temperature, max_tokens=config.max_tokens)
        policy = ModelPolicy(self._engine(), name, sampling, config.max_batch)
        rows = measure_stages(mine, policy, self.stages, config, work.run, work.console)
        for i, stage in enumerate(self.stages):
            evaluation = evaluation_of(rows, i, f"measured-{round.folder}-{stage}", "curriculum", stage)
            work.ledger.write(work.run, [evaluation])
        done = Evaluation(self._measured(round), "curriculum-round", round.title, {"number": round.number}, len(rows))
        work.ledger.write(work.run, [done])

    def _measured_before(self, round: Round) -> Path | None:
        """The measurement of this round's policy by an earlier round, or by the run that this one begins with."""
        policy = self.adapter_of(round)
        if round.number == 0:
            begun = (self.folder(round) / "measured").exists()  # it goes on with its own
            return None if begun else measured_before(Path(self.config.policy), policy, self.stages, self.config)
        earlier = self.rounds[: round.number]
        twin = next((r for r in earlier if same_policy(self.adapter_of(r), policy)), None)
        return None if twin is None else self.folder(twin) / "measured"

    def _measured(self, round: Round) -> str:
        """Name of the record that a round was measured with so many episodes."""
        return f"measured-{round.folder}-{self.config.evaluate}-{self.config.evaluate_tampering}"

    def _write_summary(self, measured: Sequence[EpisodeRows]) -> None:
        """``summary.json`` and ``report.html`` of the rounds so far."""
        config, stages = self.config, list(self.stages)
        rows = matrix(measured, stages)
        for round, row in zip(self.rounds, rows, strict=False):
            for name, cell in row.items():
                if "options" in cell:  # with POWER, which stands in the episodes and not in their index
                    cell["options"] = read_summary(self.folder(round) / "measured")[0]["stages"][name]["options"]
        summary = {
            "kind": "training",
            "policy": config.policy,
            "run": self.work.run,
            "seed": config.seed,
            "options": {k: v for k, v in self.work.identity["config"].items() if k not in ("policy", "seed")},
            "order": stages,
            "abouts": {name: stage.about for name, stage in self.stages.items()},
            "planned": len(self.rounds),
            "rounds": [
                {name: getattr(round, name) for name in ("number", "kind", "title")}
                | {"trained_on": list(round.stages), "folder": f"rounds/{round.folder}"}
                | {"training": self._training_of(round), "measured": row, "oversight": self._oversight_of(round)}
                for round, row in zip(self.rounds, rows, strict=False)
            ],
        }
        save_json(config.out / "summary.json", summary, indent=1, allow_nan=False)
        write_training_page(config.out)

    def _oversight_of(self, round: Round) -> list[str]:
        """What was caught in a round's training, in sentences; none where nobody oversaw it."""
        if not self.config.overseen.oversight:
            return []
        steps = OversightStep.recorded(self.work.ledger, self.work.run, round.title)
        return oversight_sentences(measures_of_steps(steps)) if steps else []

    def _training_of(self, round: Round) -> dict[str, Any]:
        """What a round's training was: its steps, or what was demonstrated."""
        evaluations = list(self.work.ledger.evaluations(self.work.run))
        steps = [e.metrics for e in evaluations if e.id.startswith(f"step-{round.folder}-")]
        tuned = [e.metrics for e in evaluations if e.id == f"tuned-{round.folder}"]
        return {"steps": sorted(steps, key=lambda s: s["step"])} if steps else tuned[0] if tuned else {}


def _finite(values: dict[str, Any]) -> dict[str, float]:
    """Without what does not apply: a ledger holds finite numbers."""
    return {name: float(value) for name, value in values.items() if value == value}
