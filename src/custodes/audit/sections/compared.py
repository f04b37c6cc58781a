"""Models side by side: what probes found of those of a run."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

from custodes.audit.compared import PROBE_TABLE, ProbeFound, alike_sentence
from custodes.audit.record import RunSection
from custodes.registry import section


@section
class ComparedSection(RunSection):
    """Every probe of the run: its figures of each model, and the differences from the first."""

    title = "What optimisation did to the model, by probes"
    place: ClassVar[float] = 62
    rank: ClassVar[float] = 62
    template = (
        PROBE_TABLE
        + """
{% for found in figures.values() %}<h3>{{ found.title }}</h3>
{{ probe_table(found) }}{% endfor %}
"""
    )

    def read(self) -> dict[str, Any]:
        """Probe -> what it found; empty where none was asked."""
        return {name: rows[-1] for name, rows in self.source.rows(ProbeFound).items()}

    def claims(self) -> Sequence[str]:
        claims = [claim for found in self.figures.values() for claim in found.claims()]
        return claims + alike_sentence(self.figures.values())

    def limits(self) -> Sequence[str]:
        return [f"{found.title} does not say {found.cannot}" for found in self.figures.values() if found.cannot]
