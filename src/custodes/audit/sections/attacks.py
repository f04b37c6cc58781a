"""Attacks: how many requests were broken, at what cost, under which defence; and every success to be read."""

from __future__ import annotations

from typing import Any

import numpy as np

from custodes.audit.attack_measures import (
    PLAIN,
    AttackedRequest,
    AttackSet,
    BenignTwins,
    paired_success,
    success_of,
)
from custodes.audit.record import RunSection
from custodes.page import Tile, percent
from custodes.page.numbers import points
from custodes.registry import section
from custodes.stats import Interval, rate

SHOWN = 3
"""Successes of a request that are shown at once; the others are folded away."""


@section
class AttacksSection(RunSection):
    """Success a request and pooled, benign twins, and the texts that broke the model; absent where nothing was attacked."""

    title = "Attacks"
    place = 36
    rank = 6
    template = """
{% if figures %}
<p>Attack <b>{{ figures.attack }}</b>{% if figures.source %} ({{ figures.source }}){% endif %} on {{ figures.requests | length | number }} requests. Whether a reply counts is said by {{ figures.judged_by }}.</p>
<div class="scroll"><table class="wide-table">
<thead><tr><th></th><th>first reply counts (hit@1)</th><th>any reply counts (hit@k)</th><th>of all replies, pooled</th>{% if figures.checked %}<th>pooled, detector's errors taken out</th>{% endif %}<th>k</th><th>queries to the first success, median</th><th>passes a request, mean</th></tr></thead>
<tbody>{% for arm, x in figures.arms.items() %}<tr><th scope="row">{{ arm }}</th>{{ cell("hit@1", x.hit_at_1, "percent") }}{{ cell("hit@k", x.hit_at_k, "percent", true) }}{{ cell("pooled", x.pooled, "percent") }}{% if figures.checked %}{{ cell("corrected", x.corrected, "percent") }}{% endif %}<td data-label="k">{{ x.k }}</td><td data-label="queries">{{ x.queries | number if x.queries is not none else "none" }}</td><td data-label="passes">{{ x.passes | number }}</td></tr>
{% endfor %}</tbody></table></div>
{% for name, x in figures.paired.items() %}<p>{{ name }}, hit@k on the same requests: {{ interval(x, "points") }} percentage points.</p>{% endfor %}
<table class="kv">{% for defence, t in figures.twins.items() %}{{ row("Benign twins refused, defence: " ~ defence, t.refused, "percent", "requests that look alike and are allowed") }}{% if t.blocked.estimate %}{{ row("of these blocked by the defence", t.blocked, "percent") }}{% endif %}{% endfor %}
{% for name, value in figures.facts.items() %}<tr><th scope="row">{{ name | plain_name | capitalize }}</th><td>{{ value | number if value is number else value }}</td></tr>{% endfor %}</table>
<h3>Request by request</h3>
<p class="reading">A pooled rate can hide a request that is always broken. Shares are of the replies to that request.</p>
<div class="scroll"><table class="wide-table"><thead><tr><th>Request</th>{% for arm in figures.arms %}<th>{{ arm }}</th>{% endfor %}</tr></thead>
<tbody>{% for r in figures.requests %}<tr><th scope="row">{{ r.asked[-1].content }}<small>{{ r.request }}</small></th>{% for arm in figures.arms %}{% set x = r.arms.get(arm) %}<td data-label="{{ arm }}">{% if x %}<b>{{ x.count }} of {{ x.n }}</b>{% if x.until %} <span class="n">first at query {{ x.until }}</span>{% endif %}{% if x.loss is not none %} <span class="n">loss {{ x.loss | number }}</span>{% endif %}{% else %}–{% endif %}</td>{% endfor %}</tr>{% endfor %}</tbody></table></div>
<h3>Every success</h3>
{% for s in figures.successes %}
{% if loop.changed(s.arm, s.request) %}<h4>{{ s.arm }}: {{ s.asked }}</h4>{% endif %}
<article class="example">
  <div class="prompt"><p><span class="role">sent, query {{ s.query }}</span>{{ s.text }}</p></div>
  <div class="side" style="grid-column: 1 / -1"><p class="kicker">reply <span>{{ s.why }}</span></p><p class="text">{{ s.reply or "(empty)" }}</p></div>
</article>
{% else %}<p>No reply counts.</p>{% endfor %}
{% if figures.left_out %}<p class="reading">{{ figures.left_out | number }} further successes of the same requests are in the JSON beside this page and in the ledger.</p>{% endif %}
<h3>Register</h3>
<table class="wide-table"><thead><tr><th>Request</th><th>State</th><th>Who decides that it is fixed</th></tr></thead>
<tbody>{% for entry in figures.register %}<tr><th scope="row"><code>{{ entry.request }}</code></th><td>{{ entry.what }}: {{ entry.why }}</td><td>{{ figures.owner or "nobody is named (--owner)" }}</td></tr>{% endfor %}</tbody></table>
{% endif %}
"""

    def read(self) -> dict[str, Any] | None:
        rows = self.source.rows(AttackedRequest)
        sets = self.source.last(AttackSet)
        if not sets or not rows:
            return None
        made = next(iter(sets.values()))
        arms = {arm: rows[arm] for arm in made.arms if arm in rows}
        first = next(iter(arms.values()))
        decisions = self.source.ledger.decisions(self.source.run.id)
        every = [s for arm, of_arm in arms.items() for row in of_arm for s in _successes(arm, row)]
        return {
            "attack": made.attack,
            "source": made.source,
            "judged_by": made.judged_by,
            "owner": made.owner,
            "checked": _detector(made),
            "facts": made.facts,
            "arms": {arm: success_of(of_arm, made) for arm, of_arm in arms.items()},
            "paired": {
                f"{arm} minus {made.arms[1]}": paired_success(arms[arm], arms[made.arms[1]])
                for arm in made.arms[2:]
                if arm in arms
            },
            "twins": {defence: _twins(row) for defence, row in self.source.last(BenignTwins).items()},
            "requests": [_request(row.request, row.asked, arms) for row in first],
            "successes": [s for s in every if s["number"] <= SHOWN],
            "left_out": sum(s["number"] > SHOWN for s in every),
            "register": [
                {"request": d.subject, "what": d.what.rpartition(", ")[2], "why": d.why}
                for d in decisions
                if d.what.startswith(REGISTERED)
            ],
        }

    def tiles(self) -> list[Tile]:
        if not self.figures:
            return []
        return [
            Tile(f"{arm}: requests broken", percent(x.hit_at_k.estimate), _bounds(x.hit_at_k))
            for arm, x in self.figures["arms"].items()
        ]

    def claims(self) -> list[str]:
        if not self.figures:
            return []
        sentences = []
        for arm, x in self.figures["arms"].items():
            if arm == PLAIN:
                broken, how = x.hit_at_1, "without an attack"
            else:
                broken, how = x.hit_at_k, f"by one of {x.k} replies, {percent(x.hit_at_1.estimate)} by the first"
            sentences.append(
                f"{arm.capitalize()}: {percent(broken.estimate)} of requests were broken {how} ({_bounds(broken)})."
            )
        for name, x in self.figures["paired"].items():
            change = "cannot be told from none" if x.low <= 0 <= x.high else "fewer" if x.high < 0 else "more"
            bounds = f"95 % interval {points(x.low)} to {points(x.high)}"
            sentences.append(
                f"{name.capitalize()}: {change}, {points(x.estimate)} percentage points of requests ({bounds})."
            )
        for defence, twins in self.figures["twins"].items():
            x = twins["refused"]
            sentences.append(
                f"Of the benign twins {percent(x.estimate)} were refused with the defence {defence} ({_bounds(x)})."
            )
        return sentences

    def limits(self) -> list[str]:
        if not self.figures:
            return []
        limits = ["What an attack did not break is not safe: another attack, or more passes, may break it."]
        if self.figures["checked"] is None and "exact" not in self.figures["judged_by"]:
            limits.append(
                "The detector's errors are not known, so rates are of what it tells and not of true successes; give --checked."
            )
        if any("texts sent again" in arm for arm in self.figures["arms"]):
            limits.append(
                "Texts that were found without a defence are sent again under it: this attacker does not know the defence."
            )
        return limits

    def missing(self) -> list[str]:
        if not self.figures or self.figures["twins"]:
            return []
        return ["benign twins of the attacked requests"]


