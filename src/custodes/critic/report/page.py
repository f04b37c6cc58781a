"""``report.html`` and ``report.json`` of an evaluation of critics, and of a study of scaling: the same content twice."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined, select_autoescape

from custodes.critic.report import charts
from custodes.files import save_json, save_text
from custodes.job.recording import head_line
from custodes.stats import CalibrationBin, Interval
from custodes.types import InputError

LINES = (
    ("at_1", "likeliest line is the bug's"),
    ("at_3", "one of the three likeliest is"),
    ("caught", "tampered functions reported"),
    ("false_alarms", "clean functions reported"),
    ("discrimination", "tampered told from clean (area under ROC)"),
    ("calibration_error", "calibration error of a bug anywhere"),
    ("confidence_error", "calibration error of the likeliest line"),
)
POLICIES = (
    ("cbi", "bugs included (CBI)"),
    ("located", "bugs located"),
    ("comprehensiveness", "comprehensiveness, 1 to 7"),
    ("hallucinations", "hallucinations"),
    ("nitpicks", "nitpicks"),
    ("conciseness", "conciseness, 1 to 7"),
    ("false_alarms", "clean functions with a finding"),
    ("tokens", "tokens drawn"),
)
UNPAIRED = ("false_alarms", "tokens")
"""Of these no differences are told."""


def write_critics_page(told: Mapping[str, Any], folder: Path, style: str) -> Path:
    """Write the evaluation of critics; ``style`` is the page's style sheet. Raises InputError for a folder that is closed."""
    splits = {
        name: {
            "frontier": charts.frontier_chart(found["policies"]["frontier"]) if "policies" in found else None,
            "calibration": charts.calibration_chart(_bins(found["lines"]["curve"]))
            if found["lines"]["curve"]
            else None,
            "petty": _petty(found["policies"]["policies"]) if "policies" in found else [],
        }
        for name, found in told["splits"].items()
    }
    of_lines = {name: found["lines"] for name, found in told["splits"].items()}
    drawn = {"splits": splits, "side by side": charts.splits_chart(of_lines)}
    paired = [(key, title) for key, title in POLICIES if key not in UNPAIRED]
    return _write(
        folder, told, "critics.html.j2", charts=drawn, style=style, lines=LINES, measures=POLICIES, paired=paired
    )


def write_scaling_page(told: Mapping[str, Any], folder: Path, style: str) -> Path:
    """Write the study of scaling."""
    drawn = {
        f"{split}: {name}": charts.scaling_chart(found["points"], found["curve"], found["title"])
        for split, measures in told["splits"].items()
        for name, found in measures.items()
    }
    return _write(folder, told, "scaling.html.j2", charts=drawn, style=style)


def _write(folder: Path, told: Mapping[str, Any], template: str, **given: Any) -> Path:
    environment = Environment(
        loader=PackageLoader("custodes.critic.report"),
        autoescape=select_autoescape(("html", "j2")),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"number": _number, "span": _span, "p": _p}
    page = folder / "report.html"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        head = head_line(folder)
        save_text(page, environment.get_template(template).render(told=told, head=head, **given))
        save_json(folder / "report.json", told, indent=1, allow_nan=False)
    except OSError as error:
        raise InputError(f"cannot write the report to {folder}: {error.strerror}.") from None
    return page


def _petty(policies: Mapping[str, Any]) -> list[str]:
    """Categories of which anybody's critiques hold a nitpick."""
    first = next(iter(policies.values()))["nitpick_categories"]
    return [name for name in first if any(m["nitpick_categories"][name]["estimate"] for m in policies.values())]


def _bins(curve: list[Mapping[str, Any]]) -> list[CalibrationBin]:
    return [CalibrationBin(b["predicted"], Interval.from_dict(b["observed"])) for b in curve]


def _number(value: float | None) -> str:
    if value is None or math.isnan(value):
        return "no estimate"
    return (f"{value:.0f}" if abs(value) >= 100 else f"{value:.3g}").replace("-", "−")


def _span(found: Mapping[str, Any]) -> str:
    return f"{_number(found['low'])} to {_number(found['high'])}" if found["low"] is not None else "no interval"


def _p(value: float) -> str:
    return "p < 0.001" if value < 0.001 else f"p = {value:.2g}"
