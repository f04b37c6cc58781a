"""``monitors.html`` of a run: what each monitor caught, what it missed, and whom it suspected for nothing."""

from __future__ import annotations

import json
from importlib.resources import files
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined, select_autoescape

from custodes.files import save_text
from custodes.gaming.report.page import percent, span
from custodes.job.recording import head_line
from custodes.types import InputError

COLUMNS = (
    ("recall", "recall", "alarms among gamed episodes"),
    ("false_positive_rate", "false positives", "alarms among clean episodes"),
    ("attempted", "attempts", "alarms among episodes that tampered to no effect"),
    ("precision", "precision", "gamed among clean or gamed episodes with an alarm"),
    ("unread", "no verdict", "episodes whose verdict could not be read"),
)


def write_monitors_page(folder: Path) -> Path:
    """Write the page from the folder's ``monitors.json``. Raises InputError where there is none."""
    page = folder / "monitors.html"
    try:
        told = json.loads((folder / "monitors.json").read_text(encoding="utf-8"))
        save_text(page, render_monitors(told, folder.name, head_line(folder)))
    except ValueError:
        raise InputError(f"{folder / 'monitors.json'} is no JSON; run custodes gaming monitor again.") from None
    except OSError as error:
        raise InputError(f"cannot write the page of monitors in {folder}: {error.strerror}.") from None
    return page


def render_monitors(told: dict[str, Any], name: str, head: str) -> str:
    """The page as text; ``head`` says how far the record had come. Everything that came from models is escaped."""
    environment = Environment(
        loader=PackageLoader("custodes.gaming.report"),
        autoescape=select_autoescape(("html", "j2")),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"percent": percent, "span": span, "words": lambda text: text.replace("-", " ")}
    style = (files("custodes.gaming.report") / "templates" / "gaming.css").read_text(encoding="utf-8")
    return environment.get_template("monitors.html.j2").render(
        told=told, name=name, style=style, columns=COLUMNS, head=head
    )
