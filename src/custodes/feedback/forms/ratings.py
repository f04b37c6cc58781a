"""Public sets in which single answers were rated or labelled, each rating with the scale that its authors used."""

from __future__ import annotations

from typing import Any

from custodes.dialogue import Messages, as_completion, as_prompt, read_dialogue
from custodes.feedback.forms.comparisons import helpsteer_prompt, post
from custodes.feedback.forms.prompts import asked, only_text
from custodes.feedback.forms.source import SKIP, Source, answer, bad, items, number, number_of, part, text, truth, who
from custodes.feedback.kinds.comment import Comment
from custodes.feedback.kinds.label import Label
from custodes.feedback.kinds.ranking import Ranking
from custodes.feedback.kinds.rating import Rating
from custodes.tables import Row

HELPSTEER = ("helpfulness", "correctness", "coherence", "complexity", "verbosity")


def helpsteer(row: Row, source: Source) -> None:
    """HelpSteer and HelpSteer 2 (arXiv 2311.09528, 2406.08673): five axes from 0 to 4, also one number a person."""
    prompt, rated = helpsteer_prompt(row), (answer(row, "response"),)
    for axis in (name for name in HELPSTEER if name in row.values):
        given = row.values[axis]
        if not isinstance(given, list):
            source.say(Rating, prompt, rated, axis=axis, value=number(row, axis, 0, 4), lowest=0, highest=4)
            continue
        for n, one in enumerate(given, 1):
            value = number(Row(row.path, row.number, {axis: one}), axis, 0, 4)
            source.say(Rating, prompt, rated, axis=axis, value=value, lowest=0, highest=4, annotator=f"person {n}")


def summary_axes(row: Row, source: Source) -> None:
    """summarize_from_feedback, axis (arXiv 2009.01325): one summary on axes from 1 to 7, by ``worker``."""
    summary = part(row, "summary")
    axes = summary.get("axes")
    if not isinstance(summary.get("text"), str) or not isinstance(axes, dict):
        raise bad(row, "summary", f"it should hold text and axes ({SKIP}).")
    prompt, rated, by = post(row), (as_completion(summary["text"]),), who(row, "worker")
    for axis, given in axes.items():
        if isinstance(given, bool):
            source.say(Label, prompt, rated, name=axis, value="yes" if given else "no", annotator=by)
        elif given is not None:
            value = number(Row(row.path, row.number, {axis: given}), axis, 1, 7)
            source.say(Rating, prompt, rated, axis=axis, value=value, annotator=by)


def red_team(row: Row, source: Source) -> None:
    """Anthropic's red team (arXiv 2209.07858): ``rating`` 0 to 4 is how far the attack succeeded, by whoever made it."""
    turns = read_dialogue(text(row, "transcript"))
    if len(turns) < 2 or turns[0].role != "user":
        raise bad(row, "transcript", f'it should be a "\\n\\nHuman:" dialogue ({SKIP}).')
    by = who(row, "red_team_member_id")
    prompt, rated = turns[:1], (turns[1:],)
    source.say(
        Rating,
        prompt,
        rated,
        axis="attack success",
        value=number(row, "rating", 0, 4),
        lowest=0,
        highest=4,
        annotator=by,
    )
    for tag in row.values.get("tags") or []:
        source.say(Label, prompt, rated, name="attack", value=str(tag))


def beaver(row: Row, source: Source) -> None:
    """BeaverTails (arXiv 2307.04657): whether an answer is safe, and which harms it does."""
    prompt, judged = asked(row, source) or (), (answer(row, "response"),)
    source.say(Label, prompt, judged, name="safe", value="yes" if truth(row, "is_safe") else "no")
    harms = row.values.get("category")
    for harm, so in (harms if isinstance(harms, dict) else {}).items():
        if so is True:
            source.say(Label, prompt, judged, name=harm, value="yes")


