"""What a person is told besides prompt and answers: the known truth where they rate others, and help after judging alone."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from custodes.web.screens import widgets
from custodes.web.screens.tags import tag


def notes(item: Mapping[str, Any]) -> None:
    """The notes of an item's screen, as :func:`custodes.web.work.claim` gives it."""
    if item["reference"]:
        with widgets.card("What is known, for you alone", cls="note"):
            widgets.markdown(item["reference"])
    if item["stage"] == "alone":
        with tag("div", cls="note", data_stage="alone"):
            tag("p", "First judge alone. Then help is shown, and you can stay with your judgment or change it.")
    elif item["stage"] == "assisted":
        with widgets.card("Help", cls="note"):
            tag("p", "Below is what you said alone. Change it, or hand it in again as it is.", data_stage="assisted")
            widgets.markdown(item["assistance"])
