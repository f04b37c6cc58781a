"""OpenAssistant (arXiv 2304.07327): conversations as trees, whole or as one row a message; rank 0 is the best reply."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from custodes.dialogue import ROLES, Messages
from custodes.feedback.form import DatasetForm
from custodes.feedback.kinds.demonstration import Demonstration
from custodes.feedback.kinds.ranking import Ranking
from custodes.feedback.kinds.rating import Rating
from custodes.feedback.source import SKIP, FeedbackRow
from custodes.registry import form
from custodes.tables import TableRow
from custodes.types import InputError, Message

Node = dict[str, Any]


@form
class OpenAssistant(DatasetForm):
    """``prompt`` holds a tree's root, and each message its ``replies``; or rows belong together by ``parent_id``."""

    needs = ("message_tree_id", "prompt|message_id")
    uses = ("text", "role", "parent_id", "rank", "labels", "user_id", "deleted", "synthetic", "review_result")

    def holds(self, values: Mapping[str, Any]) -> bool:
        return isinstance(values.get("prompt"), dict) or all(name in values for name in ("message_id", "text", "role"))

    def prepare(self, rows: Sequence[TableRow]) -> list[TableRow]:
        """The trees of a table with one row a message, each at the place of its root."""
        if any(isinstance(row.values.get("prompt"), dict) for row in rows):
            return list(rows)
        nodes: dict[str, Node] = {str(row.values.get("message_id")): {**row.values, "replies": []} for row in rows}
        roots = []
        for row in rows:
            node, parent = nodes[str(row.values.get("message_id"))], row.values.get("parent_id")
            if parent is None:
                roots.append(TableRow(row.path, row.number, {"prompt": node}))
            elif str(parent) in nodes:
                nodes[str(parent)]["replies"].append(node)
            else:
                raise InputError(f"{row.place}, field 'parent_id': no row has the message {parent} ({SKIP}).")
        return roots

    def read(self, row: FeedbackRow) -> None:
        _replies(row, (), row.part("prompt"))


def _replies(row: FeedbackRow, before: Messages, node: Node) -> None:
    prompt = (*before, _message(row, node))
    replies = [reply for reply in node.get("replies") or [] if not reply.get("deleted")]
    answers = [reply for reply in replies if ROLES.get(str(reply.get("role"))) == "assistant"]
    texts = [(_message(row, reply),) for reply in answers]
    ranked = [n for n, reply in enumerate(answers) if isinstance(reply.get("rank"), int | float)]
    if len(ranked) > 1:
        ranks = tuple(int(answers[n]["rank"]) + 1 for n in ranked)
        row.compare(Ranking, prompt, [texts[n] for n in ranked], ranks=ranks)
    for reply, answer in zip(answers, texts, strict=True):
        best = reply.get("rank") == 0 or (len(answers) == 1 and reply.get("review_result") is not False)
        if best and not reply.get("synthetic"):
            row.say(Demonstration, prompt, (), text=answer[0].content, annotator=str(reply.get("user_id") or ""))
        for name, value in _labels(reply.get("labels")):
            row.say(Rating, prompt, (answer,), axis=name, value=value, lowest=0, highest=1)
    for reply in replies:
        _replies(row, prompt, reply)


def _message(row: FeedbackRow, node: Node) -> Message:
    role, text = ROLES.get(str(node.get("role"))), node.get("text")
    if role is None or not isinstance(text, str):
        raise row.bad("prompt", f"message {node.get('message_id')} has no role or no text")
    return Message(role, text)


def _labels(labels: Any) -> list[tuple[str, float]]:
    """(name, mean of several people from 0 to 1), from an object by name or from columns side by side."""
    if not isinstance(labels, dict):
        return []
    if isinstance(labels.get("name"), list):
        pairs = list(zip(labels["name"], labels.get("value") or [], strict=False))
    else:
        pairs = [(name, one.get("value")) for name, one in labels.items() if isinstance(one, dict)]
    return [(str(name), float(value)) for name, value in pairs if isinstance(value, int | float) and 0 <= value <= 1]
