"""The loop in numbers: what went round it, counted."""

from __future__ import annotations

from collections import Counter
from typing import Any

from custodes.audit.record import RunSection
from custodes.ledger.codec import RECORD_KINDS
from custodes.registry import section


@section
class LoopSection(RunSection):
    """Tasks, episodes, judgments, annotators, models and decisions."""

    title = "The loop in numbers"
    place = 10
    template = """
<table class="kv">
  <tr><th scope="row">Tasks</th><td>{{ figures.tasks | number }}</td></tr>
  <tr><th scope="row">Episodes</th><td>{{ figures.episodes | number }}, by {{ figures.policies | number }} versions of the policy</td></tr>
  <tr><th scope="row">Judgments</th><td>{% for kind, n in figures.judgments.items() %}{{ n | number }} {{ kind | replace("_", " ") }}{{ "s" if n != 1 }}{{ ", " if not loop.last }}{% else %}<span class="none">not recorded</span>{% endfor %}</td></tr>
  <tr><th scope="row">Annotators</th><td>{% for kind, n in figures.annotators.items() %}{{ n | number }} {{ kind }}{{ ", " if not loop.last }}{% else %}<span class="none">not recorded</span>{% endfor %}</td></tr>
</table>
{% if figures.models %}
<table class="wide-table">
  <thead><tr><th>Model</th><th>Kind</th><th>Content hash</th></tr></thead>
  {% for m in figures.models %}<tr><th scope="row">{{ m.name }}</th><td data-label="kind">{{ m.kind }}</td><td data-label="content hash"><code title="{{ m.id }}">{{ m.id[:16] }}</code></td></tr>{% endfor %}
</table>
{% else %}{{ absent("Models") }}{% endif %}
{% if figures.decisions %}<h3>Decisions</h3>
<ul>{% for d in figures.decisions %}<li><b>{{ d.what }}</b>{% if d.subject %} ({{ d.subject }}){% endif %}: {{ d.why }}</li>{% endfor %}</ul>{% endif %}
"""

    def read(self) -> dict[str, Any]:
        ledger, run = self.source.ledger, self.source.run.id
        counts = ledger.summary(run)
        return {
            "tasks": counts.get("task", 0),
            "episodes": counts.get("episode", 0),
            "policies": self.source.policies,
            "judgments": {name: n for name, n in counts.items() if name not in RECORD_KINDS},
            "annotators": dict(Counter(a.kind for a in ledger.annotators(run))),
            "models": [{"name": m.name, "kind": m.kind, "id": m.id, "parent": m.parent} for m in ledger.models(run)],
            "decisions": [{"what": d.what, "why": d.why, "subject": d.subject} for d in ledger.decisions(run)],
        }