REGISTERED: str = "attack register"
"""How the decisions of the register begin."""


def _bounds(x: Interval) -> str:
    return f"95 % interval {percent(x.low)} to {percent(x.high)}, {x.n:,} groups"


def _twins(row: BenignTwins) -> dict[str, Interval]:
    return {
        name: rate(np.array(values, float), row.group)
        for name, values in (("refused", row.refused), ("blocked", row.blocked))
    }


def _detector(made: AttackSet) -> dict[str, Interval] | None:
    if not made.checked:
        return None
    truth, told = (np.array(made.checked[name], bool) for name in ("counts", "detected"))
    return {
        "true successes told": rate(told[truth].astype(float)),
        "others taken for one": rate(told[~truth].astype(float)),
    }


def _request(id: str, asked: list[dict[str, str]], arms: dict[str, list[AttackedRequest]]) -> dict[str, Any]:
    of_arms = {}
    for arm, rows in arms.items():
        for row in rows:
            if row.request == id:
                loss = row.losses[-1][1] if row.losses else None
                of_arms[arm] = {"count": sum(row.counts), "n": row.n, "until": row.until(), "loss": loss}
    return {"request": id, "asked": asked, "arms": of_arms}


def _successes(arm: str, row: AttackedRequest) -> list[dict[str, Any]]:
    found = [i for i, counts in enumerate(row.counts) if counts]
    return [
        {
            "arm": arm,
            "request": row.request,
            "asked": row.asked[-1]["content"],
            "number": number_,
            "text": row.text[i],
            "reply": row.reply[i],
            "why": row.why[i],
            "query": row.queries[i],
        }
        for number_, i in enumerate(found, 1)
    ]
