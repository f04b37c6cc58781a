"""What each kind of judgment taught the reward, and what it said of judgments that were held out."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, ClassVar

from custodes.audit.record import RunSection
from custodes.audit.rows import Row
from custodes.registry import section


@dataclass(frozen=True, kw_only=True)
class RewardTaught(Row):
    """Judgments by kind: those that a reward learned from, and those that it did not, with the reason."""

    NAME: ClassVar[str] = "reward_taught"

    used: dict[str, int]
    unused: list[dict[str, Any]]
    """Each with ``kind``, ``why`` and the number of ``judgments``."""
    measures: dict[str, dict[str, Any]]
    """How well held-out judgments were said, intervals by name."""
    examples: list[dict[str, Any]] = field(default_factory=list)
    """Held-out answers by ``mark``, in ``passages``: ``text``, how probably ``wrong``, and whether people ``marked`` it so."""
    losses: dict[str, str] = field(default_factory=dict)
    """Kind -> by which loss it taught the reward."""


@section
class TaughtSection(RunSection):
    """What each kind taught."""

    title = "What each kind of judgment taught"
    place = 29
    template = """
{% for name, of in figures.items() %}
<table class="kv">
{% for kind, count in of.used.items() %}<tr><th scope="row">Learned from {{ kind | replace("_", " ") }}s</th><td>{{ count | number }}</td></tr>
{% endfor %}{% for row in of.unused %}<tr><th scope="row">Not used: {{ row.kind | replace("_", " ") }}s</th><td>{{ row.judgments | number }}: {{ row.why }}</td></tr>
{% endfor %}{% for measure, found in of.measures.items() %}<tr><th scope="row">Held out: {{ measure }}</th><td>{{ found.estimate | number }} [{{ found.low | number }}, {{ found.high | number }}], n = {{ found.n | number }}</td></tr>
{% endfor %}</table>
{% if of.examples %}<p>Held-out answers. The reward finds a passage wrong with the probability that stands behind it; ✗ and ✓ are people's marks.</p>
{% for answer in of.examples %}<p><b>{{ answer.mark }}</b>: {% for p in answer.passages %}{% if p.wrong > 0.5 %}<mark>{{ p.text }}</mark>{% else %}{{ p.text }}{% endif %} <small>({{ p.wrong | number }}{% if p.marked is not none %} {{ "✗" if p.marked else "✓" }}{% endif %})</small> {% endfor %}</p>
{% endfor %}{% endif %}
{% else %}{{ absent("Which judgments taught the reward") }}{% endfor %}
"""

    def read(self) -> dict[str, Any]:
        rows = self.source.last(RewardTaught)
        return {
            name: {"used": row.used, "unused": row.unused, "measures": row.measures, "examples": row.examples}
            for name, row in rows.items()
        }
