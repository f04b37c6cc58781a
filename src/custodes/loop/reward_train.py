"""A reward model from a file of judgments of any kinds: what ``custodes reward train`` does."""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from custodes.audit.sections.taught import RewardTaught
from custodes.audit.sections.values import AnnotatorGroups, RewardOfGroups
from custodes.environments import task_id
from custodes.feedback.collection import Feedback
from custodes.feedback.kinds.comparison import Comparison
from custodes.feedback.raking import rake, read_margins, read_profiles
from custodes.feedback.reading import FeedbackFile, JudgmentsOptions, hash_of
from custodes.files import save_json
from custodes.job.command import command
from custodes.job.options import Output
from custodes.job.workspace import Workspace
from custodes.lm.loading import DtypeName, LanguageModel, load
from custodes.loop.chosen_tasks import held_out_prompts
from custodes.loop.demonstrations import AgainstSamples, compare_with_samples
from custodes.loop.rubric_training import RubricTrained, train_rubric
from custodes.ranges import PartShare, ranged
from custodes.reward.config import RewardConfig
from custodes.reward.evaluate import RewardEvaluation, calibrate
from custodes.reward.group_training import (
    GroupAccuracy,
    NamedPairs,
    RewardGroups,
    accuracy_of_groups,
    find_reward_groups,
    train_group_reward,
)
from custodes.reward.model import OVERALL
from custodes.reward.objective import Course, Material
from custodes.reward.objectives.pairs import Pairs
from custodes.reward.reading import Reader
from custodes.reward.spread_pairs import train_spread_reward
from custodes.reward.storage import SETTINGS, TRAINING, load_reward, save_reward
from custodes.reward.teaching import (
    Taught,
    courses_of,
    marked_texts,
    measures_of,
    open_objectives,
    value_pairs,
    with_outputs,
)
from custodes.reward.train import teach_reward
from custodes.reward.whose_values import WhoseValues
from custodes.stats import Interval
from custodes.train import OnStep
from custodes.types import InputError

if TYPE_CHECKING:
    from custodes.reward.model import RewardModel


CHECKPOINTS = "checkpoints"
"""Folder of what a training goes on from."""


@dataclass(frozen=True, kw_only=True)
@ranged
class RewardTrain(JudgmentsOptions, WhoseValues):
    """Train a reward model on people's judgments.

    With --rubric, --model is a judge that grades the answers, and the weights of its principles are fitted to the judgments.
    """

    out: Output
    """Folder for the reward model; a run that was interrupted is continued from here."""
    model: str = "smollm2-135m"
    """Backbone: smollm2-135m (embedded), a local folder, a .gguf file or a hub id."""
    held_out: PartShare = 0.1
    """Share of the prompts kept out of training, on which what was learned is measured."""
    dtype: DtypeName = "auto"
    """Precision of computation; what learns is kept in float32."""
    device: str = "auto"
    """Where to compute: cpu, cuda, or auto, which takes CUDA where there is a device."""
    axes: str = ""
    """What the reward judges, an output each: overall,truthful,harmless. Without: the axis of --axis, and all marks of
    steps and spans."""
    objectives: tuple[str, ...] = ()
    """How judgments teach: NAME or NAME,OPTION=VALUE, of pairs, rankings, ratings, labels, corrections, comments, steps, spans,
    or one of your own, FILE.py:NAME. Without: all of them."""
    rubric: Path | None = None
    """YAML file with the principles by which a judge grades."""
    spread: Literal["", "mean-variance"] = ""
    """mean-variance: a mean and a variance over judges for each reply, in place of one score. Learns from comparisons alone."""
    demonstrated: AgainstSamples = field(default_factory=AgainstSamples)
    """How demonstrations teach: with --against."""
    training: RewardConfig = field(default_factory=RewardConfig)
    """How it is trained."""

    def __post_init__(self) -> None:
        WhoseValues.__post_init__(self)
        if self.groups is not None and self.spread:
            raise InputError("--groups and --spread are two ways to hold disagreement; give one.")
        if (self.groups is not None or self.spread) and (self.axes or self.objectives or self.rubric):
            raise InputError(
                "--groups and --spread learn from comparisons alone; leave out --axes, --objectives and --rubric."
            )


