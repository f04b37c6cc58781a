"""SQuALITY's human evaluation (arXiv 2205.11465): three summaries a question, rated from 0 to 100 and ranked."""

from __future__ import annotations

from typing import Any

from custodes.dialogue import as_completion, as_prompt
from custodes.feedback.form import DatasetForm
from custodes.feedback.kinds.comment import Comment
from custodes.feedback.kinds.ranking import Ranking
from custodes.feedback.kinds.rating import Rating
from custodes.feedback.source import FeedbackRow, number_of
from custodes.registry import form


@form
class Squality(DatasetForm):
    """``questions`` hold each system's response with its reviews: ratings, ranks, and marked passages."""

    needs = ("passage-id", "questions")

    def read(self, row: FeedbackRow) -> None:
        row.assume("the passage is not in the file: the prompt is its id and the question's number")
        for key, systems in row.part("questions").items():
            prompt = as_prompt(f"Passage {row.values.get('passage-id')}, question {key}")
            held = {n: s for n, s in systems.items() if isinstance(s, dict) and isinstance(s.get("response"), str)}
            summaries = {name: as_completion(one["response"]) for name, one in held.items()}
            ranks: dict[tuple[str, str], dict[str, int]] = {}  # (annotator, axis) -> system -> rank
            for name, review in ((name, r) for name, one in held.items() for r in one.get("reviews") or []):
                by, rated = str(review.get("worker_id", "")), (summaries[name],)
                for axis, value in _numbers(review, "rating"):
                    row.say(Rating, prompt, rated, axis=axis, value=value, lowest=0, highest=100, annotator=by)
                for note in review.get("annotations") or []:
                    if words := "; ".join(one for one in note.get("annotation") or [] if one):
                        text = f"\u201c{note.get('selection', '')}\u201d: {words}"
                        row.say(Comment, prompt, rated, text=text, annotator=by)
                for axis, rank in _numbers(review, "rank"):
                    ranks.setdefault((by, axis), {})[name] = int(rank)
            for (by, axis), places in ranks.items():
                if len(places) > 1:
                    shown = tuple(summaries[name] for name in places)
                    row.compare(Ranking, prompt, shown, axis=axis, ranks=tuple(places.values()), annotator=by)


def _numbers(review: dict[str, Any], what: str) -> list[tuple[str, float]]:
    """(axis, number) of fields such as "correctness-rating"."""
    found = ((name, number_of(given)) for name, given in review.items() if name.endswith(f"-{what}"))
    return [(name.removesuffix(f"-{what}"), value) for name, value in found if value is not None]
