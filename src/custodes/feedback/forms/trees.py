"""OpenAssistant (arXiv 2304.07327): conversations as trees, whole or as one row a message; rank 0 is the best reply."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from custodes.dialogue import ROLES, Messages
from custodes.feedback.forms.source import SKIP, Source, bad, part
from custodes.feedback.kinds.demonstration import Demonstration
from custodes.feedback.kinds.ranking import Ranking
from custodes.feedback.kinds.rating import Rating
from custodes.tables import Row
from custodes.types import Message

Node = dict[str, Any]


def tree(row: Row, source: Source) -> None:
    """One tree: ``prompt`` holds its root, and each message its ``replies``."""
    _replies(row, source, (), part(row, "prompt"))


def tree_rows(rows: Sequence[Row]) -> list[Row]:
    """The trees of a table with one row a message, by ``parent_id``; each at the place of its root."""
    nodes: dict[str, Node] = {str(row.values.get("message_id")): {**row.values, "replies": []} for row in rows}
    roots = []
    for row in rows:
        node, parent = nodes[str(row.values.get("message_id"))], row.values.get("parent_id")
        if parent is None:
            roots.append(
                Row(row.path, row.number, {"message_tree_id": row.values.get("message_tree_id"), "prompt": node})
            )
        elif str(parent) in nodes:
            nodes[str(parent)]["replies"].append(node)
        else:
            raise bad(row, "parent_id", f"no row has the message {parent} ({SKIP}).")
    return roots


def _replies(row: Row, source: Source, before: Messages, node: Node) -> None:
    said = (*before, _message(row, node))
    replies = [reply for reply in node.get("replies") or [] if not reply.get("deleted")]
    answers = [reply for reply in replies if ROLES.get(str(reply.get("role"))) == "assistant"]
    texts = [(_message(row, reply),) for reply in answers]
    ranked = [n for n, reply in enumerate(answers) if isinstance(reply.get("rank"), int | float)]
    if len(ranked) > 1:
        ranks = tuple(int(answers[n]["rank"]) + 1 for n in ranked)
        source.compare(Ranking, said, [texts[n] for n in ranked], ranks=ranks)
    for reply, words in zip(answers, texts, strict=True):
        best = reply.get("rank") == 0 or (len(answers) == 1 and reply.get("review_result") is not False)
        if best and not reply.get("synthetic"):
            source.say(Demonstration, said, (), text=words[0].content, annotator=str(reply.get("user_id") or ""))
        for name, value in _labels(reply.get("labels")):
            source.say(Rating, said, (words,), axis=name, value=value, lowest=0, highest=1)
    for reply in replies:
        _replies(row, source, said, reply)


def _message(row: Row, node: Node) -> Message:
    role, words = ROLES.get(str(node.get("role"))), node.get("text")
    if role is None or not isinstance(words, str):
        raise bad(row, "prompt", f"message {node.get('message_id')} has no role or no text ({SKIP}).")
    return Message(role, words)


def _labels(labels: Any) -> list[tuple[str, float]]:
    """(name, mean of several people from 0 to 1), from an object by name or from columns side by side."""
    if not isinstance(labels, dict):
        return []
    if isinstance(labels.get("name"), list):
        pairs = list(zip(labels["name"], labels.get("value") or [], strict=False))
    else:
        pairs = [(name, one.get("value")) for name, one in labels.items() if isinstance(one, dict)]
    return [(str(name), float(value)) for name, value in pairs if isinstance(value, int | float) and 0 <= value <= 1]