@dataclass(frozen=True, slots=True)
class RewardTrained:
    """What was trained, from what, and how good it is on the judgments that were held out (None where none were)."""

    model: RewardModel
    out: Path
    evaluation: RewardEvaluation | None
    taught: Taught
    measures: dict[str, Interval]
    groups: RewardGroups | None = None
    served: GroupAccuracy | None = None

    def to_dict(self) -> dict[str, Any]:
        measures = {name: found.to_dict() for name, found in self.measures.items()}
        evaluation = self.evaluation.to_dict() if self.evaluation else None
        groups = {"groups": dict(self.groups.held)} if self.groups else {}
        served = {"accuracy_of_groups": self.served.to_dict()} if self.served else {}
        told = {"model": str(self.out), "evaluation": evaluation, "measures": measures}
        return told | self.taught.to_dict() | groups | served

    def __str__(self) -> str:
        accuracy = [f"Accuracy on held-out pairs: {self.evaluation.accuracy}."] if self.evaluation else []
        measures = [f"Held out, {name}: {found}." for name, found in self.measures.items()]
        groups = [*(self.groups.lines if self.groups else ()), *(self.served.lines() if self.served else ())]
        return "\n".join([f"The reward model is in {self.out}.", str(self.taught), *groups, *accuracy, *measures])


@command(resumes=True, steps=True)
def reward_train(config: RewardTrain, on_step: OnStep | None = None) -> RewardTrained | RubricTrained:
    """Train a reward model on people's judgments.

    It is calibrated and saved. What is in the output folder already is not trained again, only evaluated. Raises InputError
    for anything wrong with the file, the model, the options or the output folder, which belongs to one configuration and to
    one process.
    """
    seed = config.training.seed
    if config.rubric is not None:
        return train_rubric(config, config.rubric, config.model, config.out, config.held_out, seed, config.dtype)
    file, objectives = config.read(), open_objectives(config.objectives)
    file.check_texts()
    file.warn()
    feedback = file.feedback if config.population is None else _raked(config, config.population, file.feedback)
    contents, made = {"judgments": hash_of(config.judgments)}, ("config.json", SETTINGS)
    with Workspace.open(config.out, "reward train", config, seed, contents=contents, begin=False, made=made) as work:
        trained_before = bool(work.begun) and work.done(config.out)
        done = load_reward(config.out, config.dtype, config.device) if trained_before else None
        lm = load(config.model, dtype=config.dtype, device=config.device) if done is None else done.lm
        longer: dict[str, Interval] = {}
        if config.demonstrated.against:
            work.begin()
            feedback, longer = compare_with_samples(
                work, feedback, config.demonstrated, seed, lambda known, folder: _of_round(config, known, folder)
            )
        reader = Reader(lm, config.training.max_length)
        every = with_outputs(feedback, reader, objectives, config.axes, file.axis(config.axis))
        held = held_out_prompts(map(every.prompt, feedback.judgments), config.held_out, seed)
        training, held_out = every.divided(held)
        for one in open_objectives(config.objectives):  # what is held out must be readable too, before training
            one.lessons(replace(held_out, used=Counter(), unused=Counter()), 1)
        courses, taught = courses_of(training, objectives, config.training.members)
        work.begin()
        if done is None:
            model, groups = _learned(config, work, lm, training, courses, file, on_step)
        else:
            sentence = f"The reward model in {config.out} is trained; it is only evaluated again."
            work.console.print(sentence, soft_wrap=True)
            model, groups = done, RewardGroups.load(config.out)
        pairs = value_pairs(held_out)
        evaluation = calibrate(model, pairs, file.name) if pairs else None
        measures = measures_of(model, held_out, objectives) | longer
        served, by_group = _served(model, held_out, groups, file) if groups else (None, None)
        trained = RewardTrained(model, config.out, evaluation, taught, measures, groups, served)
        if done is None:
            if by_group is not None:
                work.record("reward-of-groups", by_group, "reward")
            _save(config, work, trained, courses, training, marked_texts(model, held_out, objectives))
    return trained


def _learned(
    config: RewardTrain,
    work: Workspace,
    lm: LanguageModel,
    training: Material,
    courses: Sequence[Course],
    file: FeedbackFile,
    on_step: OnStep | None,
) -> tuple[RewardModel, RewardGroups | None]:
    """The reward, learned in the way that the options name, and the groups of annotators where it has an output for each."""
    run: dict[str, Any] = {"checkpoints": config.out / CHECKPOINTS, "on_step": on_step}
    if config.groups is not None:
        return _of_groups(config, work, lm, training, file, run)
    if config.spread:
        return train_spread_reward(lm, value_pairs(training), config.training, file.name, **run), None
    return teach_reward(lm, courses, config.training, axes=training.axes, marks=training.marks, **run), None


