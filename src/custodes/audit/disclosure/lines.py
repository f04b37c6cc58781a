"""A disclosure's lines: what a reviewer asks, filled from rows of the record, stated by a person, or "not recorded".

A line is a method of its group, marked with :func:`line`. It returns what the record says and the rows that say so; None is
"not recorded". What a person adds to a line is shown beside it, and marked as stated.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, ClassVar

from custodes.audit.disclosure.history import RecordedHistory, RecordRow, RowReference
from custodes.page import NOT_RECORDED, NUMBER_FORMS, Section, number
from custodes.stats import Interval

STATED = "stated, not recorded"
LEAST_PEOPLE = 5
"""What is told of groups of people is told of so many at least."""


@dataclass(frozen=True)
class Measure:
    """A number with its interval, and in which form it is written."""

    interval: Interval
    form: str = "number"

    def __str__(self) -> str:
        """71.4 % [62.0 %, 79.1 %], n = 92."""
        form, x = NUMBER_FORMS[self.form], self.interval.to_dict()
        bounds = f" [{form(x['low'])}, {form(x['high'])}]" if None not in (x["low"], x["high"]) else ""
        return f"{form(x['estimate'])}{bounds}, n = {number(x['n'])}"


Shown = str | int | float | Measure


@dataclass(frozen=True)
class Filled:
    """What the record says, by name, and the rows that it is read from."""

    value: Mapping[str, Shown]
    rows: Sequence[RecordRow]


@dataclass(frozen=True)
class Line:
    """What a reviewer asks. Without ``fill`` no record can answer."""

    title: str
    asks: str
    fill: Callable[[Any], Filled | None] | None = None
    name: str = ""


def line(title: str, asks: str) -> Callable[[Callable[[Any], Filled | None]], Line]:
    """Makes a method of a group the line of its name."""
    return lambda fill: Line(title, asks, fill, fill.__name__)


@dataclass(frozen=True)
class FilledLine:
    """A line as it stands in a disclosure. ``key`` is its group and its name, "feedback.types"."""

    key: str
    title: str
    asks: str
    value: Mapping[str, Shown]
    references: Sequence[RowReference]
    stated: str = ""

    @property
    def status(self) -> str:
        if self.value:
            return "recorded and stated" if self.stated else "recorded"
        return STATED if self.stated else NOT_RECORDED

    @property
    def told(self) -> list[str]:
        """The value in words, an entry each."""
        return [f"{name}: {_worded(shown)}" if name else _worded(shown) for name, shown in self.value.items()]

    def to_dict(self) -> dict[str, Any]:
        return {
            "title": self.title,
            "status": self.status,
            "value": {name: _plain(shown) for name, shown in self.value.items()},
            "stated": self.stated,
            "rows": [asdict(reference) for reference in self.references],
        }


@dataclass(frozen=True)
class DisclosureSource:
    """What the groups read: the record, and by a line's key what a person stated."""

    history: RecordedHistory
    facts: Mapping[str, str]


class DisclosureGroup(Section[DisclosureSource]):
    """A group of lines. ``figures`` holds them filled, by name."""

    survey: ClassVar[bool] = False
    """Whether its lines are of the survey's list (arXiv 2307.15217, section 5)."""
    about: ClassVar[str] = ""
    """A sentence below the title."""
    template = """
{% if section.about %}<p class="reading">{{ section.about }}</p>{% endif %}
<div class="lines">
{% for name, of in figures.items() %}<article class="line" id="{{ of.key }}">
  <div><h3>{{ of.title }}</h3><p class="reading">{{ of.asks }}</p></div>
  <div>
  {% if of.value %}<table class="kv">{% for label, shown in of.value.items() %}<tr>{% if label %}<th scope="row">{{ label }}</th>{% endif %}<td{% if not label %} colspan="2"{% endif %}><span class="said">{{ section.word(shown) }}</span></td></tr>{% endfor %}</table>
  <details class="from"><summary>from {{ of.references | map(attribute="rows") | sum | number }} row{{ "s" if (of.references | map(attribute="rows") | sum) != 1 }} of the record</summary><ul>{% for reference in of.references %}<li>{{ reference }}<br><code>{{ reference.hash }}</code></li>{% endfor %}</ul></details>{% endif %}
  {% if of.stated %}<p class="stated"><span class="said">{{ of.stated }}</span> <small>stated, not recorded</small></p>{% endif %}
  {% if not of.value and not of.stated %}<p class="none">not recorded</p>{% endif %}
  </div>
</article>
{% endfor %}</div>
"""
    style = """
.line { display: grid; grid-template-columns: 15rem minmax(0, 1fr); gap: .3rem 2rem; border-bottom: 1px solid var(--line); padding: .8rem 0; break-inside: avoid; }
.line:last-child { border-bottom: 0; } .line h3 { margin: 0; font-size: 1rem; } .line .reading { margin: .2rem 0 0; }
.line .kv { margin: 0; max-width: none; table-layout: fixed; } .line .kv th { width: 15rem; } .line .kv tr:last-child th, .line .kv tr:last-child td { border-bottom: 0; }
.line .said { white-space: pre-wrap; overflow-wrap: anywhere; } .line .from { margin: .3rem 0 0; font-size: .84rem; }
.line .from ul { margin: .3rem 0; } .line .none { margin: 0; }
.stated { border-left: 3px solid var(--rust); padding-left: .7rem; margin: .3rem 0; } .stated small { color: var(--rust); white-space: nowrap; }
@media (max-width: 40rem) { .line { grid-template-columns: 1fr; } .line .kv th { width: auto; } }
"""

    @classmethod
    def lines(cls) -> dict[str, Line]:
        """In the order in which they are shown."""
        return {name: held for name, held in vars(cls).items() if isinstance(held, Line)}

    @property
    def history(self) -> RecordedHistory:
        return self.source.history

    def read(self) -> dict[str, FilledLine]:
        filled = {}
        for name, asked in self.lines().items():
            found = asked.fill(self) if asked.fill is not None else None
            value, rows = (dict(found.value), found.rows) if found is not None and found.value else ({}, ())
            key = f"{self.name}.{name}"
            filled[name] = FilledLine(
                key, asked.title, asked.asks, value, self.history.cite(rows), self.source.facts.get(key, "")
            )
        return filled

    def runs_of(self, *recipes: str, where: Callable[[Mapping[str, Any]], bool] = lambda config: True) -> Filled:
        """Runs of these recipes whose configuration fulfils ``where``, with how and when each ended."""
        runs = [p for p in self.history.runs if p.run.recipe in recipes and where(p.run.config)]
        return Filled({p.label: f"{p.run.status}, {p.run.started[:10]}" for p in runs}, [p.row for p in runs])

    def of_tasks(self, told: str) -> Filled:
        """What is so of every task, where there is one."""
        rows = self.history.rows("task")
        return Filled({"": told} if rows else {}, rows)

    def missing(self) -> list[str]:
        return [f"{self.title}: {of.title}" for of in self.figures.values() if of.status == NOT_RECORDED]

    def word(self, shown: Shown) -> str:
        return _worded(shown)


def _worded(shown: Shown) -> str:
    """A value as people read it."""
    return str(shown) if isinstance(shown, str | Measure) else number(shown)


def _plain(shown: Shown) -> Any:
    if isinstance(shown, Measure):
        return shown.interval.to_dict() | {"text": str(shown)}
    return shown
