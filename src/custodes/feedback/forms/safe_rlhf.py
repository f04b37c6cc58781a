"""PKU-SafeRLHF (arXiv 2406.15513): the more helpful answer, the safer one, and which are safe."""

from __future__ import annotations

from custodes.feedback.form import DatasetForm, strength_fields
from custodes.feedback.kinds.comparison import Comparison
from custodes.feedback.kinds.label import Label
from custodes.feedback.prompts import asked
from custodes.feedback.source import FeedbackRow
from custodes.registry import form


@form
class SafeRlhf(DatasetForm):
    """Comparisons on helpfulness and harmlessness, and a label ``safe`` of each answer."""

    needs = ("prompt", "response_0", "response_1", "better_response_id|safer_response_id")
    uses = ("is_response_0_safe", "is_response_1_safe")

    def read(self, row: FeedbackRow) -> None:
        prompt, pair = asked(row) or (), (row.answer("response_0"), row.answer("response_1"))
        for name, axis in (("better_response_id", "helpfulness"), ("safer_response_id", "harmlessness")):
            if name in row.values:
                said = strength_fields((1, -1)[int(row.number(name, 0, 1))])
                row.compare(Comparison, prompt, pair, axis=axis, **said)
        for name, answer in zip(self.uses, pair, strict=True):
            if name in row.values:
                row.say(Label, prompt, (answer,), name="safe", value="yes" if row.truth(name) else "no")
