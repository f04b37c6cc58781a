"""What a critic says of a place in a file, and what every critic can do. Nothing here loads a model.

A finding with evidence is a remark too, and most reviews need no critic at all.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from custodes.critic.review.evidence import Evidence
from custodes.critic.review.snippets import Snippet
from custodes.feedback.critique import Finding, Place


class EngineDied(Exception):  # noqa: N818 (the engine's, not ours)
    """The engine gave no answer; what was reviewed before stays."""


@dataclass(frozen=True, slots=True)
class Remark:
    """A finding at its places in the file. ``confidence`` is 0 to 1; it is shown where ``score`` plus strictness is not
    below 0.

    Without ``evidence`` it is an argument only; ``suspicion`` then names the kind of bug, where the critic tells kinds apart.
    """

    finding: Finding
    places: tuple[Place, ...]
    confidence: float
    score: float
    evidence: Evidence | None = None
    suspicion: str = ""


class Critic(Protocol):
    """Anything that reviews code. ``fingerprint`` names what decides its answers, for the cache."""

    @property
    def fingerprint(self) -> str: ...

    def review(self, snippet: Snippet) -> list[Remark]:
        """Remarks in falling order of confidence. Raises EngineDied where no answer comes."""
        ...


@runtime_checkable
class ReadsTogether(Protocol):
    """A critic that reads many snippets in one pass, and writes comments on those remarks only that are shown."""

    def review_all(self, snippets: Sequence[Snippet]) -> list[list[Remark]]:
        """Remarks on each, whatever their score. Where the comment is empty, :meth:`comments` writes it."""
        ...

    def comments(self, snippet: Snippet, quotes: Sequence[str]) -> list[str]:
        """What is wrong with each quote."""
        ...
