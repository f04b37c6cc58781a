"""The command of AI annotators."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import tyro

from custodes.cli.options import parse
from custodes.cli.words import print_json
from custodes.types import Comparison, Engine, InputError

if TYPE_CHECKING:
    from custodes.feedback.ai import AIJudgments
    from custodes.feedback.exchange import Feedback

File = Annotated[str, tyro.conf.arg(metavar="FILE")]


def judge(given: list[str]) -> int:
    """Let a language model judge pairs by a rubric, in both orders."""
    from custodes.feedback import read_feedback, write_judgments
    from custodes.feedback.ai import agreement_with_people, judge_with_ai
    from custodes.feedback.rubric import load_rubric

    @dataclass(frozen=True, kw_only=True)
    class Options:
        """An AI annotator: compares the two answers of every row by each principle of a rubric, in both orders.

        Says how far it leans to what is shown first, and how far it agrees with the people of the file.
        """

        judgments: tyro.conf.Positional[File]
        """Comparisons in any form: a table, a folder of shards, a hub id, or a ledger."""
        rubric: Path
        """YAML file with the principles (docs/how-to/ai-annotators.md)."""
        out: Path
        """Judgments to write: .jsonl, .json or .parquet."""
        model: str = "smollm2-135m"
        """The judge: an embedded model, a folder, a .gguf file, a hub id, or the model's name at an endpoint."""
        endpoint: str = ""
        """Address of an OpenAI-compatible server, up to and including /v1."""
        name: str = "ai"
        """Id of the annotator."""
        skip_bad_rows: bool = False
        """Leave out rows that cannot be used; how many is said."""
        json: bool = False
        """Print one JSON object."""

    options = parse("judge", Options, given)
    rubric = load_rubric(options.rubric)
    file = read_feedback(options.judgments, skip_bad_rows=options.skip_bad_rows)
    file.warn()
    feedback, episodes = file.feedback, file.feedback.episodes
    compared = [j for j in feedback.judgments if isinstance(j, Comparison) and set(j.episodes) <= episodes.keys()]
    pairs = list(dict.fromkeys((min(j.episodes), max(j.episodes)) for j in compared))
    if not pairs:
        raise InputError(f"{options.judgments} holds no comparison with its texts; there is nothing to judge.")
    found = judge_with_ai(
        engine_of(options.model, options.endpoint), [(episodes[a], episodes[b]) for a, b in pairs], rubric, options.name
    )
    feedback.annotators[found.annotator.id] = found.annotator
    write_judgments(options.out, found.judgments, feedback)
    try:
        agreed = agreement_with_people(found.judgments, feedback.judgments)
    except InputError:
        agreed = None
    told = {
        "pairs": len(pairs),
        "judgments": len(found.judgments),
        "unread": found.unread,
        "position_bias": found.position_bias.to_dict(),
        "consistent": found.consistent.to_dict(),
        "agreement_with_people": agreed.with_people.to_dict() if agreed else None,
        "agreement_among_people": agreed.among_people.to_dict() if agreed else None,
    }
    record(found, feedback, told | {"rubric": rubric.model_dump(mode="json")})
    if options.json:
        print_json(told)
        return 0
    print(
        f"{len(pairs):,} pairs, {len(found.judgments):,} judgments in {options.out}; {found.unread:,} replies held no score."
    )
    print(f"Leaning to what is shown first (-3..3): {found.position_bias}.")
    print(f"The two orders agree: {found.consistent}.")
    if agreed:
        print(f"Agrees with the people of the file: {agreed.with_people}; they with each other: {agreed.among_people}.")
    else:
        print("It gave no overall judgment that could be held against the people's.")
    return 0


def engine_of(model: str, endpoint: str) -> Engine:
    """The engine that answers."""
    if endpoint:
        from custodes.lm.endpoint import EndpointEngine

        return EndpointEngine(endpoint, model)
    from custodes.lm import TorchEngine, load

    return TorchEngine(load(model))


def record(found: "AIJudgments", feedback: "Feedback", told: dict[str, Any]) -> None:
    """In the command's run: the pairs, the judgments, and how good they were found to be."""
    from custodes.job.recording import begin
    from custodes.ledger import Evaluation

    if (recording := begin()) is None:
        return
    measured = Evaluation("ai_annotator", "ai_annotator", found.annotator.id, told, told["pairs"])
    recording.ledger.write(recording.run, [*feedback.tasks.values(), *feedback.episodes.values()])
    recording.ledger.write(recording.run, [found.annotator, *found.judgments, measured])
