"""How each kind of question looks: rows for its answers, in order of the project's file."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from custodes.feedback.steps import steps_of
from custodes.web.screens import parts
from custodes.web.screens.parts import Point
from custodes.web.screens.review import show_critique, show_tamper
from custodes.web.screens.sheet import LETTERS, REASONS, Sheet
from custodes.web.screens.tags import Tag, tag

Changed = Callable[[str, str], Any]
Shower = Callable[[Sheet, int, Mapping[str, Any], Changed], None]

STRENGTHS = [
    Point("3", "A much better", "1"),
    Point("2", "A better", "2"),
    Point("1", "A slightly better", "3"),
    Point("tie", "Equal", "4 t"),
    Point("-1", "B slightly better", "5"),
    Point("-2", "B better", "6"),
    Point("-3", "B much better", "7"),
]
NEITHER = [Point("both_bad", "Both bad", "b"), Point("cannot_judge", "Cannot judge", "c")]


def show_questions(sheet: Sheet, changed: Changed) -> None:
    """A row for everything that is asked about an item, and the reasons."""
    for number, question in enumerate(sheet.item["questions"], 1):
        SHOWN[question["kind"]](sheet, number, question, changed)
    if sheet.item["reasons"]:
        parts.chips("Why", sheet.item["reasons"], sheet.reasons, _into(changed, REASONS), REASONS)


def _comparison(sheet: Sheet, number: int, question: Mapping[str, Any], changed: Changed) -> None:
    name = f"q{number}"
    about = _axis(sheet, question)
    legend = "Which answer is better?" if question["axis"] == "overall" else f"Which is better: {about['title']}?"
    points = [*STRENGTHS, *NEITHER]
    made = parts.choice(legend, points, sheet.values.get(name), _into(changed, name), name, "scale", _ends(about))
    made.set(data_optional="" if question["optional"] else None)


def _each(sheet: Sheet, legend: str) -> list[tuple[int, str]]:
    """(place, legend) of every answer shown."""
    places = range(len(sheet.item["answers"]))
    return [(place, f"{legend}: answer {LETTERS[place]}" if len(places) > 1 else legend) for place in places]


def _beside(sheet: Sheet) -> Tag:
    """Rows about the answers stand as the answers do."""
    return tag("div", cls=f"beside of-{len(sheet.item['answers'])}")


def _ranking(sheet: Sheet, number: int, question: Mapping[str, Any], changed: Changed) -> None:
    many = len(sheet.item["answers"])
    points = [Point(str(n), {1: "1 best", many: f"{n} worst"}.get(n, str(n)), str(n)) for n in range(1, many + 1)]
    title = "Rank" if question["axis"] == "overall" else f"Rank, {_axis(sheet, question)['title']}"
    with _beside(sheet):
        for place, legend in _each(sheet, title):
            _choose(sheet, f"q{number}.{place}", legend, points, changed, "digits", "Equal ranks are ties.")


def _rating(sheet: Sheet, number: int, question: Mapping[str, Any], changed: Changed) -> None:
    about = _axis(sheet, question)
    points = [Point(str(n), str(n), str(n), f"{n} of 7") for n in range(1, 8)]
    with _beside(sheet):
        for place, legend in _each(sheet, about["title"]):
            _choose(sheet, f"q{number}.{place}", legend + _maybe(question), points, changed, "digits", _ends(about))


def _label(sheet: Sheet, number: int, question: Mapping[str, Any], changed: Changed) -> None:
    points = [Point(c["value"], c["title"], str(n)) for n, c in enumerate(question["values"], 1)]
    with _beside(sheet):
        for place, legend in _each(sheet, str(question["name"]).replace("_", " ").capitalize()):
            _choose(sheet, f"q{number}.{place}", legend + _maybe(question), points, changed)


def _correction(sheet: Sheet, number: int, question: Mapping[str, Any], changed: Changed) -> None:
    """Beside a comparison it waits folded: the answer edited to what would have been ideal."""
    several = len(sheet.texts) > 1
    with _beside(sheet):
        for place, text in enumerate(sheet.texts):
            name = f"q{number}.{place}"
            value = sheet.values.get(name, text)
            label = f"Edit answer {LETTERS[place]} to what would be ideal" if several else "Edit until it is right"
            rows = min(24, max(6, len(text) // 70 + text.count("\n") + 1))
            with tag("details", cls="ask", data_row=name, open=not question["optional"] or value != text):
                tag("summary", label + _maybe(question), data_key="eE"[place] if several and place < 2 else "e")
                parts.text(label, value, _into(changed, name), name, rows)


def _comment(sheet: Sheet, number: int, question: Mapping[str, Any], changed: Changed) -> None:
    with _beside(sheet):
        for place, legend in _each(sheet, "Comment"):
            name = f"q{number}.{place}"
            parts.text(legend + _maybe(question), sheet.values.get(name, ""), _into(changed, name), name)


def _demonstration(sheet: Sheet, number: int, question: Mapping[str, Any], changed: Changed) -> None:
    name = f"q{number}"
    label = "The answer that you would give" + _maybe(question)
    parts.text(label, sheet.values.get(name, ""), _into(changed, name), name, 12, "Markdown is fine.")


def _span(sheet: Sheet, number: int, question: Mapping[str, Any], changed: Changed) -> None:
    hint = "To mark a passage, switch the view to “Mark passages”, select it, and say what is wrong with it."
    tag("p", hint, "quiet")


def _step(sheet: Sheet, number: int, question: Mapping[str, Any], changed: Changed) -> None:
    for place in range(len(sheet.texts)):
        Steps(sheet, f"q{number}.{place}", sheet.texts[place], changed)


class Steps:
    """One row per step; every step marked, or only where the first error is."""

    EACH = (Point("1", "good", "+ = 1"), Point("0", "neutral", "0 2"), Point("-1", "wrong", "- 3"))

    def __init__(self, sheet: Sheet, name: str, text: str, changed: Changed) -> None:
        self.sheet, self.name, self.changed, self.steps = sheet, name, changed, steps_of(text)
        modes = [Point("each", "Every step", "a"), Point("first", "Only the first error", "x")]
        with tag("div", data_global=""):
            mode = sheet.values.get(f"{name}.mode", "each")
            parts.choice("Mark", modes, mode, self._switch, f"{name}.mode", "tight").set(data_row=None)
        self.root = tag("ol", cls="steps")
        self._show()

    def _switch(self, mode: str) -> None:
        self.changed(f"{self.name}.mode", mode)
        self._show()

    def _show(self) -> None:
        first = self.sheet.values.get(f"{self.name}.mode") == "first"
        self.root.clear()
        with self.root:
            for n, step in enumerate(self.steps):
                with tag("li", cls="step"):
                    parts.markdown(step)
                    self._first(str(n), "The first error is here", str(n + 1)) if first else self._mark(n)
            if first:
                with tag("li", cls="step"):
                    tag("p", "There is no error in any step.")
                    self._first("none", "No error", "n")

    def _mark(self, n: int) -> None:
        name = f"{self.name}.{n}"
        legend = f"Step {n + 1}"
        parts.choice(legend, self.EACH, self.sheet.values.get(name), _into(self.changed, name), name, "marks")

    def _first(self, value: str, label: str, key: str) -> None:
        name = f"{self.name}.first"
        with tag("label", cls="points ask"):
            radio = tag("input", type="radio", name=name, value=value, data_keep=name)
            radio.set(data_key=key if len(key) == 1 else None, checked=self.sheet.values.get(name) == value).on_value(
                _into(self.changed, name)
            )
            tag("span", label)


def _choose(
    sheet: Sheet, name: str, legend: str, points: list[Point], changed: Changed, cls: str = "", about: str = ""
) -> None:
    parts.choice(legend, points, sheet.values.get(name), _into(changed, name), name, cls, about)


def _into(changed: Changed, name: str) -> Callable[[str], Any]:
    """Takes a value and enters it under ``name``."""
    return lambda value: changed(name, value)


def _axis(sheet: Sheet, question: Mapping[str, Any]) -> Mapping[str, Any]:
    found = [axis for axis in sheet.item["axes"] if axis["name"] == question["axis"]]
    return found[0] if found else {"title": "Overall", "low": "", "high": ""}


def _ends(axis: Mapping[str, Any]) -> str:
    """What the ends of an axis mean."""
    ends = [f"{n}: {axis[side]}" for n, side in ((1, "low"), (7, "high")) if axis[side]]
    return " · ".join(ends)


def _maybe(question: Mapping[str, Any]) -> str:
    return " (optional)" if question["optional"] else ""


SHOWN: dict[str, Shower] = {
    "comparison": _comparison,
    "ranking": _ranking,
    "rating": _rating,
    "label": _label,
    "correction": _correction,
    "comment": _comment,
    "demonstration": _demonstration,
    "span": _span,
    "step": _step,
    "tamper": show_tamper,
    "critique": show_critique,
}
"""What draws each kind of question; a kind that is added here is added to ``sheet.READERS`` too."""
