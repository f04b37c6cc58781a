"""Feedback from one form into another: what ``custodes feedback convert`` does."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import tyro

from custodes.feedback.collection import LABEL
from custodes.feedback.formats import write_completions, write_preferences
from custodes.feedback.kinds.comparison import Comparison
from custodes.feedback.platform import platform_records
from custodes.feedback.reading import FeedbackFile, JudgmentsOptions, listed
from custodes.feedback.records import write_judgments
from custodes.job.command import command
from custodes.job.options import Output
from custodes.registry import Chosen, platform
from custodes.tables import write_rows
from custodes.types import InputError


@dataclass(frozen=True, kw_only=True)
class FeedbackConvert(JudgmentsOptions):
    """Convert feedback between forms and kinds of files; says what was kept, assumed and left out."""

    judgments: tyro.conf.Positional[Annotated[str, tyro.conf.arg(metavar="IN")]]
    """Feedback in any form: a table, a folder of shards, a hub id, or a ledger."""
    target: tyro.conf.Positional[Annotated[Output, tyro.conf.arg(metavar="OUT")]]
    """File to write; its extension says what kind."""
    form: Literal["auto", "conversational", "text", "dialogue", "completions", "judgments"] = "auto"
    """Pairs are lists of messages (conversational), one question and one answer (text), or raw dialogues (dialogue).
    Completions are answers to imitate, or labelled. Judgments are of every kind, with the texts that were judged. The choice
    auto writes pairs where there is nothing but comparisons on one axis, else judgments."""
    platform: Annotated[str, Chosen(platform, by_name=True)] = ""
    """Write records of this annotation platform instead: argilla, label-studio, or FILE.py:Name."""


@dataclass(frozen=True)
class Converted:
    """What was written, and what became of everything else in the file."""

    source: str
    read_as: str
    rows: int
    kept: dict[str, int]
    """Judgments by kind, and by axis or name."""
    written: int
    written_as: str
    target: str
    assumed: list[str]
    left_out: list[str]
    skipped: list[str]
    """What is wrong with each row that was left out."""

    def __str__(self) -> str:
        lines = [
            f"{self.written:,} {self.written_as} in {self.target}",
            f"Read {self.rows:,} rows of {self.source} as {self.read_as}: {listed(self.kept)}.",
        ]
        lines += [f"Assumed: {sentence.rstrip('.')}." for sentence in self.assumed]
        lines += [f"Left out: {sentence.rstrip('.')}." for sentence in self.left_out]
        if self.skipped:
            lines.append(f"Left out: {len(self.skipped):,} rows that cannot be used, the first: {self.skipped[0]}")
        return "\n".join(lines)


@command()
def feedback_convert(config: FeedbackConvert) -> Converted:
    """Convert feedback in any known form into another form or file type.

    Reads, writes beside and renames. Raises InputError for rows that cannot be used, or that the form cannot hold."""
    if config.target.exists() and Path(config.judgments).exists() and config.target.samefile(config.judgments):
        raise InputError(
            f"{config.target} is the file that is read; choose another file to write, it is never overwritten."
        )
    file = config.read()
    form = _form_for(file) if config.form == "auto" else config.form
    left_out, judged, what = list(file.left_out), file.feedback, "pairs"
    if config.platform:
        records = platform_records(config.platform, judged.judgments, judged.episodes, judged.tasks)
        write_rows(config.target, records)
        written, what = len(records), f"records of {config.platform}"
    elif form == "completions":
        examples = file.examples()
        write_completions(config.target, examples)
        written, what = len(examples), "completions"
        lost = {
            n: c for n, c in file.counts().items() if n not in ("demonstration", "correction", f"label on {LABEL!r}")
        }
        left_out += [f"{listed(lost)}, which completions cannot hold"] if lost else []
    elif form == "judgments":
        what = form
        write_judgments(config.target, file.feedback.judgments, file.feedback)
        written = len(file.feedback.judgments)
        if any(origin.scores != (None, None) for origin in file.feedback.origins.values()):
            left_out.append("scores of chosen and rejected, whose scale is not stated")
    else:
        pairs = file.pairs(config.axis)
        write_preferences(config.target, pairs, form)
        written = len(pairs)
        left_out += _lost_in_pairs(file, config.axis)
    return Converted(
        config.judgments,
        file.form,
        file.rows,
        file.counts(),
        written,
        what,
        str(config.target),
        [*file.notes, *file.assumed],
        left_out,
        list(file.skipped),
    )


def _form_for(file: FeedbackFile) -> Literal["conversational", "judgments"]:
    """Pairs where they hold everything that the file says, judgments otherwise."""
    judgments = file.feedback.judgments
    one_axis = len({j.axis for j in judgments if isinstance(j, Comparison)}) == 1
    return "conversational" if one_axis and all(isinstance(j, Comparison) for j in judgments) else "judgments"


def _lost_in_pairs(file: FeedbackFile, axis: str) -> list[str]:
    """What pairs cannot hold of the judgments."""
    used = [j for j in file.feedback.judgments if isinstance(j, Comparison) and j.axis == file.axis(axis)]
    others = {
        what: n
        for what, n in file.counts().items()
        if not what.endswith(f" on {file.axis(axis)!r}") and what != "correction"
    }
    lost = [f"{listed(others)}, which pairs cannot hold"] if others else []
    both_bad = sum(j.verdict == "both_bad" for j in used)
    strong = sum(abs(j.strength) > 1 for j in used)
    if both_bad:
        lost.append(f"that both answers are bad, of {both_bad:,} comparisons, which are written as ties")
    if strong:
        lost.append(f"how strong {strong:,} preferences are")
    if any(not origin.chosen for origin in file.feedback.origins.values()):
        lost.append("which answer was shown first")
    return lost
