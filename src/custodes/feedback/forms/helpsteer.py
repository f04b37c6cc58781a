"""HelpSteer 1, 2 and 3 (arXiv 2311.09528, 2406.08673, 2505.11475): answers rated on five axes, or two compared."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from custodes.dialogue import Messages
from custodes.feedback.form import DatasetForm, strength_in
from custodes.feedback.kinds.comparison import Comparison
from custodes.feedback.kinds.rating import Rating
from custodes.feedback.prompts import asked
from custodes.feedback.source import FeedbackRow
from custodes.registry import form
from custodes.types import Message

AXES = ("helpfulness", "correctness", "coherence", "complexity", "verbosity")
PAIRS = (("response_1", "response_2", "preference_strength"), ("response1", "response2", "overall_preference"))


@form
class HelpSteer(DatasetForm):
    """Axes from 0 to 4, one number or one a person; or a strength from -3 to 3, below 0 where the first is better."""

    needs = ("prompt|context", "response|response_1|response1", "helpfulness|preference_strength|overall_preference")
    uses = (*AXES, *PAIRS[0], *PAIRS[1])

    def holds(self, values: Mapping[str, Any]) -> bool:
        rated = all(name in values for name in ("prompt", "response", *AXES[:2]))
        return rated or any(all(name in values for name in pair) for pair in PAIRS)

    def read(self, row: FeedbackRow) -> None:
        for first, second, column in PAIRS:
            if column in row.values:
                prompt = _turns(row) if "context" not in row.values else asked(row) or ()
                pair, said = (row.answer(first), row.answer(second)), strength_in(row, column)
                row.compare(Comparison, prompt, pair, **said)
                return
        prompt, rated = _turns(row), (row.answer("response"),)
        for axis in (name for name in AXES if name in row.values):
            given = row.values[axis]
            for n, one in enumerate(given if isinstance(given, list) else [given], 1):
                by = f"person {n}" if isinstance(given, list) else ""
                value = row.number(axis, 0, 4, one)
                row.say(Rating, prompt, rated, axis=axis, value=value, lowest=0, highest=4, annotator=by)


def _turns(row: FeedbackRow) -> Messages:
    """The prompt; later turns stand behind "<extra_id_1>User" and "<extra_id_1>Assistant"."""
    first, *later = row.text("prompt").split("<extra_id_1>")
    turns = [Message("user", first.strip())]
    for turn in later:
        speaker, _, text = turn.partition("\n")
        turns.append(Message("assistant" if speaker.strip() == "Assistant" else "user", text.strip()))
    return tuple(turns)
