"""What is measured of exchanged facts, fact by fact."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal

from custodes.audit.rows import Row

Arm = Literal["before", "alone", "together"]
"""The model as it was, with one fact exchanged, and with all."""


@dataclass(frozen=True, kw_only=True)
class EditSet(Row):
    """How facts were exchanged; ``subject`` is the model."""

    NAME: ClassVar[str] = "edit_set"

    model: str
    layer: int
    layers: int
    tried: dict[str, float]
    """What layers were worth on other facts, where one was chosen: P(new) in its own and in other words less four times what
    neighbours moved."""
    source: str
    tokens: int
    """Tokens of text over which keys were counted."""
    options: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class EditedFact(Row):
    """Probabilities of answers to what is asked about one fact; ``subject`` of the row is the arm."""

    NAME: ClassVar[str] = "edited_fact"

    number: int
    prompt: str
    subject: str
    new_answer: str
    old_answer: str
    new: float
    old: float | None
    paraphrases: list[float]
    """P(the new answer) where the same is asked in other words."""
    neighbours: list[float]
    """P(the right answer) to questions about others."""
