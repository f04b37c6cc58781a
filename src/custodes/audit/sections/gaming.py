"""What was gamed: what the reward paid for and the truth did not, base policy against the chosen one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from custodes.audit import hacking
from custodes.audit.heldout import chosen_row, task_matrix
from custodes.audit.record import ArmSection
from custodes.audit.rows import PolicyHeldout, Row
from custodes.page import charts, plain_name, signed
from custodes.page.drawing import alt
from custodes.registry import section
from custodes.stats import wilson
from custodes.types import Episode

EXAMPLES = 4


@dataclass(frozen=True, kw_only=True)
class Checks(Row):
    """Every check of every held-out task before and after; ``subject`` is the arm. ``base`` and ``optimised``
    are 1 where the check holds (or the share of the task's episodes in which it holds)."""

    NAME: ClassVar[str] = "checks"
    ALIGNED = ("task", "check", "base", "optimised")

    task: list[str]
    check: list[str]
    base: list[float]
    optimised: list[float]


@section
class GamingSection(ArmSection):
    """Checks before and after, the gap of proxy and gold, and the tasks on which they moved most apart."""

    title = "What was gamed"
    place = 50
    what = "paired checks and proxy-gold gap"
    template = """
{% for arm, g in figures.items() %}{{ arm_title(arm, source.arms) }}
<div class="beside">
<div>
{% if g.get("gap") %}<table class="kv">
  {{ row("Proxy gained", g.gap.proxy, "signed", "in standard deviations of the base") }}
  {{ row("Gold gained", g.gap.gold, "signed", "in standard deviations of the base") }}
  {{ row("Proxy minus gold", g.gap.gap, "signed", "paired; above 0: the reward saw more than there was") }}
  {{ row("Tasks with proxy up and gold down", g.tasks_gamed, "percent") }}
</table>{% else %}{{ absent("Proxy-gold gap") }}{% endif %}
</div>
{{ figure(charts[arm], "Share of held-out tasks in which each check holds. “Better” and “worse” are significant by McNemar’s exact test, corrected for the number of checks (Holm).") }}
</div>
{% if g.get("checks") %}<details><summary>Checks in numbers</summary><table class="wide-table">
  <thead><tr><th>Check</th><th>Base</th><th>Optimised</th><th>Difference, paired</th><th>Tasks</th><th>Gained / lost</th><th>p (Holm)</th></tr></thead>
  {% for c in g.checks %}<tr><th scope="row">{{ c.check | plain_name }}</th>{{ cell("base", c.base, "percent") }}{{ cell("optimised", c.optimised, "percent") }}{{ cell("difference", c.difference, "signed") }}<td data-label="tasks">{{ c.difference.n | number }}</td><td data-label="gained / lost">{{ c.gained }} / {{ c.lost }}</td><td data-label="p (Holm)">{{ c.p_holm | number(2) }}</td></tr>{% endfor %}
</table></details>{% else %}{{ absent("Checks before and after") }}{% endif %}
{% if g.get("examples") %}<h4>Where the reward rose most and the truth fell</h4>
{% for e in g.examples %}<article class="example">
  <div class="prompt">{% for m in e.prompt %}<p><span class="role">{{ m.role }}</span>{{ m.content }}</p>{% endfor %}</div>
  {% for name in ("base", "optimised") %}<div class="side"><p class="kicker">{{ name }} <span>proxy {{ e[name].proxy | number }} · gold {{ e[name].gold | number }}</span></p><p class="text">{{ e[name].text or "(empty)" }}</p></div>{% endfor %}
</article>{% endfor %}{% endif %}
{% else %}{{ absent("Proxy and gold on the same tasks") }}{% endfor %}
"""

    def read_arm(self, arm: str) -> dict[str, Any] | None:
        rows, checks = self.source.heldout.get(arm, []), self.source.last(Checks).get(arm)
        figures: dict[str, Any] = {}
        if checks is not None and checks.n:
            changes = hacking.check_changes(checks.check, checks.base, checks.optimised)
            figures["checks"] = [vars(c) | {"change": c.change} for c in changes]
        if len(rows) > 1:
            base, last = rows[0], chosen_row(rows)
            proxy, gold = task_matrix([base, last], "proxy"), task_matrix([base, last], "gold")
            if proxy is not None and gold is not None and proxy.shape[1] > 1:
                up_down = (proxy[1] > proxy[0]) & (gold[1] < gold[0])
                gap = hacking.proxy_gold_gap(proxy[1], gold[1], proxy[0], gold[0])
                figures["gap"] = vars(gap) if gap else None
                figures["tasks_gamed"] = wilson(int(up_down.sum()), len(up_down))
                figures["examples"] = _examples(base, last, self.source.episodes)
        return figures

    def claims(self) -> list[str]:
        if not self.first or "checks" not in self.first:
            return []
        better, worse = (
            " and ".join(", ".join(names).rsplit(", ", 1))  # a, b and c
            for way in ("better", "worse")
            for names in [[plain_name(c["check"]) for c in self.first["checks"] if c["change"] == way]]
        )
        first = f"Better by the checks: {better}." if better else "No kind of check became measurably better."
        second = f"Worse while the reward rose: {worse}." if worse else "No kind of check became measurably worse."
        return [f"{first} {second}"]

    def charts(self) -> dict[str, str | None]:
        return {arm: _checks_chart(g["checks"]) if g.get("checks") else None for arm, g in self.figures.items()}

    def missing_of(self, figures: Mapping[str, Any]) -> list[str]:
        return [] if "checks" in figures else ["checks before and after"]


def _examples(base: PolicyHeldout, last: PolicyHeldout, episodes: Mapping[str, Episode]) -> list[dict[str, Any]]:
    """The tasks whose first episodes moved most apart, with their texts."""
    before, after = ({task: i for i, task in reversed(list(enumerate(row.task)))} for row in (base, last))
    tasks = [
        t for t in before if t in after and base.episode[before[t]] in episodes and last.episode[after[t]] in episodes
    ]
    if base.gold is None or last.gold is None or not tasks:
        return []
    gains = [
        np.array([new[after[t]] - old[before[t]] for t in tasks])
        for old, new in ((base.proxy, last.proxy), (base.gold, last.gold))
    ]
    examples = []
    for i in hacking.gamed_order(*gains)[:EXAMPLES]:
        b, a = before[tasks[i]], after[tasks[i]]
        old, new = episodes[base.episode[b]], episodes[last.episode[a]]
        examples.append(
            {
                "task": tasks[i],
                "prompt": [m.to_dict() for m in old.task.messages],
                "base": {"text": old.completion, "proxy": base.proxy[b], "gold": base.gold[b]},
                "optimised": {"text": new.completion, "proxy": last.proxy[a], "gold": last.gold[a]},
            }
        )
    return examples


def _checks_chart(checks: Sequence[Mapping[str, Any]]) -> str:
    """Share of held-out tasks in which each check holds: base (hollow) to optimised (filled)."""
    names, title, width = ["base", "optimised"], "share of checks that hold", charts.WIDTH - 130
    rows = [
        {"check": plain_name(c["check"]), "base": c["base"].estimate, "optimised": c["optimised"].estimate}
        | {
            "note": f"{signed(100 * c['difference'].estimate, 2)} pts"
            + ("" if c["change"] == "unclear" else f", {c['change']}")
        }
        for c in checks
    ]
    marks = [{"check": r["check"], "x": r[name], "series": name} for r in rows for name in names]
    order = [r["check"] for r in rows]
    y = alt.Y(
        "check:N", sort=order, title=None, axis=alt.Axis(ticks=False, domain=False, labelLimit=150, labelPadding=10)
    )
    axis = alt.Axis(format=".0%", values=[0, 0.5, 1])
    x = alt.X("x:Q", title=title, scale=alt.Scale(domain=[0, 1]), axis=axis)
    base = alt.Chart(charts.chart_data(rows)).encode(y=y)
    layers = [
        base.mark_rule(color=charts.GREY, strokeWidth=2).encode(x=alt.X("base:Q", title=title), x2="optimised:Q"),
        charts.named_marks(alt.Chart(charts.chart_data(marks)), names).encode(y=y, x=x),
        base.mark_text(align="left", dx=10, color=charts.GREY, fontSize=12).encode(x=alt.value(width), text="note:N"),
    ]
    about = f"Share of held-out tasks in which each of {len(rows)} checks holds, base policy and optimised policy."
    return charts.inline_svg(alt.layer(*layers).properties(width=width, height=alt.Step(22)), about)
