"""The report of a run: ``report.html``, one page that needs no network, and ``report.json``, the same content."""

from __future__ import annotations

from collections.abc import Iterator
from importlib.resources import files
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined, select_autoescape

from custodes.audit import charts, words
from custodes.audit.collect import Audit, collect
from custodes.files import save_json, save_text
from custodes.ledger import Ledger
from custodes.types import InputError

# along training: what the optimiser sees at each step, in the order in which it is shown
STEP_FIELDS = (
    ("proxy", "Proxy reward"),
    ("kl", "KL per episode, nats"),
    ("entropy", "Entropy per token, nats"),
    ("length", "Length, tokens"),
    ("proxy_std", "Ensemble disagreement"),
    ("clip_fraction", "Clipped share of actions"),
    ("value_error", "Value error"),
    ("grad_norm", "Gradient norm"),
    ("truncated", "Cut at the token limit"),
)


def write_report(ledger: Ledger, run: str, out: str | Path) -> tuple[Path, Path]:
    """Audit ``run`` and write ``out/report.html`` and ``out/report.json``; returns both paths.

    Raises InputError when the run is unknown or the folder cannot be written.
    """
    audit = collect(ledger, run)
    folder = Path(out)
    page, data = folder / "report.html", folder / "report.json"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        save_text(page, render(audit))
        save_json(data, audit.to_json(), indent=1, allow_nan=False)
    except OSError as error:
        raise InputError(f"cannot write the report to {folder}: {error.strerror}.") from None
    return page, data


def render(audit: Audit) -> str:
    """The page as text. Everything that came from models or people is escaped."""
    environment = Environment(
        loader=PackageLoader("custodes.audit"),
        autoescape=select_autoescape(("html", "j2")),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "number": words.number,
        "signed": words.signed,
        "percent": words.percent,
        "duration": words.duration,
        "words": words.plain_name,
        "fmt": lambda value, form: words.FORMS[form](value),
    }
    arms = sorted(dict.fromkeys([*audit.optimisation, *audit.rewards]), key=lambda arm: arm != "careful")
    return environment.get_template("report.html.j2").render(
        audit=audit,
        head=audit.headline,
        arms=arms,
        several=len(arms) > 1,
        charts=draw(audit),
        fits={arm: list(_fits(section)) for arm, section in audit.optimisation.items()},
        style=files("custodes.audit").joinpath("templates/report.css").read_text(encoding="utf-8"),
    )


def draw(audit: Audit) -> dict[str, Any]:
    """Every chart of the page as SVG, by name and arm; None where there is nothing to draw."""
    judges = audit.judges["judges"] if audit.judges else []
    runs = audit.optimisation
    steps = {arm: o["steps"] for arm, o in runs.items()}
    small = (charts.step_chart(steps, field, title) for field, title in STEP_FIELDS)
    return {
        "judges": charts.judges_chart(judges) if judges else None,
        "judges_shown": min(len(judges), charts.MOST_JUDGES),
        "truth": charts.truth_chart(judges) if any(j["true_reliability"] is not None for j in judges) else None,
        "reliability": {
            arm: charts.reliability_chart(r["diagram_before"], r["diagram_after"]) for arm, r in audit.rewards.items()
        },
        "proxy": {arm: charts.gain_chart(o, "proxy") for arm, o in runs.items()},
        "gold": {arm: charts.gain_chart(o, "gold") for arm, o in runs.items()},
        "steps": [svg for svg in small if svg],
        "key": charts.arms_key(list(steps)) if len(steps) > 1 else None,
        "checks": {
            arm: charts.checks_chart(g["checks"]) if g.get("checks") else None for arm, g in audit.gaming.items()
        },
        "arms": charts.arms_chart({a: runs[a]["points"] for a in audit.arms["gold"]}, audit.arms["sqrt_kl"])
        if audit.arms
        else None,
    }


def _fits(section: dict[str, Any]) -> Iterator[tuple[str, Any]]:
    """("gold, best-of-n", fit) for each curve that could be fitted."""
    for label, curve in (("optimised", section), ("best-of-n", section.get("best_of_n", {}))):
        for name, fit in curve.get("fit", {}).items():
            if fit is not None:
                yield f"{name}, {label}", fit
