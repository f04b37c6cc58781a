"""``report.html`` of a training run: the generalisation matrix as a heat map, and what each round rewarded."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from custodes.gaming.report.goals import goal_sections
from custodes.gaming.report.played import RatesSection, static_text
from custodes.job.recording import folder_head
from custodes.ledger.heads import Head
from custodes.page import Report, Section, charts, plain_name, save_report
from custodes.page.drawing import alt
from custodes.types import InputError

LINES = {"success": "rewarded", "gamed": "gamed", "well_formed": "well formed"}
"""What the chart shows of a step's episodes: shares."""
Summary = Mapping[str, Any]


def write_training_page(folder: Path) -> Path:
    """Write the page for the training run in ``folder``, from its ``summary.json``.

    Raises InputError where there is none or the page cannot be written.
    """
    try:
        summary = json.loads((folder / "summary.json").read_text(encoding="utf-8"))
        if summary.get("kind") != "training":
            raise ValueError
    except ValueError:
        raise InputError(f"{folder} holds no run of custodes gaming train (no summary.json that says so).") from None
    except OSError as error:
        raise InputError(f"cannot write the report to {folder}: {error.strerror}.") from None
    return save_report(_training_report(summary, folder_head(folder)), folder / "report.html")


def _training_report(summary: Summary, head: Head | None) -> Report:
    """The page of a training run's summary."""
    steps = any(r["training"].get("steps") for r in summary["rounds"])
    rounds = f"{len(summary['rounds'])} of {summary['planned']} measurements"
    return Report(
        kind="Custodes · training through the curriculum",
        title=summary["policy"],
        subtitle=f"seed {summary['seed']} · run {summary['run']} · {rounds}",
        sections=[
            _MatrixSection(summary),
            *goal_sections([(round["title"], round["measured"]) for round in summary["rounds"]]),
            *([_StepsSection(summary)] if steps else []),
            _RoundsSection(summary),
            *([_OversightSection(summary)] if any(r.get("oversight") for r in summary["rounds"]) else []),
            _ChangeSection(summary),
            _OptionsSection(summary),
        ],
        head=head,
    )


class _MatrixSection(Section[Summary]):
    """The generalisation matrix: the policy after each round, played on each stage."""

    title = "What training on some stages does to all of them"
    style = """
body { max-width: 82rem; }
.matrix { border-collapse: separate; border-spacing: 3px; } .matrix th, .matrix td { border: 0; padding: .5rem .7rem; }
.matrix thead th { text-align: left; width: 9.5rem; } .matrix thead th::first-letter { text-transform: uppercase; } .matrix tbody th { max-width: 15rem; padding-left: 0; }
.cell { border-radius: 5px; background: color-mix(in srgb, var(--rust) calc(var(--heat) * 1%), var(--wash)); }
.cell b { display: block; font-size: 1.15rem; font-weight: 640; } .cell small, .cell.hot small { display: block; color: inherit; opacity: .85; line-height: 1.35; }
.cell.hot { color: #fff; } .cell.own { outline: 2px solid var(--ink); outline-offset: -2px; }
@media (prefers-color-scheme: dark) { .cell.hot { color: #191917; } }
.heat { display: inline-flex; align-items: center; gap: .35rem; margin-right: 1.2rem; } .heat i { width: 5rem; height: .75rem; border-radius: 3px; background: linear-gradient(90deg, var(--wash), var(--rust)); border: 1px solid var(--line); } .heat em { width: 1rem; height: .85rem; border: 2px solid var(--ink); border-radius: 3px; }
"""
    template = static_text("matrix.html")

    def read(self) -> set[str]:
        """The stages that any round trained on."""
        return {stage for round in self.source["rounds"] for stage in round["trained_on"]}

    @staticmethod
    def heat(rate: float) -> int:
        """Share of colour of a cell, in percent: the square root, so that one in a thousand is still seen."""
        return round(100 * rate**0.5)


class _StepsSection(Section[Summary]):
    """Shares of the sampled episodes along all steps of all rounds."""

    title = "What was rewarded, step by step"
    template = """
<div class="key">{{ charts.key | safe }}</div>
{{ figure(charts.steps) }}
<p class="reading">Shares of a step's sampled episodes, training variants, before the step's update; ordinary prompts are not counted.</p>
"""

    def charts(self) -> dict[str, str]:
        rounds = [(r["title"], r["training"]["steps"]) for r in self.source["rounds"] if r["training"].get("steps")]
        total = sum(len(steps) for _, steps in rounds)
        ticks = {"values": list(range(1, total + 1))} if total <= 20 else {"tickCount": 10}
        x = alt.X("x:Q", title="step, round after round", axis=alt.Axis(grid=False, format="d", **ticks))
        y = alt.Y("y:Q", title=None, scale=alt.Scale(domain=[0, 1]), axis=alt.Axis(format=".0%", values=[0, 0.5, 1]))
        rows: dict[str, charts.Rows] = {name: [] for name in LINES}
        titles: charts.Rows = []
        layers: list[alt.Chart] = []
        begun = 0
        for k, (title, steps) in enumerate(rounds):
            for name, of_line in rows.items():
                of_line += [{"x": begun + i, "y": s[name], "round": k} for i, s in enumerate(steps, 1) if name in s]
            if begun:
                layers.append(charts.vertical_rule(begun + 0.5, charts.GREY, "step, round after round", [3, 3]))
            titles.append({"x": begun + (len(steps) + 1) / 2, "title": plain_name(title), "row": k % 2})
            begun += len(steps)
        for k, of_line in enumerate(rows.values()):
            line = charts.series_line(k, of_line).encode(x=x, y=y, detail="round:N")
            layers += [line, line.mark_point(size=18, filled=True, color=charts.INKS[k], opacity=1)]
        for row in (0, 1):  # neighbours stand at different heights
            text = alt.Chart(charts.chart_data([t for t in titles if t["row"] == row])).mark_text(color=charts.INK)
            layers.append(text.encode(x=x, y=alt.value(-20 + 13 * row), text="title:N"))
        chart = alt.layer(*layers).properties(width=860, height=170)
        about = "Shares of each step's episodes that were rewarded, gamed and well formed."
        return {"steps": charts.inline_svg(chart, about), "key": charts.series_key(list(LINES.values()))}


class _RoundsSection(Section[Summary]):
    """What each round was trained on, and how."""

    title = "Rounds"
    template = static_text("rounds.html")


class _OversightSection(Section[Summary]):
    """What an overseer caught in each round's training, and what that cost."""

    title = "Oversight in training"
    template = """
{% for r in source.rounds if r.oversight %}<h3>{{ r.title }}</h3>{% for sentence in r.oversight %}<p>{{ sentence }}</p>{% endfor %}{% endfor %}
<p>All stages are measured without an overseer.</p>
"""


class _ChangeSection(Section[Summary]):
    """Every stage after every round against the policy before training, on the same episodes."""

    title = "Change on the same episodes"
    template = static_text("change.html")


class _OptionsSection(Section[Summary]):
    """The options that were set, and what gaming is in each stage."""

    title = "Options"
    style = RatesSection.style
    template = """
<p class="reading">{% for name, value in source.options.items() if value not in (none, false, "", 0) %}{{ name | plain_name }}: {{ value }}{% if not loop.last %} · {% endif %}{% endfor %}</p>
<dl class="facts">{% for stage, about in source.abouts.items() %}<dt>{{ stage | plain_name }}</dt><dd>{{ about }}</dd>{% endfor %}</dl>
"""
