"""Which scorer of lines reads, and reading many functions with it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from custodes.critic.examples import BugExample, BugRows, read_bug_examples
from custodes.critic.lines import LINE_SETTINGS, LineScorer, LineScores, ScoresLines, shipped_critic
from custodes.job.progress import Progress
from custodes.lm.loading import DtypeName
from custodes.registry import scorer
from custodes.types import InputError

DEFAULT_MODEL = "smollm2-135m"
"""The model where none is named."""
AT_ONCE = 64
"""Functions that a scorer reads between two looks at the time left."""


@dataclass(frozen=True, kw_only=True)
class ScoredRows(BugRows):
    """Which rows with known bugs a scorer of lines reads."""

    critic: str = ""
    """The scorer of lines: the folder of a trained critic, shipped (it comes with Custodes), likelihood (what the untrained
    model finds surprising) or FILE.py:Name. By default shipped, or with another model its likelihood."""
    model: str = "smollm2-135m"
    """The model of likelihood; the base of a critic, where it is not the one that its folder names."""
    split: str = ""
    """Only rows of this split, for example "held-out packages"; all where empty."""
    rows: str = ""
    """Use rows FIRST:END only. Rows are counted from 0, and END is left out: 0:900."""
    dtype: DtypeName = "auto"
    """Precision of computation."""

    def read(self, path: Path) -> list[BugExample]:
        """Those rows of a file that are of the split. Raises InputError where there is none."""
        examples = [e for e in read_bug_examples(path) if not self.split or e.split == self.split]
        if not examples:
            raise InputError(f"{path} has no row of split {self.split!r}.")
        return examples

    @property
    def scorer_name(self) -> str:
        """The critic; where none is named, the one that comes with Custodes, or another model's likelihood."""
        return self.critic or ("shipped" if self.model == DEFAULT_MODEL and shipped_critic() else "likelihood")

    def open(self) -> ScoresLines:
        """The scorer."""
        return open_scorer(self.scorer_name, self.model, self.dtype)


def open_scorer(critic: str, model: str, dtype: DtypeName = "auto") -> ScoresLines:
    """The critic in a folder, or a scorer of lines by its name (:data:`custodes.registry.scorer`), or ``FILE.py:Name``.

    Raises InputError for anything else.
    """
    base = "" if model == DEFAULT_MODEL else model
    if (Path(critic) / LINE_SETTINGS).is_file():
        return LineScorer.load(critic, dtype, base=base)
    if critic not in scorer and ".py" not in critic:
        names = ", ".join(scorer.names())
        raise InputError(
            f"{critic} is no critic: give {names}, FILE.py:Name, or a folder that custodes critic train made."
        )
    opened: ScoresLines = scorer.find(critic)(model if critic != "shipped" else base, dtype)
    return opened


class Remembered:
    """A scorer that reads a function once, with a bar and the time left where there are many."""

    def __init__(self, scorer: ScoresLines) -> None:
        self.scorer, self.known = scorer, dict[str, LineScores]()
        self.temperature, self.level, self.threshold = scorer.temperature, scorer.level, scorer.threshold

    def fingerprint(self) -> str:
        """The scorer's own."""
        return self.scorer.fingerprint()

    def scores(self, codes: Sequence[str]) -> list[LineScores]:
        """As the scorer's own."""
        new = list(dict.fromkeys(code for code in codes if code not in self.known))
        self.known |= dict(zip(new, score_all(self.scorer, new, "reading"), strict=True))
        return [self.known[code] for code in codes]


def score_all(scorer: ScoresLines, codes: Sequence[str], title: str) -> list[LineScores]:
    """What the scorer says of each function, with a bar and the time left."""
    found: list[LineScores] = []
    if len(codes) <= AT_ONCE:
        return scorer.scores(codes) if codes else found
    with Progress() as shown:
        bar = shown.add_task(title, total=len(codes))
        for start in range(0, len(codes), AT_ONCE):
            some = codes[start : start + AT_ONCE]
            found += scorer.scores(some)
            shown.advance(bar, len(some))
    return found
