"""What a run cost: time, memory and tokens, whatever ended its invocations."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, ClassVar

from custodes.audit.record import RunSection
from custodes.audit.rows import Row
from custodes.page import Tile, duration, number
from custodes.registry import section


@dataclass(frozen=True, kw_only=True)
class Resources(Row):
    """What was spent since the row before; ``subject`` is "run". Seconds and tokens add up, the largest memory counts.

    A row is written with what was bought by it, so that the cost of a run that was killed is known too."""

    NAME: ClassVar[str] = "resources"

    seconds: dict[str, float]  # phase -> seconds, in the order of the loop
    peak_memory_gb: float | None = None
    cores: int | None = None
    command: str = ""  # reproduces the run
    tokens_sampled: int | None = None
    tokens_trained: int | None = None
    machine: dict[str, str] = field(default_factory=dict)


@section
class ResourcesSection(RunSection):
    """Seconds and tokens of a run added up, and the largest of the peak memories."""

    title = "What it cost"
    place = 15
    rank = 100
    template = """
{% if figures %}<table class="kv">
  <tr><th scope="row">Time</th><td>{{ figures.total | duration }}: {% for phase, s in figures.seconds.items() %}{{ phase | plain_name }} {{ s | duration }}{{ ", " if not loop.last }}{% endfor %}{% if figures.invocations > 1 %} (in {{ figures.invocations }} invocations){% endif %}</td></tr>
  <tr><th scope="row">Tokens</th><td>{{ figures.tokens_sampled | number }} sampled, {{ figures.tokens_trained | number }} trained on</td></tr>
  <tr><th scope="row">Peak memory</th><td>{{ figures.peak_memory_gb | number }}{% if figures.peak_memory_gb is not none %} GB{% endif %}</td></tr>
</table>{% else %}{{ absent("Time and memory") }}{% endif %}
"""

    def read(self) -> dict[str, Any] | None:
        rows = [row for rows in self.source.rows(Resources).values() for row in rows]
        if not rows:
            return None
        seconds: dict[str, float] = {}
        for row in rows:
            for phase, s in row.seconds.items():
                seconds[phase] = seconds.get(phase, 0.0) + s
        memory = [r.peak_memory_gb for r in rows if r.peak_memory_gb is not None]
        sampled = [r.tokens_sampled for r in rows if r.tokens_sampled is not None]
        trained = [r.tokens_trained for r in rows if r.tokens_trained is not None]
        return {
            "seconds": seconds,
            "total": sum(seconds.values()),
            "peak_memory_gb": max(memory, default=None),
            "cores": rows[-1].cores,
            "invocations": len(self.source.run.invocations),
            "tokens_sampled": sum(sampled) if sampled else None,
            "tokens_trained": sum(trained) if trained else None,
            "machine": rows[-1].machine,
        }

    def headline(self) -> dict[str, float | None]:
        spent = self.figures or {"total": None, "peak_memory_gb": None}
        return {"seconds": spent["total"], "peak_memory_gb": spent["peak_memory_gb"]}

    def tiles(self) -> list[Tile]:
        if not self.figures:
            return [Tile("Time and peak memory", None)]
        memory = self.figures["peak_memory_gb"]
        told = number(memory) + (" GB" if memory is not None else "")
        return [Tile("Time and peak memory", duration(self.figures["total"]), told)]

    def missing(self) -> list[str]:
        if not self.figures:
            return ["time and memory"]
        return ["peak memory"] if self.figures["peak_memory_gb"] is None else []
