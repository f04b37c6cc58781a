"""What the checkable instructions are about: the topics of ``topics.txt``.

A line there is one topic, a colon, then words by which an answer shows its topic: whole words or beginnings of words ("bak"
stands for bake, baker, baking). The first is the topic's plainest whole word.
"""

from __future__ import annotations

from dataclasses import dataclass
from importlib import resources
from typing import Literal, cast

TopicKind = Literal["explain", "scene", "advice"]
HELD_OUT_EVERY = 5  # one topic in five is kept for evaluation, whatever the seed


@dataclass(frozen=True, slots=True)
class Topic:
    """``text`` continues "Write about ..."; ``mentions`` are lower-case beginnings of words that show it."""

    text: str
    kind: TopicKind
    mentions: tuple[str, ...]
    held_out: bool


def _read(text: str) -> tuple[Topic, ...]:
    topics, kind, i = [], "", 0
    for line in filter(None, text.splitlines()):
        if line.startswith("["):
            kind, i = line.strip("[]"), 0
        else:
            name, _, mentions = line.partition(":")
            topics.append(Topic(name, cast(TopicKind, kind), tuple(mentions.split()), i % HELD_OUT_EVERY == 0))
            i += 1
    return tuple(topics)


TOPICS = _read((resources.files("custodes.environments") / "topics.txt").read_text(encoding="utf-8"))
