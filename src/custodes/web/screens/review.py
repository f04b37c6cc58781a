"""Code review by people: a bug put into code and described, and critiques written as findings, each a quote and a comment.

The values of a sheet are ``q1`` (the code, or the critique's text) and, for a tamper, ``q1.description``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from nicegui import background_tasks, ui

from custodes.feedback.critique import Critique, Finding, changes, locate, parse, write
from custodes.web.screens import parts
from custodes.web.screens.renderer import in_thread, renderer
from custodes.web.screens.sheet import Sheet, critique_in
from custodes.web.screens.tags import Tag, tag

Changed = Callable[[str, str], Any]
SETTLED = "() => custodes.settled(() => emit(%s))"
"""Rows are made anew only after what was typed into them has arrived."""
IS_DARK = """
const chosen = document.documentElement.dataset.theme;
return chosen ? chosen === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
"""
MOST_FINDINGS = 100
"""Findings that are shown as rows."""
MOST_LINES = 200
"""Changed lines that are shown."""
NOTHING_FOUND = "I found nothing that is wrong."


# ---------------------------------------------------------------- tampers


def show_tamper(sheet: Sheet, number: int, question: Mapping[str, Any], changed: Changed) -> None:
    """The code in an editor, what was changed in it, and the description of the bug."""
    name, original = f"q{number}", sheet.texts[0]
    described = f"{name}.description"
    with tag("div", cls="ask", data_row=name, role="group", aria_label="The code"):
        tag("p", "Put one subtle bug into the code: something that a careful reviewer could miss.")
        tag("p", "Escape, then Tab leaves the editor.", "quiet")
        editor = ui.codemirror(sheet.values.get(name, original), language="Python", theme="githubLight")
        editor.classes("cm").props('aria-label="Code"')

    async def darken() -> None:
        if await ui.run_javascript(IS_DARK, timeout=30.0):
            editor.theme = "githubDark"

    ui.timer(0.0, darken, once=True)
    difference = tag("div", role="status", aria_live="polite")

    async def edited(value: str) -> None:
        changed(name, value if value != original else "")
        await _differences(difference, original, value)

    editor.on_value_change(lambda event: edited(str(event.value)))
    ui.timer(0.0, lambda: _differences(difference, original, sheet.values.get(name) or original), once=True)
    hint = "As a reviewer who caught it would: where it is, what goes wrong, when."
    label = "Describe the bug"
    parts.text(label, sheet.values.get(described, ""), lambda v: changed(described, v), described, 3, hint)


async def _differences(root: Tag, before: str, now: str) -> None:
    """The changed lines, marked by signs, not by colour alone."""
    lines = await in_thread(renderer.ask, "lines", before, now)
    if root.is_deleted:
        return
    root.clear()
    with root:
        if lines is None:
            tag("p", "The code is too long to show what was changed.", "quiet")
        elif not lines:
            tag("p", "Nothing is changed yet.", "quiet")
        else:
            with tag("div", cls="code-block", role="group", aria_label="Changed lines"):
                for line in lines[:MOST_LINES]:
                    tag("div", line, dir="ltr")
                if len(lines) > MOST_LINES:
                    tag("p", f"And {len(lines) - MOST_LINES:,} lines more.", "quiet")


# ---------------------------------------------------------------- critiques


def show_critique(sheet: Sheet, number: int, question: Mapping[str, Any], changed: Changed) -> None:
    """The code to quote from, and the findings: those of the given critique, if there is one, to keep, edit or remove.

    A critique of very many findings is edited as one text.
    """
    name = f"q{number}"
    text = critique_in(sheet, name)
    if len(parse(text).findings) <= MOST_FINDINGS:
        CritiqueEditor(sheet, name, changed)
        return
    hint = f"It has more than {MOST_FINDINGS} findings, so it is shown as it was written."
    parts.text("The critique", text, lambda value: changed(name, value), name, 24, hint)


class CritiqueEditor:
    """Findings as rows; the critique's text is written anew with every change."""

    def __init__(self, sheet: Sheet, name: str, changed: Changed) -> None:
        self.name, self.changed = name, changed
        self.given = parse(sheet.texts[0]) if sheet.texts else None
        blocks = parse(sheet.item["prompt"][-1]["content"]).findings
        self.code = blocks[-1].quote if blocks else sheet.item["prompt"][-1]["content"]
        critique = parse(critique_in(sheet, name))
        self.opening, self.findings = critique.opening, [(f.quote, f.comment) for f in critique.findings]
        field = f"{name}-code"
        with tag("div", cls="text", data_row=name):
            tag("label", "The code. Select what is wrong, then quote it.", for_=field)
            rows = min(24, self.code.count("\n") + 2)
            tag("textarea", self.code, "mono", id=field, readonly=True, rows=rows, wrap="off")
        with tag("div", cls="actions-row"):
            quote = parts.button("Quote the selection", key="q")
            quote.on("click", self._quote, js_handler=SETTLED % f"custodes.selection('{field}')")
            parts.button("I found nothing", key="n").on("click", self._nothing, args=[], js_handler=SETTLED % "")
        self.status = tag("p", "", "quiet", role="status")
        self.root = tag("div", role="group", aria_label="Findings")
        self._show()

    def _quote(self, event: Any) -> None:
        start, end = event.args or (0, 0)
        if start < end:
            self.findings.append((self.code[start:end], ""))
            self._said()
            self._show()

    def _nothing(self) -> None:
        self.findings, self.opening = [], self.opening or NOTHING_FOUND
        self._said()
        self._show()

    def _open(self, value: str) -> None:
        self.opening = value
        self._said()

    def _said(self) -> None:
        critique = self._critique()
        self.changed(self.name, write(critique) or " ")
        self._tell(critique)

    def _critique(self) -> Critique:
        return Critique(tuple(Finding(quote, comment) for quote, comment in self.findings), self.opening)

    def _tell(self, critique: Critique) -> None:
        if self.given is None:
            self.status.set_text(f"{len(critique.findings)} findings.")
            return
        counts = changes(self.given, critique).counts()
        self.status.set_text("Of the given critique: " + ", ".join(f"{n} {what}" for what, n in counts.items()) + ".")

    def _show(self) -> None:
        self._tell(self._critique())
        self.root.clear()
        with self.root:
            for n, (quote, comment) in enumerate(self.findings):
                self._finding(n, quote, comment)
            parts.text("General remark (optional)", self.opening, self._open, f"{self.name}.opening", 2)

    async def _warn(self, warning: Tag, quote: str) -> None:
        places = await in_thread(locate, quote, self.code)
        warning.set_text("" if places else "This quote does not occur in the code.")

    def _finding(self, n: int, quote: str, comment: str) -> None:
        async def set_quote(value: str) -> None:
            self.findings[n] = (value, self.findings[n][1])
            self._said()
            await self._warn(warning, value)

        def set_comment(value: str) -> None:
            self.findings[n] = (self.findings[n][0], value)
            self._said()

        def remove() -> None:
            del self.findings[n]
            self._said()
            self._show()

        with tag("section", cls="finding", aria_label=f"Finding {n + 1}"):
            rows = min(8, quote.count("\n") + 1)
            parts.text(f"Quote {n + 1}", quote, set_quote, f"{self.name}.quote{n}", rows, mono=True)
            warning = tag("p", "", "quiet", role="status")
            background_tasks.create(self._warn(warning, quote), name="locate")
            parts.text(f"Comment {n + 1}", comment, set_comment, f"{self.name}.comment{n}", 2)
            made = parts.button("Remove", aria_label=f"Remove finding {n + 1}")
            made.on("click", remove, args=[], js_handler=SETTLED % "")
