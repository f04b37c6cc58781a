"""The code to quote from, and findings: those of the given critique, if there is one, to keep, edit or remove."""

from __future__ import annotations

from typing import Any

from nicegui import background_tasks

from custodes.feedback.critique import Critique, Finding, critique_changes, locate, parse_critique, write_critique
from custodes.feedback.kinds.critique import critique_in
from custodes.feedback.questions import AnswerForm
from custodes.registry import widget
from custodes.web.formatting.renderer import in_thread
from custodes.web.screens import widgets
from custodes.web.screens.question_widget import Changed, QuestionWidget
from custodes.web.screens.tags import Tag, tag

SETTLED = "() => custodes.settled(() => emit(%s))"
"""Rows are made anew only after what was typed into them has arrived."""
MOST_FINDINGS = 100
"""Findings that are shown as rows."""
NOTHING_FOUND = "I found nothing that is wrong."


@widget
class CritiqueWidget(QuestionWidget):
    shows_answer = True

    def show(self) -> None:
        """A critique of very many findings is edited as one text."""
        text = critique_in(self.form, self.name)
        if len(parse_critique(text).findings) <= MOST_FINDINGS:
            _CritiqueEditor(self.form, self.name, self.changed)
            return
        hint = f"It has more than {MOST_FINDINGS} findings, so it is shown as it was written."
        widgets.text_area("The critique", text, self.enter(self.name), self.name, 24, hint)


class _CritiqueEditor:
    """Findings as rows; the critique's text is written anew with every change."""

    def __init__(self, form: AnswerForm, name: str, changed: Changed) -> None:
        self.name, self.changed = name, changed
        self.given = parse_critique(form.texts[0]) if form.texts else None
        blocks = parse_critique(form.item["prompt"][-1]["content"]).findings
        self.code = blocks[-1].quote if blocks else form.item["prompt"][-1]["content"]
        critique = parse_critique(critique_in(form, name))
        self.opening = critique.opening
        self.findings = {n: (f.quote, f.comment) for n, f in enumerate(critique.findings)}  # by a number that stays
        field = f"{name}-code"
        with tag("div", cls="text", data_row=name):
            tag("label", "The code. Select what is wrong, then quote it.", for_=field)
            rows = min(24, self.code.count("\n") + 2)
            tag("textarea", self.code, "mono", id=field, readonly=True, rows=rows, wrap="off")
        with tag("div", cls="actions-row"):
            quote = widgets.button("Quote the selection", key="q")
            quote.on("click", self._quote, js_handler=SETTLED % f"custodes.selection('{field}')")
            widgets.button("I found nothing", key="n").on("click", self._nothing, args=[], js_handler=SETTLED % "")
        self.status = tag("p", "", "quiet", role="status")
        self.rows = widgets.LiveRegion(role="group", aria_label="Findings")
        self._show()

    def _quote(self, event: Any) -> None:
        start, end = event.args or (0, 0)
        if start < end:
            self.findings[max(self.findings, default=-1) + 1] = (self.code[start:end], "")
            self._changed()

    def _nothing(self) -> None:
        self.findings, self.opening = {}, self.opening or NOTHING_FOUND
        self._changed()

    def _open(self, value: str) -> None:
        self.opening = value
        self._entered()

    def _changed(self) -> None:
        self._entered()
        self._show()

    def _entered(self) -> None:
        self.changed(self.name, write_critique(self._critique()) or " ")
        self._count()

    def _critique(self) -> Critique:
        return Critique(tuple(Finding(quote, comment) for quote, comment in self.findings.values()), self.opening)

    def _count(self) -> None:
        critique = self._critique()
        if self.given is None:
            self.status.set_text(f"{len(critique.findings)} findings.")
            return
        counts = critique_changes(self.given, critique).counts()
        self.status.set_text("Of the given critique: " + ", ".join(f"{n} {what}" for what, n in counts.items()) + ".")

    def _show(self) -> None:
        self._count()
        with self.rows.drawn_again():
            for place, n in enumerate(self.findings, 1):
                self._finding(place, n)
            widgets.text_area("General remark (optional)", self.opening, self._open, f"{self.name}.opening", 2)

    async def _warn(self, warning: Tag, quote: str) -> None:
        places = await in_thread(locate, quote, self.code)
        warning.set_text("" if places else "This quote does not occur in the code.")

    def _finding(self, place: int, n: int) -> None:
        quote, comment = self.findings[n]

        async def set_quote(value: str) -> None:
            self.findings[n] = (value, self.findings[n][1])
            self._entered()
            await self._warn(warning, value)

        def set_comment(value: str) -> None:
            self.findings[n] = (self.findings[n][0], value)
            self._entered()

        def remove() -> None:
            if self.findings.pop(n, None) is not None:
                self._changed()

        with tag("section", cls="finding", aria_label=f"Finding {place}"):
            rows = min(8, quote.count("\n") + 1)
            widgets.text_area(f"Quote {place}", quote, set_quote, f"{self.name}.quote{place - 1}", rows, mono=True)
            warning = tag("p", "", "quiet", role="status")
            background_tasks.create(self._warn(warning, quote), name="locate")
            name = f"{self.name}.comment{place - 1}"
            widgets.text_area(f"Comment {place}", comment, set_comment, name, 2)
            self.rows.button("Remove", f"remove {n}", remove, aria_label=f"Remove finding {place}")
