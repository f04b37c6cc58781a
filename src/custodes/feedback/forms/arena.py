"""LMSYS Chatbot Arena (also its 55k rows) and MT-bench: two conversations side by side, and which won."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from custodes.dialogue import Messages, as_completion, exchanges, from_json
from custodes.feedback.form import WINNERS, DatasetForm, winner_fields
from custodes.feedback.kinds.comparison import Comparison
from custodes.feedback.prompts import shared_turns
from custodes.feedback.source import FeedbackRow
from custodes.registry import form

FLAGS = ("winner_model_a", "winner_model_b", "winner_tie")


@form
class Arena(DatasetForm):
    """``conversation_a`` and ``_b`` with ``winner``; or lists of turns in JSON, and a column 0 or 1 for each outcome."""

    needs = ("conversation_a|response_a", "conversation_b|response_b", f"winner|{'|'.join(FLAGS)}")
    uses = ("judge", "prompt", *FLAGS)

    def holds(self, values: Mapping[str, Any]) -> bool:
        conversations = all(name in values for name in ("conversation_a", "conversation_b", "winner"))
        return conversations or all(name in values for name in ("prompt", "response_a", "response_b", *FLAGS))

    def read(self, row: FeedbackRow) -> None:
        if "conversation_a" in row.values:
            prompt, pair = _parted(row, *(row.answer(name) for name in ("conversation_a", "conversation_b")))
            by = row.annotator("judge", "annotator", "user_id")
            kind = {"by": "ai"} if by.startswith("gpt") else {}  # MT-bench's other judges are models
            row.compare(Comparison, prompt, pair, annotator=by, **winner_fields(row, "winner"), **kind)
            return
        prompts, sides = _turns(row, "prompt"), [_turns(row, name) for name in ("response_a", "response_b")]
        won = [name.removeprefix("winner_") for name in FLAGS if row.truth(name)]
        if len(won) != 1 or len({len(prompts), *map(len, sides)}) != 1:
            raise row.bad("winner_tie", "one outcome is 1 and there is one answer to each prompt")
        prompt, pair = _parted(row, *(exchanges(prompts, side) for side in sides))
        row.assume("the arena's people are not named")
        row.compare(Comparison, prompt, pair, **WINNERS[won[0]])


def _parted(row: FeedbackRow, *conversations: Messages) -> tuple[Messages, list[Messages]]:
    """The prompt that two conversations share, and where they part."""
    sides = [as_completion(one) for one in conversations]
    if not all(side and side[-1].role == "assistant" for side in sides):
        raise row.wrong("a conversation should end with a message of the assistant")
    shared = shared_turns(sides)
    if not shared:
        raise row.wrong("the two conversations begin with different prompts")
    return sides[0][:shared], [side[shared:] for side in sides]


def _turns(row: FeedbackRow, name: str) -> list[str]:
    given = row.values.get(name)
    given = from_json(given) if isinstance(given, str) else given
    if isinstance(given, str):
        return [given]
    if not isinstance(given, list) or not all(one is None or isinstance(one, str) for one in given):
        raise row.bad(name, "it should be a list of texts")
    return [one or "" for one in given]
