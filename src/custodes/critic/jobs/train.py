"""A scorer of lines trained on known bugs: what ``custodes critic train`` does."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Annotated, Any

from custodes.critic.examples import TRAIN, BugExample, read_bug_examples
from custodes.critic.families import families_of
from custodes.critic.kept_apart import MANIFEST, TeachingRows
from custodes.critic.line_training import LineConfig, LineEvaluation, calibrate_lines, evaluate_lines, train_lines
from custodes.critic.lines import LineScorer
from custodes.critic.scoring import score_all
from custodes.files import save_json
from custodes.job.command import command, in_words
from custodes.job.options import Output, Use
from custodes.job.workspace import Workspace
from custodes.ledger import Evaluation, Model
from custodes.lm.loading import DtypeName, load
from custodes.ranges import Range, Share, ranged
from custodes.types import InputError


@dataclass(frozen=True, kw_only=True)
@ranged
class LineTraining(TeachingRows):
    """What a scorer of lines learns from, and how."""

    model: str = "smollm2-135m"
    """What learns: smollm2-135m (embedded), a local folder, a .gguf file or a hub id."""
    calibrate_on: Annotated[float, Range(0, 1, open_low=True, open_high=True)] = 0.05
    """Share of the functions of training, whole functions, kept to calibrate confidence and threshold on."""
    dtype: DtypeName = "auto"
    """Precision of computation; what learns is kept in float32."""
    training: LineConfig = field(default_factory=LineConfig)
    """How it is trained."""


@dataclass(frozen=True, kw_only=True)
@ranged
class CriticTrain(LineTraining):
    """Teach a model where bugs are. The same command again goes on where it was interrupted."""

    out: Output
    """Folder of the critic."""
    examples: int = 0
    """Take so many rows with bugs only, beside the clean ones; 0 takes all."""
    false_alarms: Share = 0.1
    """Share of the clean functions kept to calibrate that may be reported."""
    measure_on: Annotated[int, Use.MEANS] = 500
    """Rows of each held-out split on which the result is measured, the first of the file; 0 takes all."""


@command(resumes=True, steps=True)
def critic_train(config: CriticTrain) -> dict[str, LineEvaluation]:
    """Teach a model in which line bugs are.

    Train, calibrate, save, and measure on every split that training did not see, the first ``measure_on`` rows of each. A
    critic that is trained is only measured again. Raises InputError for rows that teach nothing, and for a folder that holds a critic of other options.
    """
    rows = read_bug_examples(config.data)
    with Workspace.open(config.out, "critic train", config, config.training.seed) as work:
        scorer, found = trained_scorer(config, rows, work), {}
        for split in sorted({r.split for r in rows} - {TRAIN}):
            own = [r.known_bug for r in rows if r.split == split][: config.measure_on or None]
            scores = score_all(scorer, [bug.code for bug in own], f"measuring, {split}")
            found[split] = evaluate_lines(scorer, own, scores)
        name = scorer.fingerprint()
        work.write([Evaluation(f"{s}-{work.run}", s, name, e.to_dict(), e.at_1.n) for s, e in found.items()])
    return found


def trained_scorer(config: CriticTrain, rows: Sequence[BugExample], work: Workspace) -> LineScorer:
    """The scorer of the folder, which is trained and calibrated unless it is there."""
    training, spare, manifest = _divided(rows, config)
    if work.done(config.out):
        return LineScorer.load(config.out, config.dtype)
    lm = load(config.model, dtype=config.dtype)
    families = families_of((r.function, r.known_bug) for r in training)
    scorer = train_lines(lm, families, config.training, checkpoints=config.out / "checkpoints")
    examples = [r.known_bug for r in spare]
    scores = score_all(scorer, [e.code for e in examples], "calibrating")
    calibrate_lines(scorer, examples, config.false_alarms, scores)
    scorer.save(config.out)
    save_json(config.out / MANIFEST, manifest, indent=None)
    about = {"examples": len(training)}
    work.write([Model(scorer.fingerprint(), str(config.out), "critic", lm.fingerprint(), about)])
    work.finish(config.out)
    return scorer


@in_words(critic_train)
def _show(config: CriticTrain, measured: Mapping[str, LineEvaluation]) -> None:
    print(f"The critic is in {config.out}.")
    for split, evaluation in measured.items():
        print(f"{split}:\n{evaluation}")


def _divided(
    rows: Sequence[BugExample], config: CriticTrain
) -> tuple[list[BugExample], list[BugExample], dict[str, Any]]:
    """Rows to learn from, rows of other functions to calibrate on, and the manifest of both."""
    usable, manifest = config.taught(rows)
    functions = sorted({r.function for r in usable})
    random.Random(config.training.seed).shuffle(functions)
    spare = set(functions[: max(1, round(config.calibrate_on * len(functions)))])
    training = [r for r in usable if r.function not in spare]
    with_bugs = [r for r in training if r.bug_lines]
    if config.examples and config.examples < len(with_bugs):
        drawn = random.Random(config.training.seed).sample(with_bugs, config.examples)
        named = {r.function for r in drawn}
        training = drawn + [r for r in training if not r.bug_lines and r.function in named]
    if not training:
        raise InputError(f'{config.data} has no row to learn from: rows whose "split" is "{TRAIN}", or that have none.')
    return training, [r for r in usable if r.function in spare][:2000], manifest
