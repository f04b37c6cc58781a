"""Rows with known bugs, in anybody's files, and the scorers of lines that read them.

A row is ``{"id", "code", "bug_lines": [numbers from 1]}``; an empty ``bug_lines`` is a clean function. Rows of
``custodes critic tamper`` say in ``split`` what they are for.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from custodes.critic.families import KnownBug
from custodes.critic.likelihood import LikelihoodScorer
from custodes.critic.line_training import LineEvaluation
from custodes.critic.lines import LINE_SETTINGS, LineScorer, LineScores, ScoresLines, shipped_critic
from custodes.job.progress import Progress
from custodes.lm import load
from custodes.lm.loading import DtypeName
from custodes.types import InputError

TRAIN = "train"
SCORED_AT_ONCE = 64
SHIPPED, LIKELIHOOD = "shipped", "likelihood"
EMBEDDED = "smollm2-135m"
"""The model where none is named."""


@dataclass(frozen=True, slots=True)
class Row:
    """One row of a file."""

    id: str
    bug: KnownBug
    split: str
    function: str


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


def open_scorer(critic: str, model: str, dtype: DtypeName = "auto") -> ScoresLines:
    """The critic that comes with Custodes, a model's likelihood, or the critic in a folder. Raises InputError for anything else."""
    shipped = shipped_critic()
    critic = critic or (SHIPPED if shipped and model == EMBEDDED else LIKELIHOOD)
    if critic == LIKELIHOOD:
        return LikelihoodScorer(load(model, dtype=dtype))
    if critic == SHIPPED and shipped:
        critic = str(shipped)
    if not (Path(critic) / LINE_SETTINGS).is_file():
        raise InputError(
            f"{critic} is no critic: give shipped, likelihood, or a folder that custodes critic train made."
        )
    named = json.loads((Path(critic) / LINE_SETTINGS).read_text()).get("base")
    return LineScorer.load(critic, dtype, base="" if model == EMBEDDED else model if named != model else "")


def score_all(scorer: ScoresLines, examples: Sequence[KnownBug], title: str) -> list[LineScores]:
    """What the scorer says of all of them, with a bar and the time left."""
    found: list[LineScores] = []
    with Progress() as shown:
        bar = shown.add_task(title, total=len(examples))
        for start in range(0, len(examples), SCORED_AT_ONCE):
            some = examples[start : start + SCORED_AT_ONCE]
            found += scorer.scores([e.code for e in some])
            shown.advance(bar, len(some))
    return found


def show_lines(measured: LineEvaluation) -> None:
    """Print how well a scorer of lines does."""
    shown = {
        "the likeliest line is the bug's": measured.at_1,
        "one of the three likeliest is": measured.at_3,
        "a blind guess would be": f"{measured.chance:.3g}",
        "tampered functions reported": measured.caught,
        "clean functions reported": measured.false_alarms,
        "lines reported for a function": measured.findings,
        "tampered told from clean (area under ROC)": measured.discrimination,
        "calibration error of a bug anywhere": measured.calibration_error,
    }
    for words, value in shown.items():
        print(f"  {words:<43}{value}")
