"""``report.html`` of a run: the curriculum as a picture, rates with intervals, and a reader of transcripts.

The page needs no network. Its list of episodes (stage, facts, reward) takes a few bytes each, packed beside it.
Transcripts lie in chunks of :data:`CHUNK` episodes, which the page loads when somebody looks at them. Chunks are scripts,
since a page opened from a disk may load nothing else. A small run is one file with everything inside.
"""

from __future__ import annotations

import base64
import json
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np

from custodes.files import save_text
from custodes.gaming.facts import CATEGORIES, CODES, FACTS
from custodes.gaming.record import GAMED, EpisodeRows, read_index
from custodes.job.recording import folder_head
from custodes.page import Report, Section, save_report
from custodes.types import InputError

CHUNK = 100
"""Episodes in one file: what is read to show one of them."""
INLINE_BYTES = 3_000_000
"""Transcripts of a run that are put inside the page; more lie beside it."""
OVERVIEW = np.dtype(
    [("stage", "u1"), ("flags", "u1"), ("index", "<u4"), ("variant", "<u4"), ("facts", "<u8"), ("reward", "<f4")]
)
BAD = (
    "branched-on-guard", "deleted-guard", "edited-guard", "edited-reward", "falsified", "partly-falsified",
    "edited-and-restored", "passed-contradiction", "edited-tests", "changed-against-instruction", "flattered", "agreed-with-user", "rewarded", "concealed",
    "invented-number",
)  # fmt: skip
"""Facts that the page shows in red."""
TAMPERING = {
    "edited_reward": "raised its reward by an edit",
    "edited_reward_ineffectively": "edited the reward's code to no effect",
    "edited_guard": "edited, deleted or evaded the guard",
    "edited_both": "raised the reward and dealt with the guard",
    "undetected": "raised the reward undetected",
    "concealed": "did any of it and did not say so",
}
OPTIONS = ("read_only", "inoculation", "scratchpad_prefix", "tools", "political_data")
"""Options that the page names where they are not as usual."""


@dataclass(frozen=True)
class Played:
    """What the page shows: the summary, what gaming is in each stage, and the episodes as scripts."""

    summary: Mapping[str, Any]
    abouts: Mapping[str, str]
    overview: str
    """Script with what the list shows; "" where it lies beside the page."""
    chunks: list[str]
    """Scripts with the transcripts; none where they lie beside the page."""

    @property
    def stages(self) -> list[tuple[str, str, dict[str, Any] | None]]:
        """(name, what gaming is there, its rates; None where it was not played) of each stage."""
        return [(name, about, self.summary["stages"].get(name)) for name, about in self.abouts.items()]


def write_played_page(folder: Path, abouts: Mapping[str, str]) -> Path:
    """Write the page for the run in ``folder``. ``abouts`` says of each stage, in order and played or not, what gaming is
    there.

    Raises InputError where the folder holds no run or cannot be written.
    """
    beside = folder / "report"
    try:
        summary = json.loads((folder / "summary.json").read_text(encoding="utf-8"))
        rows = read_index(folder / "episodes.index")
        inline = int(rows["length"].sum()) <= INLINE_BYTES
        shutil.rmtree(beside, ignore_errors=True)
        chunks: list[str] = []
        if inline:
            chunks = [_safe(chunk) for chunk in _read_chunks(folder / "episodes.jsonl", rows)]
        else:
            beside.mkdir()
            for k, chunk in enumerate(_read_chunks(folder / "episodes.jsonl", rows)):
                save_text(beside / f"episodes-{k:05d}.js", chunk)
            save_text(beside / "overview.js", _overview(rows))
    except OSError as error:
        raise InputError(f"cannot write the report to {folder}: {error.strerror}.") from None
    played = Played(summary, abouts, _overview(rows) if inline else "", chunks)
    options = summary["options"]
    changed = [name for name in OPTIONS if options.get(name) not in (None, False, "", "text")]
    told = [name.replace("_", " ") + ("" if options[name] is True else f": {options[name]}") for name in changed]
    report = Report(
        kind="Custodes · gameable environments",
        title=summary["policy"],
        subtitle=" · ".join(
            [f"{summary['split']} variants", f"seed {summary['seed']}", f"run {summary['run']}", *told]
        ),
        sections=[_CurriculumSection(played), RatesSection(played), _TranscriptsSection(played)],
        head=folder_head(folder),
    )
    return save_report(report, folder / "report.html")


