"""Comments become ratings by a rubric: what ``custodes feedback comments`` does."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from custodes.feedback.comments import RatedComments, rate_comments
from custodes.feedback.kinds.comment import Comment
from custodes.feedback.reading import JudgmentsOptions, hash_of
from custodes.feedback.records import write_judgments
from custodes.feedback.rubric import load_rubric
from custodes.job.command import command
from custodes.job.invocation import begin
from custodes.job.options import Output
from custodes.job.parts import Parts
from custodes.lm.address import open_engine
from custodes.types import InputError


@dataclass(frozen=True, kw_only=True)
class FeedbackComments(JudgmentsOptions):
    """Turn what people wrote about answers into ratings by each principle of a rubric; a language model reads the comments."""

    rubric: Path
    """YAML file with the principles by which a judge grades."""
    out: Output
    """File for all judgments, the comments among them, and the ratings: .jsonl, .json or .parquet."""
    model: str = "smollm2-135m"
    """The reader: an embedded model, a folder, a .gguf file, a hub id, or endpoint:URL#MODEL."""
    annotator: str = "comment reader"
    """Id of the annotator."""


@dataclass(frozen=True, slots=True)
class CommentsRead:
    """What became of a file's comments."""

    comments: int
    rated: RatedComments
    out: Path

    def to_dict(self) -> dict[str, Any]:
        rated = self.rated
        return {
            "comments": self.comments,
            "ratings": len(rated.ratings),
            "silent": rated.silent,
            "unread": rated.unread,
        }

    def __str__(self) -> str:
        rated = self.rated
        return (
            f"{self.comments:,} comments became {len(rated.ratings):,} ratings, in {self.out}. In {rated.silent:,} cases a comment "
            f"says nothing about a principle; {rated.unread:,} replies held no number."
        )


@command(resumes=True)
def feedback_comments(config: FeedbackComments) -> CommentsRead:
    """Turn comments into ratings by a rubric, for `reward train`.

    Replies are kept in ``OUT.parts``; the same command again asks for those that are missing. Raises InputError for a file
    without a comment on an answer that it holds.
    """
    rubric, file = load_rubric(config.rubric), config.read()
    file.warn()
    held = file.feedback
    comments = [j for j in held.judgments if isinstance(j, Comment) and set(j.episodes) & held.episodes.keys()]
    if not comments:
        raise InputError(f"{config.judgments} holds no comment on an answer; there is nothing to read.")
    engine = open_engine("torch", config.model, "--model")
    shown = [(comment, held.episodes[comment.episodes[0]]) for comment in comments]
    decides = {"judgments": hash_of(config.judgments), "model": config.model, "rubric": rubric.model_dump(mode="json")}
    with Parts.open(config.out, decides) as parts:
        rated = rate_comments(engine, shown, rubric, config.annotator, parts=parts)
    held.annotators[rated.annotator.id] = rated.annotator
    write_judgments(config.out, [*held.judgments, *rated.ratings], held)
    if (recording := begin()) is not None:
        recording.ledger.write(
            recording.run, [*held.annotators.values(), *held.tasks.values(), *held.episodes.values()]
        )
        recording.ledger.write(recording.run, [*comments, *rated.ratings])
    return CommentsRead(len(comments), rated, config.out)
