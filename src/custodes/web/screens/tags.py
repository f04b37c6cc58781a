"""Plain HTML elements in NiceGUI: what a browser, a keyboard and a screen reader know without being taught."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from nicegui.elements.mixins.text_element import TextElement

INLINE = frozenset({"span", "mark", "kbd", "q"})
"""Stretches of a text, which the text around them gives their direction."""


class Tag(TextElement):
    """An element of HTML, with text that is never read as HTML and runs in the direction of its letters.

    Also the block of what is inside: ``with tag("section", cls="card"):``.
    """

    def __init__(self, kind: str, /, text: str = "", cls: str = "", **attributes: str | int | bool | None) -> None:
        super().__init__(tag=kind, text=text)
        if cls:
            self.classes(cls)
        if kind in ("textarea", "input") or (text and kind not in INLINE):
            attributes.setdefault("dir", "auto")
        self.set(**attributes)

    def set(self, **attributes: str | int | bool | None) -> Tag:
        """Attributes; ``aria_label`` is aria-label. None and False take one away."""
        for name, value in attributes.items():
            key = name.rstrip("_").replace("_", "-")
            if value is None or value is False:
                self.props.pop(key, None)
            else:
                self.props[key] = value
        self.update()
        return self

    def on_value(self, handler: Callable[[str], Any], event: str = "change") -> Tag:
        """``handler`` gets the element's value whenever it has changed (``event``: "input" for every letter)."""
        self.on(event, lambda e: handler(e.args), js_handler="(e) => emit(e.target.value)")
        return self


tag = Tag
