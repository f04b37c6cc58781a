"""Which critic reviews: what a folder, a model's name or an endpoint's address stands for."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from custodes.ranges import Count, ranged

WRITERS = ("rl", "warm-start")
"""Folders in which `custodes critic tune` leaves adapters, the best first."""
REWARD = "reward"


@dataclass(frozen=True, kw_only=True)
@ranged
class CriticChoice:
    """Which critic reviews."""

    critic: Path | None = None
    """Folder that `custodes critic train` or `custodes critic tune` made. Without it and --model, the critic that comes with
    Custodes."""
    model: str = ""
    """A model that proposes what functions should give, and with --arguments an untrained critic: smollm2-135m (embedded), a
    folder, a .gguf file, a hub id, a short name of custodes models, or endpoint:URL#MODEL. With --critic, its base."""
    adapter: Path | None = None
    """Folder of a saved adapter."""
    samples: Count = 4
    """Critiques of each piece of code or answer, where critiques are drawn."""
    search: bool = False
    """Search for the critique (28 candidates) that the reward in the critic's folder likes best."""

    @property
    def named(self) -> bool:
        """Whether a critic was asked for by name."""
        return bool(self.critic or self.adapter or self.search)

    @property
    def proposes(self) -> bool:
        """Whether the model proposes what functions should give: it is named, and is not a critic's base."""
        return bool(self.model) and self.critic is None
