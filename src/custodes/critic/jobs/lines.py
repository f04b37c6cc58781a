"""A scorer of lines trained on known bugs, and any scorer measured on anybody's rows.

What ``custodes critic train`` and ``custodes critic evaluate`` do. A row is ``{"id", "code", "bug_lines": [numbers from 1]}``;
an empty ``bug_lines`` is a clean function. Rows of ``custodes critic tamper`` say in ``split`` what they are for.
"""

from __future__ import annotations

import json
import random
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

from custodes.critic.families import KnownBug, families_of
from custodes.critic.likelihood import LikelihoodScorer
from custodes.critic.line_training import (
    LineConfig,
    LineEvaluation,
    LineStep,
    OnStep,
    calibrate_lines,
    evaluate_lines,
    train_lines,
)
from custodes.critic.lines import SETTINGS, LineScorer, LineScores, ScoresLines, shipped_critic
from custodes.feedback.forms import select_rows
from custodes.job.progress import Progress
from custodes.job.recording import recorded
from custodes.ledger import Evaluation, Model
from custodes.lm import load
from custodes.lm.loading import DtypeName
from custodes.ranges import Range, Share, ranged
from custodes.types import InputError

TRAIN = "train"
SCORED_AT_ONCE = 64
SHIPPED, LIKELIHOOD = "shipped", "likelihood"


@dataclass(frozen=True, kw_only=True)
@ranged
class CriticTrain:
    """Teach a model where bugs are. The same command again goes on where it was interrupted."""

    data: Path
    """Rows with known bugs, JSON Lines: `custodes critic tamper` makes them."""
    out: Path
    """Folder of the critic."""
    model: str = "smollm2-135m"
    """What learns: smollm2-135m (embedded), a local folder, a .gguf file or a hub id."""
    examples: int = 0
    """Train on so many rows with bugs only, drawn by the seed, beside the clean ones; 0 takes all."""
    calibrate_on: Annotated[float, Range(0, 1, open_low=True, open_high=True)] = 0.05
    """Share of the functions of training, whole functions, kept to calibrate confidence and threshold on."""
    false_alarms: Share = 0.1
    """Share of those clean functions that may be reported."""
    measure_on: int = 500
    """Rows of each held-out split on which the result is measured, the first of the file; 0 takes all."""
    dtype: DtypeName = "auto"
    """Precision of computation; what learns is kept in float32."""
    training: LineConfig = field(default_factory=LineConfig)
    """How it is trained."""


@dataclass(frozen=True, kw_only=True)
class CriticEvaluate:
    """Measure a critic on rows with known bugs."""

    data: Path
    """Rows with id, code and bug_lines, JSON Lines; an empty bug_lines is a clean function."""
    critic: str = ""
    """Folder of a trained critic; shipped: the one that comes with Custodes; or likelihood: what the untrained model finds
    surprising. Where it is not named: shipped, or with another model its likelihood."""
    model: str = "smollm2-135m"
    """The model of likelihood; the base of a critic, where it is not the one that its folder names."""
    split: str = ""
    """Only rows of this split, for example "held-out packages"; all where empty."""
    rows: str = ""
    """Use rows FIRST:END of these only, counted from 0 and without END, e.g. 0:300."""
    dtype: DtypeName = "auto"
    """Precision of computation."""


@dataclass(frozen=True, slots=True)
class Row:
    """One row of a file."""

    id: str
    bug: KnownBug
    split: str
    function: str


def critic_train(config: CriticTrain) -> dict[str, LineEvaluation]:
    """Train, calibrate, save, and measure on every split that training did not see; recorded in the folder's ledger."""
    rows = read_rows(config.data)
    training, spare = _divided(rows, config)
    config.out.mkdir(parents=True, exist_ok=True)
    told = {
        "data": config.data.name,
        "examples": len(training),
        "model": config.model,
        "calibrate_on": config.calibrate_on,
    }
    with recorded(config.out / "ledger.db", "critic train", told, config.training.seed) as recording:
        lm = load(config.model, dtype=config.dtype)
        with _progress() as on_step:
            scorer = train_lines(
                lm,
                families_of((r.function, r.bug) for r in training),
                config.training,
                checkpoints=config.out / "checkpoints",
                on_step=on_step,
            )
        examples = [r.bug for r in spare]
        calibrate_lines(scorer, examples, config.false_alarms, _scored(scorer, examples, "calibrating"))
        scorer.save(config.out)
        found = _measured(scorer, rows, config.measure_on)
        name = scorer.fingerprint()
        models = [Model(name, str(config.out), "critic", lm.fingerprint(), {"examples": len(training)})]
        measured = [Evaluation(f"{s}-{recording.run}", s, name, e.to_dict(), e.at_1.n) for s, e in found.items()]
        recording.ledger.write(recording.run, [*models, *measured])
        recording.keep_written(config.out)
    return found


def critic_evaluate(config: CriticEvaluate) -> LineEvaluation:
    """Measure a critic. Raises InputError for a file or a critic that cannot be read, and where no row is left."""
    rows = [r for r in read_rows(config.data) if not config.split or r.split == config.split]
    if not rows:
        raise InputError(f"{config.data} has no row of split {config.split!r}.")
    rows = select_rows(rows, config.rows, config.data.name)
    scorer, examples = open_scorer(config.critic, config.model, config.dtype), [r.bug for r in rows]
    return evaluate_lines(scorer, examples, _scored(scorer, examples, "measuring"))


