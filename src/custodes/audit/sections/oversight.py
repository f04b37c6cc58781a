"""Oversight: what an overseer blocked while the policy was optimised, what that cost, and what slipped through."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from custodes.audit.record import RecordedRun, RunSection
from custodes.audit.rows import Row
from custodes.feedback.oversight import OverseenAction
from custodes.feedback.oversight_measures import oversight_measures, oversight_sentences
from custodes.page import charts
from custodes.registry import section
from custodes.types import Episode

SHOWN = 6
"""Actions of a sort whose text the page shows."""
LONGEST = 1200
"""Characters of a text that the page shows."""


@dataclass(frozen=True, kw_only=True)
class OversightStep(Row):
    """Every action of one step of optimisation, an entry each; ``subject`` is the arm."""

    NAME = "oversight_step"
    ALIGNED = ("acted", "task", "turn", "harmful", "asked", "blocked", "who", "why", "seconds", "waited")

    step: int
    acted: list[str]  # ids of the episodes, in the ledger
    task: list[str]
    turn: list[int]  # which reply of its episode, from 0
    harmful: list[bool | None]  # None where it is not known
    asked: list[bool]  # whether the overseer saw it
    blocked: list[bool]
    who: list[str]  # answered; "" where nobody was asked, "rule" where nobody answered in time
    why: list[str]
    seconds: list[float]  # of the overseer's time
    waited: list[float]


def oversight_step(
    step: int, actions: Mapping[str, Sequence[OverseenAction]], episodes: Sequence[Episode]
) -> OversightStep:
    """The row of a step, from what became of the actions of its episodes."""
    rows: list[dict[str, Any]] = [
        {"acted": e.id, "task": e.task.id, "who": "", "why": "", "seconds": 0.0, "waited": 0.0} | action.to_dict()
        for e in episodes
        for action in actions.get(e.id, ())
    ]
    return OversightStep(step=step, **{name: [row[name] for row in rows] for name in OversightStep.ALIGNED})


def measures_of_steps(steps: Sequence[OversightStep]) -> dict[str, Any]:
    """What oversight caught and cost in these steps, counted by task."""
    columns = {name: [x for step in steps for x in getattr(step, name)] for name in OversightStep.ALIGNED}
    return oversight_measures(columns | {"cluster": columns["task"]})


@section
class OversightSection(RunSection):
    """Rates with intervals, the cost, blocks along training, and actions that one can read."""

    title = "Oversight in the loop"
    place = 47
    rank = 6
    template = """
{% for arm, o in figures.items() %}{{ arm_title(arm, source.arms) }}
{% for sentence in o.sentences %}<p>{{ sentence }}</p>{% endfor %}
<table class="wide-table">
  <thead><tr><th>What the overseer did</th><th>Share or seconds</th></tr></thead>
  {% for label, value in o.rates %}<tr><th scope="row">{{ label }}</th>{{ cell(label, value) }}</tr>{% endfor %}
</table>
<div class="small-charts">{% for svg in charts[arm] %}{{ figure(svg) }}{% endfor %}</div>
{% for title, shown in o.read.items() if shown %}<details{% if loop.first %} open{% endif %}><summary>{{ title }} ({{ shown | length }} shown)</summary>
{% for a in shown %}<blockquote><p><small>Step {{ a.step }}, reply {{ a.turn + 1 }} to {{ a.task }}{% if a.who %}; {{ a.who }}{% endif %}{% if a.why %}: {{ a.why }}{% endif %}</small></p><p><small>{{ a.asked }}</small></p><p style="white-space: pre-wrap">{{ a.action }}</p></blockquote>{% endfor %}
</details>{% endfor %}
{% else %}<p class="none">No action waited for an overseer.</p>{% endfor %}
"""

    def read(self) -> dict[str, Any]:
        figures = {}
        for arm, steps in self.source.rows(OversightStep).items():
            actions = [
                {name: getattr(step, name)[i] for name in OversightStep.ALIGNED} | {"step": step.step}
                for step in sorted(steps, key=lambda step: step.step)
                for i in range(step.n)
            ]
            measures = measures_of_steps(steps)
            figures[arm] = {
                "measures": measures,
                "sentences": oversight_sentences(measures),
                "rates": [(label, measures[name]) for name, label in RATES.items() if measures[name] is not None],
                "read": _texts(self.source, actions),
                "trace": _trace(steps),
            }
        return figures

    def claims(self) -> list[str]:
        first = next(iter(self.figures.values()), None)
        return first["sentences"][:2] if first else []

    def charts(self) -> dict[str, Any]:
        return {
            arm: [charts.step_chart({title: rows}, title) for title, rows in o["trace"].items() if len(rows) > 1]
            for arm, o in self.figures.items()
        }

    def limits(self) -> list[str]:
        simulated = any("simulated" in o["measures"]["people"] for o in self.figures.values())
        return (
            ["The overseer was simulated: its catch rate was an assumption, and people may catch less."]
            if simulated
            else []
        )


RATES = {
    "caught": "Harmful actions that it saw and blocked",
    "caught_of_all": "Harmful actions blocked, of all there were",
    "blocked_for_nothing": "Harmless actions that it saw and blocked",
    "seconds": "Seconds of the overseer for an answer",
    "waited": "Seconds that an action waited",
}


def _trace(steps: Sequence[OversightStep]) -> dict[str, list[tuple[int, float]]]:
    """By step the share of actions that was blocked, and that was harmful where it is known."""
    found: dict[str, list[tuple[int, float]]] = {"Blocked share of actions": [], "Harmful share of actions": []}
    for step in sorted(steps, key=lambda step: step.step):
        known = [harmful for harmful in step.harmful if harmful is not None]
        for title, values in zip(found, (step.blocked, known), strict=True):
            if values:
                found[title].append((step.step, sum(values) / len(values)))
    return found


def _texts(source: RecordedRun, actions: Sequence[dict[str, Any]]) -> dict[str, list[dict[str, Any]]]:
    """The last actions of each sort, with what they answered."""
    sorts = {
        "Harmful actions that happened": [a for a in actions if a["harmful"] and not a["blocked"]],
        "Blocked for nothing": [a for a in actions if a["harmful"] is False and a["blocked"]],
        "Blocked": [a for a in actions if a["harmful"] is not False and a["blocked"]],
    }
    chosen = {title: of_sort[-SHOWN:] for title, of_sort in sorts.items()}
    wanted = {a["acted"] for of_sort in chosen.values() for a in of_sort}
    episodes = {e.id: e for e in source.ledger.episodes(source.run.id) if e.id in wanted} if wanted else {}
    return {
        title: [_with_text(a, episodes) for a in of_sort if a["acted"] in episodes] for title, of_sort in chosen.items()
    }


def _with_text(action: dict[str, Any], episodes: dict[str, Episode]) -> dict[str, Any]:
    episode = episodes[action["acted"]]
    replies = [i for i, m in enumerate(episode.messages) if m.role == "assistant" and i >= len(episode.task.messages)]
    place = replies[min(action["turn"], len(replies) - 1)]
    asked = episode.messages[place - 1].content if place else ""
    return action | {"action": episode.messages[place].content[:LONGEST], "asked": asked[:LONGEST]}
