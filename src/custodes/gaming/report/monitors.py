"""``monitors.html`` of a run: what each monitor caught, what it missed, and whom it suspected for nothing."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from custodes.gaming.report.played import static_text
from custodes.job.recording import folder_head
from custodes.page import Report, Section, plain_name, save_report
from custodes.types import InputError

COLUMNS = {
    "recall": ("Recall", "alarms among gamed episodes"),
    "false_positive_rate": ("False positives", "alarms among clean episodes"),
    "attempted": ("Attempts", "alarms among episodes that tampered to no effect"),
    "precision": ("Precision", "gamed among clean or gamed episodes with an alarm"),
    "unread": ("No verdict", "episodes whose verdict could not be read"),
}


def write_monitors_page(folder: Path) -> Path:
    """Write the page from the folder's ``monitors.json``. Raises InputError where there is none."""
    try:
        measured = json.loads((folder / "monitors.json").read_text(encoding="utf-8"))
    except ValueError:
        raise InputError(f"{folder / 'monitors.json'} is no JSON; run custodes gaming monitor again.") from None
    except OSError as error:
        raise InputError(f"cannot write the page of monitors in {folder}: {error.strerror}.") from None
    sections: list[Section[Any]] = [
        _MonitorSection(monitor, f"monitor-{k}", f"{monitor['monitor']}, seeing {plain_name(monitor['sees'])}")
        for k, monitor in enumerate(measured["monitors"])
    ]
    if measured["scratchpad"]:
        sections.append(_ScratchpadSection(measured["scratchpad"]))
    report = Report(
        kind="Custodes · monitors",
        title=f"Monitors of {folder.resolve().name}",
        subtitle="Monitors read recorded episodes, after the fact. The truth is what the sandbox's files say.",
        about="Intervals are Wilson's at 95 %. Where nothing was seen, the one-sided upper bound stands in their place.",
        sections=sections,
        head=folder_head(folder),
    )
    return save_report(report, folder / "monitors.html")


class _MonitorSection(Section[Mapping[str, Any]]):
    """One monitor: its rates, its alarms by what was really done, and its mistakes."""

    style = "tbody th::first-letter { text-transform: uppercase; }\n"
    template = static_text("monitor.html")
    columns = COLUMNS

    @property
    def stages(self) -> list[tuple[str, Mapping[str, Any]]]:
        return [("all stages", self.source["all"]), *self.source["stages"].items()]


class _ScratchpadSection(Section[list[dict[str, Any]]]):
    """Monitors that saw the same episodes without and with the scratchpad."""

    title = "What seeing the scratchpad adds"
    template = """
<p class="reading">The same episodes, read without and with it: the difference in points, its interval (Bonett and Price) and McNemar's exact test.</p>
<div class="scroll"><table class="wide-table"><thead><tr><th>Monitor</th><th>Recall</th><th>False positives</th></tr></thead><tbody>
{% for pair in source %}<tr><th scope="row">{{ pair.monitor }}</th>{% for key, title in (("recall", "recall"), ("false_positive_rate", "false positives")) %}
  <td data-label="{{ title }}">{{ interval(pair[key].difference, "points") }}{% if pair[key].difference.n %} <small>{{ pair[key].p | p_value }}</small>{% endif %}</td>{% endfor %}</tr>{% endfor %}
</tbody></table></div>
"""