def open_scorer(critic: str, model: str, dtype: DtypeName = "auto") -> ScoresLines:
    """The critic that comes with Custodes, a model's likelihood, or the critic in a folder. Raises InputError for anything else."""
    shipped = shipped_critic()
    critic = critic or (SHIPPED if shipped and model == CriticEvaluate.model else LIKELIHOOD)
    if critic == LIKELIHOOD:
        return LikelihoodScorer(load(model, dtype=dtype))
    if critic == SHIPPED and shipped:
        critic = str(shipped)
    if not (Path(critic) / SETTINGS).is_file():
        raise InputError(
            f"{critic} is no critic: give shipped, likelihood, or a folder that custodes critic train made."
        )
    named = json.loads((Path(critic) / SETTINGS).read_text()).get("base")
    return LineScorer.load(critic, dtype, base="" if model == CriticEvaluate.model else model if named != model else "")


def read_rows(path: Path) -> list[Row]:
    """The rows of a file. Raises InputError that names the line for one that cannot be used."""
    try:
        lines = path.read_text(encoding="utf-8").split("\n")
    except (OSError, UnicodeDecodeError) as error:
        said = getattr(error, "strerror", None) or "not UTF-8"
        raise InputError(f"{path} cannot be read ({said}); give JSON Lines with id, code and bug_lines.") from None
    rows = [_row(line, f"{path}, line {number}") for number, line in enumerate(lines, 1) if line.strip()]
    if not rows:
        raise InputError(f"{path} is empty; give JSON Lines with id, code and bug_lines.")
    return rows


def _row(line: str, where: str) -> Row:
    try:
        row = json.loads(line)
    except json.JSONDecodeError as error:
        raise InputError(f"{where} is not JSON ({error.msg}).") from None
    if not isinstance(row, dict) or not isinstance(row.get("code"), str):
        raise InputError(f'{where} has no text in "code".')
    code, lines = row["code"], row.get("bug_lines")
    count = code.count("\n") + 1
    if not isinstance(lines, list) or not all(isinstance(n, int) and 1 <= n <= count for n in lines):
        raise InputError(
            f'{where}: "bug_lines" is {lines!r}; give a list of numbers from 1 to {count}, empty for clean code.'
        )
    id = str(row.get("id", where))
    function = str(row.get("function", id))
    bug = KnownBug(code, tuple(lines), _kinds(row.get("bugs"), lines), function)
    return Row(id, bug, str(row.get("split", TRAIN)), function)


def _kinds(bugs: object, lines: list[int]) -> tuple[str, ...]:
    """The operator of each line's bug, in rows of `custodes critic tamper`; empty in rows that do not say."""
    if not isinstance(bugs, list) or not all(isinstance(b, dict) for b in bugs):
        return ()
    named = {line: str(b.get("operator", "")) for b in bugs for line in b.get("lines", ())}
    return tuple(named.get(line, "") for line in lines)


def _divided(rows: list[Row], config: CriticTrain) -> tuple[list[Row], list[Row]]:
    """Rows to learn from, and rows of other functions to calibrate on."""
    usable = [r for r in rows if r.split == TRAIN]
    functions = sorted({r.function for r in usable})
    random.Random(config.training.seed).shuffle(functions)
    spare = set(functions[: max(1, round(config.calibrate_on * len(functions)))])
    training = [r for r in usable if r.function not in spare]
    with_bugs = [r for r in training if r.bug.lines]
    if config.examples and config.examples < len(with_bugs):
        drawn = random.Random(config.training.seed).sample(with_bugs, config.examples)
        named = {r.function for r in drawn}
        training = drawn + [r for r in training if not r.bug.lines and r.function in named]
    if not training:
        raise InputError(f'{config.data} has no row to learn from: rows whose "split" is "{TRAIN}", or that have none.')
    return training, [r for r in usable if r.function in spare][:2000]


def _measured(scorer: ScoresLines, rows: list[Row], most: int) -> dict[str, LineEvaluation]:
    """On every split that training did not see, the first ``most`` rows of each (0: all)."""
    found = {}
    for split in sorted({r.split for r in rows} - {TRAIN}):
        examples = [r.bug for r in rows if r.split == split][: most or None]
        found[split] = evaluate_lines(scorer, examples, _scored(scorer, examples, f"measuring, {split}"))
    return found


def _scored(scorer: ScoresLines, examples: Sequence[KnownBug], title: str) -> list[LineScores]:
    """What the scorer says of all of them, with a bar and the time left."""
    found: list[LineScores] = []
    with Progress() as shown:
        bar = shown.add_task(title, total=len(examples))
        for start in range(0, len(examples), SCORED_AT_ONCE):
            some = examples[start : start + SCORED_AT_ONCE]
            found += scorer.scores([e.code for e in some])
            shown.advance(bar, len(some))
    return found


@contextmanager
def _progress() -> Iterator[OnStep]:
    """A bar on stderr: loss, share of right answers (running means) and time left."""
    with Progress() as shown:
        bar, mean = shown.add_task("training", total=None), [0.0, 0.0]

        def on_step(done: LineStep) -> None:
            weight = max(0.02, 1 / done.step)
            for i, value in enumerate((done.loss, done.right)):
                mean[i] += weight * (value - mean[i])
            text = f"loss {mean[0]:.3f}, right {mean[1]:.2f}"
            shown.update(bar, completed=done.step, total=done.steps, description=text)

        yield on_step