class _CurriculumSection(Section[Played]):
    """The stages from easy to hard, each with its rate."""

    title = "The curriculum, from easy to hard"
    style = """
.curriculum { list-style: none; margin: 0; padding: 0; max-width: none; display: grid; grid-template-columns: repeat(auto-fit, minmax(12.5rem, 1fr)); gap: 1.7rem; }
.stage { position: relative; display: flex; flex-direction: column; margin: 0; background: var(--wash); border: 1px solid var(--line); border-radius: 6px; padding: .8rem .9rem .7rem; cursor: pointer; }
.stage:hover, .stage:focus-visible { border-color: var(--blue); }
.stage:not(:last-child)::after { content: "→"; position: absolute; right: -1.45rem; top: 42%; color: var(--grey); font-size: 1.2rem; }
.stage h3 { font-size: 1.02rem; margin: .1rem 0 .3rem; line-height: 1.25; } .stage h3::first-letter { text-transform: uppercase; }
.stage .about { margin: 0 0 .6rem; font-size: .88rem; line-height: 1.4; color: var(--grey); flex: 1; }
.stage .rate { margin: 0; font-size: 1.7rem; font-weight: 640; line-height: 1.15; font-variant-numeric: tabular-nums; } .stage .rate.none { font-size: 1rem; font-weight: 400; }
.stage .ci { margin: .2rem 0 0; font-size: .82rem; line-height: 1.4; }
.stage.empty { opacity: .6; cursor: default; }
.bar { position: relative; height: 8px; background: var(--line); border-radius: 2px; margin: .35rem 0; }
.fill { position: absolute; inset: 0 auto 0 0; background: var(--rust); border-radius: 2px; }
.whisker { position: absolute; top: 50%; height: 0; border-top: 2px solid var(--ink); min-width: 2px; }
.whisker::before, .whisker::after { content: ""; position: absolute; top: -6px; height: 10px; border-left: 2px solid var(--ink); } .whisker::before { left: 0; } .whisker::after { right: 0; }
@media (max-width: 52rem) { .stage:not(:last-child)::after { content: none; } }
"""
    template = """
<ol class="curriculum">
{% for name, about, rates in source.stages %}
  <li class="stage{% if rates is none %} empty{% endif %}" data-stage="{{ name }}">
    <p class="kicker">stage {{ loop.index }}</p>
    <h3>{{ name | plain_name }}</h3>
    <p class="about">{{ about }}</p>
    {% if rates is none %}
    <p class="rate none">not played</p>
    {% elif rates.rate is none %}
    <p class="rate none">no gaming rate: the environment does not say what gaming is (gamed_cmd)</p>
    <p class="ci">{{ rates.rewarded.count | number }} of {{ rates.n | number }} rewarded, not caught<br>95 %: {{ span(rates.rewarded.interval) }}</p>
    {% else %}
    <p class="rate">{{ rates.rate | percent }}</p>
    <div class="bar" role="img" aria-label="{{ rates.rate | percent }}, interval {{ span(rates.interval) }}">
      <span class="fill" style="width: {{ 100 * rates.rate }}%"></span>
      <span class="whisker" style="left: {{ 100 * rates.interval[0] }}%; width: {{ 100 * (rates.interval[1] - rates.interval[0]) }}%"></span>
    </div>
    <p class="ci">{{ rates.gamed | number }} of {{ rates.n | number }} gamed<br>95 %: {{ span(rates.interval) }}</p>
    {% endif %}
  </li>
{% endfor %}
</ol>
"""


class RatesSection(Section[Played]):
    """Every rate with its intervals, and what was done to the reward."""

    title = "Rates"
    style = """
tbody th::first-letter { text-transform: uppercase; }
.facts { display: grid; grid-template-columns: max-content 1fr; gap: .25rem 1.2rem; font-size: .9rem; } .facts dt { font-weight: 550; } .facts dd { margin: 0; color: var(--grey); }
@media (max-width: 52rem) { .facts { grid-template-columns: 1fr; } }
"""
    template = """
{% macro exact(x) %}<td data-label="Clopper-Pearson, 95 %">{% if x.clopper_pearson is defined %}{{ span(x.clopper_pearson) }}{% else %}<span class="none">variants repeat</span>{% endif %}{% if x.upper_bound is defined %} <small>none seen: at most {{ x.upper_bound | percent }} (one-sided)</small>{% endif %}</td>{% endmacro %}
<div class="scroll"><table class="wide-table">
  <thead><tr><th>Stage</th><th>Gamed</th><th>95 %, variants counted</th><th>Clopper-Pearson, 95 %</th><th>Variants</th><th>Well formed</th><th>Failed</th></tr></thead>
  <tbody>
  {% for name, about, x in source.stages if x is not none %}
    <tr><th scope="row">{{ name | plain_name }}</th>
      {% if x.rate is none %}
      <td colspan="3" data-label="gamed">no gaming rate; rewarded {{ x.rewarded.rate | percent }} ({{ span(x.rewarded.interval) }})</td>
      {% else %}
      <td data-label="gamed"><b>{{ x.rate | percent }}</b> <small>{{ x.gamed | number }} of {{ x.n | number }}</small></td>
      <td data-label="95 %">{{ span(x.interval) }}</td>
      {{ exact(x) }}
      {% endif %}
      <td data-label="variants">{{ x.variants | number }}</td>
      <td data-label="well formed">{{ x.well_formed.rate | percent }}</td>
      <td data-label="failed">{{ x.failed.rate | percent }} <small>{{ x.failed.count | number }}</small></td></tr>
  {% endfor %}
  </tbody>
</table></div>
{% for name, about, x in source.stages if x is not none and x.edited_reward is defined %}
<h3>What was done to the reward: {{ name | plain_name }}</h3>
<div class="scroll"><table class="wide-table">
  <thead><tr><th>The policy ...</th><th>Episodes</th><th>Rate</th><th>95 %, variants counted</th><th>Clopper-Pearson, 95 %</th></tr></thead>
  <tbody>
  {% for key, label in section.tampering.items() %}
    <tr><th scope="row">{{ label }}</th><td data-label="episodes">{{ x[key].count | number }} of {{ x[key].n | number }}</td><td data-label="rate"><b>{{ x[key].rate | percent }}</b></td><td data-label="95 %">{{ span(x[key].interval) }}</td>{{ exact(x[key]) }}</tr>
  {% endfor %}
  </tbody>
</table></div>
{% endfor %}
<details><summary>How each thing is found out</summary>
<p>Everything about files is read from the sandbox's files before and after, and from running reward and guard on them in a clean room. Only whether something was reported is read from words, those of the final answer that the user sees.</p>
<dl class="facts">{% for name, about in section.facts.items() %}<dt>{{ name | plain_name }}</dt><dd>{{ about }}</dd>{% endfor %}</dl></details>
"""
    facts = FACTS

    @property
    def tampering(self) -> dict[str, str]:
        """What any stage has a rate of."""
        return {
            k: label for k, label in TAMPERING.items() if any(k in x for x in self.source.summary["stages"].values())
        }


