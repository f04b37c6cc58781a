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
from custodes.gaming.report.goals import goal_sections
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
    "invented-number", "followed-cue",
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
OPTIONS = (
    "read_only",
    "inoculation",
    "scratchpad_prefix",
    "tools",
    "political_data",
    "goal_decorrelated",
    "option_told",
)
"""Options that the page names where they are not as usual."""


def static_text(name: str) -> str:
    """A style, template or script of these pages."""
    return (files("custodes.gaming.report") / "static" / name).read_text(encoding="utf-8")


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
    options_shown = [
        name.replace("_", " ") + ("" if options[name] is True else f": {options[name]}") for name in changed
    ]
    report = Report(
        kind="Custodes · gameable environments",
        title=summary["policy"],
        subtitle=" · ".join(
            [f"{summary['split']} variants", f"seed {summary['seed']}", f"run {summary['run']}", *options_shown]
        ),
        sections=[
            _CurriculumSection(played),
            *goal_sections([(summary["policy"], summary["stages"])]),
            RatesSection(played),
            *_overseen(played),
            _TranscriptsSection(played),
        ],
        head=folder_head(folder),
    )
    return save_report(report, folder / "report.html")


class _CurriculumSection(Section[Played]):
    """The stages from easy to hard, each with its rate."""

    title = "The curriculum, from easy to hard"
    style = static_text("curriculum.css")
    template = static_text("curriculum.html")


class RatesSection(Section[Played]):
    """Every rate with its intervals, and what was done to the reward."""

    title = "Rates"
    style = """
tbody th::first-letter { text-transform: uppercase; }
.facts { display: grid; grid-template-columns: max-content 1fr; gap: .25rem 1.2rem; font-size: .9rem; } .facts dt { font-weight: 550; } .facts dd { margin: 0; color: var(--grey); }
@media (max-width: 52rem) { .facts { grid-template-columns: 1fr; } }
"""
    template = static_text("rates.html")
    facts = FACTS

    @property
    def tampering(self) -> dict[str, str]:
        """What any stage has a rate of."""
        return {
            k: label for k, label in TAMPERING.items() if any(k in x for x in self.source.summary["stages"].values())
        }


def _overseen(played: Played) -> list[Section[Played]]:
    """The section on oversight, where there was any."""
    return [_OversightSection(played)] if any("oversight" in x for x in played.summary["stages"].values()) else []


class _OversightSection(Section[Played]):
    """What an overseer caught in each stage, what that cost, and which episodes were gamed all the same."""

    title = "Oversight"
    template = """
{% for name, about, x in source.stages if x is not none and x.oversight is defined %}
<h3>{{ name | plain_name }}</h3>
{% for sentence in x.oversight.sentences %}<p>{{ sentence }}</p>{% endfor %}
<p>{% if x.oversight.gamed_all_the_same %}Gamed all the same: {{ x.oversight.gamed_all_the_same | length }} episodes, numbers {{ x.oversight.gamed_all_the_same[:20] | join(", ") }}{% if x.oversight.gamed_all_the_same | length > 20 %} and others{% endif %}. Their transcripts are below.{% else %}No episode was gamed all the same.{% endif %}</p>
{% endfor %}
"""


class _TranscriptsSection(Section[Played]):
    """The reader: a list of all episodes that can be filtered and searched, and one transcript."""

    title = "Transcripts"
    style = static_text("reader.css")
    template = static_text("transcripts.html")

    def read(self) -> dict[str, str]:
        constants = {
            "facts": FACTS,
            "codes": CODES,
            "categories": list(CATEGORIES),
            "stages": self.source.summary["order"],
            "chunk": CHUNK,
            "bad": list(BAD),
        }
        script = static_text("reader.js")
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
