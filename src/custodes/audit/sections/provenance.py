"""Where it comes from: what the run was, on what, and whether its record still stands as it was written."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from custodes.audit.record import RunSection
from custodes.audit.sections.resources import Resources
from custodes.ledger.checking import configured_head, holes_of
from custodes.ledger.redacting import redaction_sentences
from custodes.registry import section


@section
class ProvenanceSection(RunSection):
    """Command, configuration, versions, and the ledger's verification."""

    title = "Where it comes from"
    place = 90
    template = """
<p>To reproduce:</p><pre>{{ figures.command or "command not recorded" }}</pre>
<table class="kv">
  <tr><th scope="row">Ledger</th><td>{% if figures.ledger.ok %}{{ figures.ledger.rows | number }} rows, the chain of hashes holds{% else %}<b>broken</b>: {{ figures.ledger.problem }}{% endif %}{% for sentence in figures.ledger.withdrawn + figures.ledger.taken %}<br>{{ sentence }}{% endfor %}</td></tr>
  <tr><th scope="row">Run</th><td><code>{{ figures.run }}</code></td></tr>
  <tr><th scope="row">Platform</th><td>{{ figures.platform or "not recorded" }}{% if figures.cores %}, {{ figures.cores }} cores{% endif %}</td></tr>
  <tr><th scope="row">Code</th><td>{% if figures.commit %}commit <code>{{ figures.commit }}</code>{% else %}installed package{% endif %}, Python {{ figures.python or "not recorded" }}{% if figures.invocations > 1 %}, {{ figures.invocations }} invocations{% endif %}</td></tr>
{% for path in figures.disclosures %}  <tr><th scope="row">Disclosure</th><td><a href="{{ path }}">{{ path }}</a>, beside the ledger</td></tr>
{% endfor %}</table>
<details><summary>Configuration</summary><pre>{{ figures.config | tojson(indent=2) }}</pre></details>
<details><summary>Versions</summary><pre>{% for name, version in figures.packages.items() %}{{ name }} {{ version }}
{% else %}not recorded{% endfor %}</pre></details>
"""

    def read(self) -> dict[str, Any]:
        ledger, run = self.source.ledger, self.source.run
        last = run.invocations[-1] if run.invocations else {}
        chain, (holes, taken), head = ledger.verify(), holes_of(ledger, run.id), configured_head(ledger)
        spent = [row for rows in self.source.rows(Resources).values() for row in rows]
        return {
            "run": run.id,
            "recipe": run.recipe,
            "seed": run.seed,
            "status": run.status,
            "started": run.started,
            "ended": run.ended,
            "config": dict(run.config),
            "command": next((r.command for r in reversed(spent) if r.command), None),
            "python": last.get("python"),
            "platform": last.get("platform"),
            "commit": last.get("commit"),
            "packages": dict(last.get("packages", {})),
            "invocations": len(run.invocations),
            "cores": spent[-1].cores if spent else None,
            "disclosures": sorted(
                {a.path for _, of, a in ledger.artefacts() if of == run.id and a.path.endswith("disclosure.html")}
            ),
            "ledger": {
                "ok": chain.ok and not holes,
                "rows": chain.rows,
                "head": chain.head,
                "problem": chain.problem or (holes[0] if holes else None),
                "holes": holes,
                "taken": taken,
                "withdrawn": redaction_sentences(ledger, run.id),
                "signed": asdict(head) if head.signature else None,
            },
        }

    def missing(self) -> list[str]:
        return [*self.figures["ledger"]["holes"], *self.figures["ledger"]["withdrawn"]]
