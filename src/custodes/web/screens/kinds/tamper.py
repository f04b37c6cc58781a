"""The code in an editor, what was changed in it, and the description of the bug."""

from __future__ import annotations

from nicegui import ui

from custodes.registry import widget
from custodes.web.formatting.renderer import differing_lines, in_thread
from custodes.web.screens import widgets
from custodes.web.screens.question_widget import QuestionWidget
from custodes.web.screens.tags import Tag, tag

IS_DARK = """
const chosen = document.documentElement.dataset.theme;
return chosen ? chosen === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
"""
MOST_LINES = 200
"""Changed lines that are shown."""


@widget
class TamperWidget(QuestionWidget):
    shows_answer = True

    def show(self) -> None:
        name, original, values = self.name, self.form.texts[0], self.form.values
        described = f"{name}.description"
        with tag("div", cls="ask", data_row=name, role="group", aria_label="The code"):
            tag("p", "Put one subtle bug into the code: something that a careful reviewer could miss.")
            tag("p", "Escape, then Tab leaves the editor.", "quiet")
            editor = ui.codemirror(values.get(name, original), language="Python", theme="githubLight")
            editor.classes("cm").props('aria-label="Code"')

        async def darken() -> None:
            if await ui.run_javascript(IS_DARK, timeout=30.0):
                editor.theme = "githubDark"

        ui.timer(0.0, darken, once=True)
        difference = tag("div", role="status", aria_live="polite")

        async def edited(value: str) -> None:
            self.changed(name, value if value != original else "")
            await _differences(difference, original, value)

        editor.on_value_change(lambda event: edited(str(event.value)))
        ui.timer(0.0, lambda: _differences(difference, original, values.get(name) or original), once=True)
        hint = "As a reviewer who caught it would: where it is, what goes wrong, when."
        label = "Describe the bug"
        widgets.text_area(label, values.get(described, ""), self.enter(described), described, 3, hint)


async def _differences(root: Tag, before: str, now: str) -> None:
    """The changed lines, marked by signs, not by colour alone."""
    lines = await in_thread(differing_lines, before, now)
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
