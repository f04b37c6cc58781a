"""What a defence is: it changes what a model is asked, or blocks it, and never sees what was planned.

A defence is a plug-in, one file of ``audit/defences``: a dataclass of options. It may be set by benign texts before it guards.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from custodes import registry
from custodes.ranges import ranged
from custodes.types import Engine, Message


@dataclass(frozen=True, kw_only=True)
@ranged
class Defence(ABC):
    """How a model is defended: the options of one defence, and what it does."""

    name: ClassVar[str]
    source: ClassVar[str] = ""
    blocked: ClassVar[str] = "This request was blocked."
    """The reply to what is blocked."""

    def prepared(self, engine: Engine, benign: Sequence[str]) -> Defence:
        """The defence as it guards this model; ``benign`` are texts that should pass. Raises InputError."""
        return self

    @abstractmethod
    def guard(self, messages: tuple[Message, ...]) -> tuple[Message, ...] | None:
        """What the model is asked in place of ``messages``; None where it is not asked at all."""

    def facts(self) -> dict[str, Any]:
        """What it learned of benign texts: for the record."""
        return {}


def defence_of(given: Defence | str) -> Defence:
    """The defence itself, or one by its name or ``FILE.py:Name``, with its defaults. Raises InputError."""
    return given if isinstance(given, Defence) else registry.defence.make(given)  # type: ignore[no-any-return]
