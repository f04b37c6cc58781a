"""The code to quote from, and findings: those of the given critique, if there is one, to keep, edit or remove."""

from __future__ import annotations

from typing import Any

from nicegui import background_tasks

from custodes.feedback.critique import Critique, Finding, critique_changes, locate, parse_critique, write_critique
from custodes.feedback.kinds.critique import critique_in
from custodes.feedback.questions import AnswerForm
from custodes.registry import widget
from custodes.web.screens import widgets
from custodes.web.screens.question_widget import Changed, QuestionWidget
from custodes.web.screens.renderer import in_thread
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
        widgets.text("The critique", text, self.enter(self.name), self.name, 24, hint)


class _CritiqueEditor:
    """Findings as rows; the critique's text is written anew with every change."""

    def __init__(self, form: AnswerForm, name: str, changed: Changed) -> None:
        self.name, self.changed = name, changed
        self.given = parse_critique(form.texts[0]) if form.texts else None
        blocks = parse_critique(form.item["prompt"][-1]["content"]).findings
        self.code = blocks[-1].quote if blocks else form.item["prompt"][-1]["content"]
        critique = parse_critique(critique_in(form, name))
        self.opening, self.findings = critique.opening, [(f.quote, f.comment) for f in critique.findings]
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
        self.changed(self.name, write_critique(critique) or " ")
        self._tell(critique)

    def _critique(self) -> Critique:
        return Critique(tuple(Finding(quote, comment) for quote, comment in self.findings), self.opening)

    def _tell(self, critique: Critique) -> None:
        if self.given is None:
            self.status.set_text(f"{len(critique.findings)} findings.")
            return
        counts = critique_changes(self.given, critique).counts()
        self.status.set_text("Of the given critique: " + ", ".join(f"{n} {what}" for what, n in counts.items()) + ".")

    def _show(self) -> None:
        self._tell(self._critique())
        self.root.clear()
        with self.root:
            for n, (quote, comment) in enumerate(self.findings):
                self._finding(n, quote, comment)
            widgets.text("General remark (optional)", self.opening, self._open, f"{self.name}.opening", 2)

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
            widgets.text(f"Quote {n + 1}", quote, set_quote, f"{self.name}.quote{n}", rows, mono=True)
            warning = tag("p", "", "quiet", role="status")
            background_tasks.create(self._warn(warning, quote), name="locate")
            widgets.text(f"Comment {n + 1}", comment, set_comment, f"{self.name}.comment{n}", 2)
            made = widgets.button("Remove", aria_label=f"Remove finding {n + 1}")
            made.on("click", remove, args=[], js_handler=SETTLED % "")
