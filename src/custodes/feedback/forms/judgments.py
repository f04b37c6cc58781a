"""What this project writes itself: judgments, with or without the texts that were judged."""

from __future__ import annotations

from custodes.dialogue import Messages
from custodes.feedback.collection import Feedback, Origin
from custodes.feedback.form import DatasetForm
from custodes.feedback.records import read_judgment
from custodes.feedback.source import FeedbackRow
from custodes.registry import form
from custodes.tables import TableRow


@form
class OwnJudgments(DatasetForm):
    """Judgments as ``write_judgments`` writes them; ``prompt`` and ``answers`` hold the texts."""

    needs = ("kind", "task", "annotator")
    rank = 0

    def read(self, row: FeedbackRow) -> None:
        judgment = read_judgment(TableRow(row.row.path, row.row.number, {name: row.value(name) for name in row.values}))
        whole = "prompt" in row.values and (not judgment.episodes or "answers" in row.values)  # else ids only
        prompt = self._messages(row, "prompt", row.value("prompt")) if whole else ()
        given = row.items("answers") if whole and judgment.episodes else []
        answers = [self._messages(row, "answers", one) for one in given]
        if whole and len(answers) != len(judgment.episodes):
            raise row.bad("answers", f"{len(answers)} of {len(judgment.episodes)} episodes")
        by, origin = row.values.get("annotator_kind", "human"), Origin(row.row.place, row.row.number)

        def take(feedback: Feedback) -> None:
            if prompt or answers:
                task = feedback.task(prompt, judgment.task)
                for id, one in zip(judgment.episodes, answers, strict=True):
                    feedback.episode(task, one, id)
            feedback.annotator(judgment.annotator, by)
            feedback.judgments.append(judgment)
            feedback.origins[judgment.id] = origin

        row.statements.append(take)

    @staticmethod
    def _messages(row: FeedbackRow, name: str, given: object) -> Messages:
        messages = row.content(name, given)
        if isinstance(messages, str):
            raise row.bad(name, "found text; it should be a list of messages")
        return messages
