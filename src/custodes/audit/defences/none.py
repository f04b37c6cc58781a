"""No defence: the model as it is."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from custodes.audit.defence import Defence
from custodes.registry import defence
from custodes.types import Message


@defence
@dataclass(frozen=True, kw_only=True)
class Undefended(Defence):
    """Asks the model what the attacker asks."""

    name: ClassVar[str] = "none"

    def guard(self, messages: tuple[Message, ...]) -> tuple[Message, ...]:
        return messages