def _save(
    config: RewardTrain,
    work: Workspace,
    trained: RewardTrained,
    courses: Sequence[Course],
    training: Material,
    examples: list[dict[str, Any]],
) -> None:
    """Write the folder and the rows of a reward that was trained now; ``examples`` are held-out answers with their marks."""
    save_reward(trained.model, config.out)
    if trained.groups is not None:
        trained.groups.save(config.out)
    told = trained.to_dict()
    plain = config.groups is None and not config.spread  # others have a loss of their own
    learned = [c.objective for c in courses if plain and c.lessons and c.objective.source]
    losses = {getattr(o.judgment, "kind", "judgment"): o.source for o in learned}
    row = RewardTaught(
        **{name: told[name] for name in ("used", "unused", "measures")}, examples=examples, losses=losses
    )
    work.record("reward-taught", row, "reward")
    measured = {
        "judgments_file": config.judgments,
        "pairs": sum(len(course.lessons) for course in courses if isinstance(course.objective, Pairs)),
        "held_out_evaluation": told["evaluation"],
        "prompts": sorted({task_id(training.prompt(judgment)) for judgment in training.feedback.judgments}),
    }
    more = {name: value for name, value in told.items() if name not in ("model", "evaluation")}
    save_json(config.out / TRAINING, work.identity["config"] | measured | more)
    shutil.rmtree(config.out / CHECKPOINTS, ignore_errors=True)
    work.finish(config.out)


def _raked(config: RewardTrain, population: Path, feedback: Feedback) -> Feedback:
    """Comparisons with their annotators' weights in a population."""
    assert config.profiles is not None  # options without them are refused
    profiles, margins = read_profiles(config.profiles), read_margins(population)
    who = dict.fromkeys(j.annotator for j in feedback.judgments if isinstance(j, Comparison))
    weights = rake({name: profiles.get(name, {}) for name in who}, margins, str(population)).weights
    judgments = [
        replace(j, weight=j.weight * weights[j.annotator]) if isinstance(j, Comparison) else j
        for j in feedback.judgments
    ]
    return replace(feedback, judgments=judgments)


def _of_groups(
    config: RewardTrain, work: Workspace, lm: LanguageModel, training: Material, file: FeedbackFile, run: dict[str, Any]
) -> tuple[RewardModel, RewardGroups]:
    """Find the groups and record them, with what a person decided; train an output for each."""
    named = NamedPairs.of(training.feedback.judgments, training.feedback, file.axis(config.axis), file.name)
    groups, chosen, weights = find_reward_groups(
        lm, named, config.groups or 0, config.decide, config.training, file.name
    )
    row = AnnotatorGroups(
        features=list(chosen.features),
        weights=chosen.weights.tolist(),
        unit=chosen.unit,
        annotator=list(chosen.chosen.groups.people),
        membership=chosen.chosen.groups.membership.tolist(),
        gains=list(chosen.chosen.gains),
        readings=[reading.to_dict() for reading in chosen.chosen.readings],
        r2=groups.held["r2"],
    )
    if not work.has("annotator-groups"):
        work.record("annotator-groups", row, "annotators")
        work.ledger.write(work.run, chosen.decisions())
    return train_group_reward(lm, named, weights, groups, config.training, file.name, **run), groups


def _served(
    model: RewardModel, held_out: Material, groups: RewardGroups, file: FeedbackFile
) -> tuple[GroupAccuracy | None, RewardOfGroups | None]:
    """The reward's accuracy for each group on held-out judgments, and its row; None where none were held out."""
    axis = held_out.axes[0] if held_out.axes else file.axis()
    if not any(j.comparisons(axis) for j in held_out.feedback.judgments):
        return None, None
    named = NamedPairs.of(held_out.feedback.judgments, held_out.feedback, axis, file.name)
    accuracy, rows = accuracy_of_groups(model, named, groups)
    return accuracy, RewardOfGroups(**rows)


def _of_round(config: RewardTrain, feedback: Feedback, folder: Path) -> RewardModel:
    """The reward between two rounds: trained on what is known so far, or found where it was trained before.

    Each round begins with the model as it came: training every weight changes the one that it is given.
    """
    if (folder / SETTINGS).is_file() or (folder / "config.json").is_file():
        return load_reward(folder, config.dtype, config.device)
    lm = load(config.model, dtype=config.dtype, device=config.device)
    reader, objectives = Reader(lm, config.training.max_length), open_objectives(config.objectives)
    every = with_outputs(feedback, reader, objectives, config.axes, OVERALL)
    held = held_out_prompts(map(every.prompt, feedback.judgments), config.held_out, config.training.seed)
    training, _ = every.divided(held)
    courses, _ = courses_of(training, objectives, config.training.members)
    run: dict[str, Any] = {"axes": every.axes, "marks": every.marks, "checkpoints": folder / CHECKPOINTS}
    model = teach_reward(lm, courses, config.training, **run)
    save_reward(model, folder)
    return model