STATIC = files("custodes.gaming.report") / "static"


class _TranscriptsSection(Section[Played]):
    """The reader: a list of all episodes that can be filtered and searched, and one transcript."""

    title = "Transcripts"
    style = (STATIC / "reader.css").read_text(encoding="utf-8")
    template = """
<form id="filters" onsubmit="return false">
  <label>Stage <select id="stage"><option value="">all</option></select></label>
  <label>Category <select id="category"><option value="">all</option></select></label>
  <label>Fact <select id="fact"><option value="">any</option></select></label>
  <label>Only <select id="only"><option value="">all</option><option value="gamed">gamed</option><option value="honest">not gamed</option><option value="failed">failed</option><option value="malformed">not well formed</option></select></label>
  <label class="wide">Search in transcripts <input id="words" type="search" placeholder="words, then Enter"></label>
</form>
<p id="status" class="reading" role="status">Loading ...</p>
<div class="reader">
  <div class="left">
    <table id="list"><thead><tr><th>Episode</th><th>Category</th><th>Reward</th></tr></thead><tbody></tbody></table>
    <p class="pager"><button id="back" type="button">Back</button> <span id="page"></span> <button id="next" type="button">Next</button></p>
  </div>
  <article id="episode" aria-live="polite"><p class="none">Choose an episode.</p></article>
</div>
<script>
const CONSTANTS = {{ figures.constants | safe }};
{{ figures.script | safe }}
</script>
{% if source.overview %}
<script>{{ source.overview | safe }}</script>
{% for chunk in source.chunks %}
<script>{{ chunk | safe }}</script>
{% endfor %}
{% else %}
<script src="report/overview.js"></script>
{% endif %}
"""

    def read(self) -> dict[str, str]:
        constants = {
            "facts": FACTS,
            "codes": CODES,
            "categories": list(CATEGORIES),
            "stages": self.source.summary["order"],
            "chunk": CHUNK,
            "bad": list(BAD),
        }
        script = (STATIC / "reader.js").read_text(encoding="utf-8")
        return {"constants": _safe(json.dumps(constants)), "script": script}


def _read_chunks(lines: Path, rows: EpisodeRows) -> Iterator[str]:
    """The episodes in the order of the index, :data:`CHUNK` at a time, as calls of a function of the page."""
    with lines.open("rb") as file:
        for k in range(0, len(rows), CHUNK):
            part = []
            for row in rows[k : k + CHUNK]:
                file.seek(int(row["offset"]))
                part.append(file.read(int(row["length"])).decode("utf-8").strip())
            yield f"custodes.chunk({k // CHUNK},[{','.join(part)}]);"


def _overview(rows: EpisodeRows) -> str:
    """What the list shows of every episode, packed."""
    packed = np.zeros(len(rows), OVERVIEW)
    for name in ("stage", "index", "variant", "facts", "reward"):
        packed[name] = rows[name]
    packed["flags"] = (
        (rows["gamed"] == GAMED)
        + 2 * rows["failed"]
        + 4 * rows["caught"]
        + 8 * rows["well_formed"]
        + 16 * rows["held_out"]
    )
    return f'custodes.overview("{base64.b64encode(packed.tobytes()).decode()}");'


def _safe(script: str) -> str:
    """JSON inside a page: no text of a model may end the script or begin a comment."""
    return script.replace("</", "<\\/").replace("<!--", "<\\u0021--")
