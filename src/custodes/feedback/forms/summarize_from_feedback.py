"""summarize_from_feedback (arXiv 2009.01325): two summaries of a post compared, or one rated on axes, by ``worker``."""

from __future__ import annotations

from custodes.dialogue import Messages, as_completion
from custodes.feedback.form import DatasetForm, strength_fields
from custodes.feedback.kinds.comparison import Comparison
from custodes.feedback.kinds.label import Label
from custodes.feedback.kinds.rating import Rating
from custodes.feedback.source import FeedbackRow
from custodes.registry import form
from custodes.types import Message


@form
class SummarizeFromFeedback(DatasetForm):
    """``choice`` is the better of two ``summaries``; or ``summary`` has axes from 1 to 7."""

    needs = ("info", "summaries|summary")
    uses = ("choice", "worker")

    def read(self, row: FeedbackRow) -> None:
        prompt, by = _post(row), row.annotator("worker")
        if "summaries" in row.values:
            texts = [one.get("text") if isinstance(one, dict) else one for one in row.items("summaries", 2)[:2]]
            choice = int(row.number("choice", 0, 1))
            pair = [row.answer("summaries", text) for text in texts]
            row.compare(Comparison, prompt, pair, annotator=by, **strength_fields((1, -1)[choice]))
            return
        summary = row.part("summary")
        text, axes = summary.get("text"), summary.get("axes")
        if not isinstance(text, str) or not isinstance(axes, dict):
            raise row.bad("summary", "it should hold text and axes")
        rated = (as_completion(text),)
        for axis, given in axes.items():
            if isinstance(given, bool):
                row.say(Label, prompt, rated, name=axis, value="yes" if given else "no", annotator=by)
            elif given is not None:
                row.say(Rating, prompt, rated, axis=axis, value=row.number(axis, 1, 7, given), annotator=by)


def _post(row: FeedbackRow) -> Messages:
    """What was to be summed up, as the paper shows it to a model: subreddit, title, post; or an article."""
    info = row.part("info")
    body = info.get("post") or info.get("article")
    if not isinstance(body, str):
        raise row.bad("info", "it holds neither post nor article")
    lines = [f"SUBREDDIT: r/{info['subreddit']}"] if info.get("subreddit") else []
    lines += [f"TITLE: {info['title']}"] if info.get("title") else []
    lines += [f"{'POST' if info.get('post') else 'ARTICLE'}: {body}", "TL;DR:"]
    return (Message("user", "\n\n".join(lines)),)
