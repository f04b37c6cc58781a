"""An AI annotator over a file of pairs: what ``custodes feedback judge`` does."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from custodes.feedback.ai import AIJudgments, PeopleAgreement, agreement_with_people, judge_with_ai
from custodes.feedback.kinds.comparison import Comparison
from custodes.feedback.leanings import judge_leanings
from custodes.feedback.reading import JudgmentsOptions, hash_of
from custodes.feedback.records import write_judgments
from custodes.feedback.rubric import load_rubric
from custodes.job.command import command
from custodes.job.invocation import begin
from custodes.job.options import Output
from custodes.job.parts import Parts
from custodes.ledger import Evaluation
from custodes.lm.address import ENDPOINT, open_engine
from custodes.lm.choices import mean_log_likelihood
from custodes.lm.engine import TorchEngine
from custodes.stats import Interval
from custodes.types import Engine, Episode, InputError


@dataclass(frozen=True, kw_only=True)
class FeedbackJudge(JudgmentsOptions):
    """An AI annotator: compares the two answers of every row by each principle of a rubric, in both orders.

    Says how far it leans to what is shown first, and how far it agrees with the people of the file.
    """

    rubric: Path
    """YAML file with the principles by which a judge grades."""
    out: Output
    """Judgments to write: .jsonl, .json or .parquet."""
    model: str = "smollm2-135m"
    """The judge: an embedded model, a folder, a .gguf file, a hub id, endpoint:URL#MODEL, or the model's name at --endpoint."""
    endpoint: str = ""
    """Address of an OpenAI-compatible server, up to and including /v1."""
    annotator: str = "ai"
    """Id of the annotator."""


LEANINGS = {
    "length": "answers e times as long (log-odds)",
    "own style": "answers it finds e times as likely a token (log-odds)",
}


@dataclass(frozen=True, slots=True)
class FileJudged:
    """What the AI annotator said of the pairs of a file, and how far it agrees with the file's people."""

    pairs: int
    said: AIJudgments
    agreed: PeopleAgreement | None
    leanings: dict[str, Interval]
    """Log-odds by which the judge leans to longer answers, and to its own style, more than the people of the file do."""
    out: Path

    def to_dict(self) -> dict[str, Any]:
        return {
            "pairs": self.pairs,
            "judgments": len(self.said.judgments),
            "unread": self.said.unread,
            "position_bias": self.said.position_bias.to_dict(),
            "consistent": self.said.consistent.to_dict(),
            "agreement_with_people": self.agreed.with_people.to_dict() if self.agreed else None,
            "agreement_among_people": self.agreed.among_people.to_dict() if self.agreed else None,
            "leanings": {what: leaning.to_dict() for what, leaning in self.leanings.items()},
        }

    def __str__(self) -> str:
        said, agreed = self.said, "It gave no overall judgment that could be held against the people's."
        if self.agreed:
            them = f"they with each other: {self.agreed.among_people}"
            agreed = f"Agrees with the people of the file: {self.agreed.with_people}; {them}."
        more = "".join(
            f"\nLeaning to {LEANINGS[what]}, beyond the people's: {found}." for what, found in self.leanings.items()
        )
        return (
            f"{self.pairs:,} pairs, {len(said.judgments):,} judgments in {self.out}; {said.unread:,} replies held no score.\n"
            f"Leaning to what is shown first (-3..3): {said.position_bias}.\n"
            f"The two orders agree: {said.consistent}.\n{agreed}{more}"
        )


@command(resumes=True)
def feedback_judge(config: FeedbackJudge) -> FileJudged:
    """Let a language model judge pairs by a rubric, in both orders.

    Replies are kept in ``OUT.parts``; the same command again asks for those that are missing.
    The run that is being recorded gets the pairs, the judgments, and how good they were found to be.
    """
    rubric = load_rubric(config.rubric)
    file = config.read()
    file.warn()
    feedback, episodes = file.feedback, file.feedback.episodes
    compared = [j for j in feedback.judgments if isinstance(j, Comparison) and set(j.episodes) <= episodes.keys()]
    pairs = list(dict.fromkeys((min(j.episodes), max(j.episodes)) for j in compared))
    if not pairs:
        raise InputError(f"{config.judgments} holds no comparison with its texts; there is nothing to judge.")
    model = f"{ENDPOINT}{config.endpoint}#{config.model}" if config.endpoint else config.model
    engine = open_engine("torch", model, "--model")
    shown = [(episodes[a], episodes[b]) for a, b in pairs]
    decides = {"judgments": hash_of(config.judgments), "model": model, "rubric": rubric.model_dump(mode="json")}
    with Parts.open(config.out, decides) as parts:
        said = judge_with_ai(engine, shown, rubric, config.annotator, parts=parts)
        own = _own_style(engine, {id: episodes[id] for pair in pairs for id in pair}, parts)
    feedback.annotators[said.annotator.id] = said.annotator
    write_judgments(config.out, said.judgments, feedback)
    try:
        agreed = agreement_with_people(said.judgments, feedback.judgments)
    except InputError:
        agreed = None
    leanings = judge_leanings(said.annotator.id, [*said.judgments, *feedback.judgments], episodes, own)
    judged = FileJudged(len(pairs), said, agreed, leanings, config.out)
    if (recording := begin()) is not None:
        told = judged.to_dict() | {"rubric": rubric.model_dump(mode="json")}
        measured = Evaluation("ai_annotator", "ai_annotator", said.annotator.id, told, len(pairs))
        recording.ledger.write(recording.run, [*feedback.tasks.values(), *feedback.episodes.values()])
        recording.ledger.write(recording.run, [said.annotator, *said.judgments, measured])
    return judged


def _own_style(engine: Engine, episodes: Mapping[str, Episode], parts: Parts) -> dict[str, float] | None:
    """How likely the judge itself finds each answer, nats a token; None where its engine does not say."""
    if not isinstance(engine, TorchEngine):
        return None
    asked = {f"own {id}": episode for id, episode in episodes.items()}
    values = parts.answers(asked, lambda some: mean_log_likelihood(engine, some).tolist(), "Reading for its own style")
    return dict(zip(episodes, values, strict=True))
