"""``report.html`` of a training run: the generalisation matrix as a heat map, and what each round rewarded."""

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

WIDTH, HEIGHT = 920, 210
LEFT, RIGHT, TOP, BOTTOM = 44, 8, 10, 34
"""Of the picture of steps, in pixels."""
LINES = (("success", "rewarded"), ("gamed", "gamed"), ("well_formed", "well formed"))
"""What the picture shows of a step's episodes: shares."""


def write_training_report(folder: Path) -> Path:
    """Write the page for the training run in ``folder``, from its ``summary.json``.

    Raises InputError where there is none or the page cannot be written.
    """
    try:
        summary = json.loads((folder / "summary.json").read_text(encoding="utf-8"))
        if summary.get("kind") != "training":
            raise ValueError
        page = folder / "report.html"
        save_text(page, render_training(summary, head_line(folder)))
    except ValueError:
        raise InputError(f"{folder} holds no run of custodes gaming train (no summary.json that says so).") from None
    except OSError as error:
        raise InputError(f"cannot write the report to {folder}: {error.strerror}.") from None
    return page


def render_training(summary: dict[str, Any], head: str = "") -> str:
    """The page as text; ``head`` says how far the record had come."""
    environment = Environment(
        loader=PackageLoader("custodes.gaming.report"),
        autoescape=select_autoescape(("html", "j2")),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"percent": percent, "span": span, "heat": heat, "change": change}
    own = files("custodes.gaming.report") / "templates"
    return environment.get_template("training.html.j2").render(
        summary=summary,
        head=head,
        style=(own / "gaming.css").read_text(encoding="utf-8") + (own / "training.css").read_text(encoding="utf-8"),
        switches=[(name, value) for name, value in summary["options"].items() if value not in (None, False, "", 0)],
        picture=picture(summary["rounds"]),
        trained={stage for round in summary["rounds"] for stage in round["trained_on"]},
    )


def heat(rate: float) -> int:
    """Share of colour of a cell, in percent: the square root, so that one in a thousand is still seen."""
    return round(100 * rate**0.5)


def change(found: dict[str, Any]) -> str:
    """A paired difference in points with its interval and test."""
    d = found["difference"]
    return (
        f"{100 * d['estimate']:+.1f} points ({100 * d['low']:+.1f} to {100 * d['high']:+.1f}), "
        f"{found['test']} p = {found['p']:.2g}, {found['pairs']:,} pairs"
    )


def picture(rounds: list[dict[str, Any]]) -> dict[str, Any] | None:
    """Coordinates of the shares by step, one stretch per round; None where no round has steps."""
    stretches = [(r["title"], r["training"]["steps"]) for r in rounds if r["training"].get("steps")]
    total = sum(len(steps) for _, steps in stretches)
    if not total:
        return None
    wide, high = WIDTH - LEFT - RIGHT, HEIGHT - TOP - BOTTOM
    drawn, begun = [], 0
    for title, steps in stretches:
        x = [LEFT + wide * (begun + k + 0.5) / total for k in range(len(steps))]
        lines = {
            name: [
                (round(a, 1), round(TOP + high * (1 - s[name]), 1)) for a, s in zip(x, steps, strict=True) if name in s
            ]
            for name, _ in LINES
        }
        ends = LEFT + wide * begun / total, LEFT + wide * (begun + len(steps)) / total
        drawn.append({"title": title, "from": round(ends[0], 1), "to": round(ends[1], 1), "lines": lines})
        begun += len(steps)
    marks = [(round(TOP + high * (1 - share), 1), f"{100 * share:.0f} %") for share in (0, 0.5, 1)]
    return {"width": WIDTH, "height": HEIGHT, "top": TOP, "floor": TOP + high, "left": LEFT, "stretches": drawn, "marks": marks,
            "legend": LINES}  # fmt: skip