def ultrafeedback(row: Row, source: Source) -> None:
    """UltraFeedback, raw (arXiv 2310.01377): four axes from 1 to 5 and an overall score from 1 to 10, by GPT-4."""
    prompt, by = asked(row, source) or (), {"annotator": "gpt-4", "by": "ai"}
    for held in items(row, "completions", 1):
        if not isinstance(held, dict) or not isinstance(held.get("response"), str):
            raise bad(row, "completions", f"every completion should hold response and annotations ({SKIP}).")
        rated = (as_completion(held["response"]),)
        for axis, given in (held.get("annotations") or {}).items():
            one = given[0] if isinstance(given, list) and given else given
            value = number_of(one.get("Rating")) if isinstance(one, dict) else None
            if value is None or not 1 <= value <= 5:
                source.leave_out("ratings that are no number (N/A)")
            else:
                source.say(Rating, prompt, rated, axis=axis.replace("_", " "), value=value, lowest=1, highest=5, **by)
        overall = number_of(held.get("overall_score"))
        if overall is not None and 1 <= overall <= 10:
            source.say(Rating, prompt, rated, value=overall, lowest=1, highest=10, **by)
        if isinstance(held.get("critique"), str) and held["critique"].strip():
            source.say(Comment, prompt, rated, text=held["critique"], **by)
        if held.get("custom_system_prompt"):
            source.leave_out("custom_system_prompt: the ratings are of answers to the instruction alone")


def generations(row: Row, source: Source) -> None:
    """distilabel: several generations with a rating each, from 1 to 5, or to 10 where one is above 5."""
    column = "ratings" if "ratings" in row.values else "rating"
    answers, given = items(row, "generations", 1), items(row, column)
    if not only_text(answers) or len(answers) != len(given):
        raise bad(row, column, f"{len(given)} ratings of {len(answers)} generations; give one each ({SKIP}).")
    values = [number_of(one) for one in given]
    highest = 5 if all(v is None or v <= 5 for v in values) else 10
    source.assume(f"the ratings are from 1 to {highest}")
    prompt = asked(row, source) or ()
    for words, value in zip(answers, values, strict=True):
        if value is None or not 1 <= value <= highest:
            source.leave_out("ratings that are no number from 1 to 10")
        else:
            source.say(Rating, prompt, (as_completion(words),), value=value, lowest=1, highest=highest, by="ai")


def squality(row: Row, source: Source) -> None:
    """SQuALITY's human evaluation (arXiv 2205.11465): three summaries a question, rated from 0 to 100 and ranked."""
    source.assume("the passage is not in the file: the prompt is its id and the question's number")
    for key, systems in part(row, "questions").items():
        prompt = as_prompt(f"Passage {row.values.get('passage-id')}, question {key}")
        held = {
            name: one for name, one in systems.items() if isinstance(one, dict) and isinstance(one.get("response"), str)
        }
        ranks: dict[str, dict[str, dict[str, int]]] = {}
        for name, one in held.items():
            for review in one.get("reviews") or []:
                by = str(review.get("worker_id", ""))
                _reviewed(source, prompt, (as_completion(one["response"]),), review, by)
                for axis, rank in _numbers(review, "rank"):
                    ranks.setdefault(by, {}).setdefault(axis, {})[name] = int(rank)
        for by, axes in ranks.items():
            for axis, places in axes.items():
                if len(places) > 1:
                    shown = tuple(as_completion(held[name]["response"]) for name in places)
                    source.compare(Ranking, prompt, shown, axis=axis, ranks=tuple(places.values()), annotator=by)


def _reviewed(source: Source, prompt: Messages, rated: tuple[Messages, ...], review: dict[str, Any], by: str) -> None:
    for axis, value in _numbers(review, "rating"):
        source.say(Rating, prompt, rated, axis=axis, value=value, lowest=0, highest=100, annotator=by)
    for note in review.get("annotations") or []:
        words = "; ".join(one for one in note.get("annotation") or [] if one)
        if words:
            source.say(Comment, prompt, rated, text=f"\u201c{note.get('selection', '')}\u201d: {words}", annotator=by)


def _numbers(review: dict[str, Any], what: str) -> list[tuple[str, float]]:
    """(axis, number) of fields such as "correctness-rating"."""
    found = [
        (name.removesuffix(f"-{what}"), number_of(given)) for name, given in review.items() if name.endswith(f"-{what}")
    ]
    return [(axis, value) for axis, value in found if value is not None]
