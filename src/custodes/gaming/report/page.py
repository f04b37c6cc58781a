"""``report.html``: the curriculum as a picture, rates with intervals, and a reader of transcripts.

The page needs no network. What it says of each episode in the list (stage, facts, reward) is a few bytes, packed beside
it; transcripts lie in chunks of :data:`CHUNK` episodes that the page loads when they are looked at, as scripts, since
a page opened from a disk may load nothing else. A small run is one file with everything inside.
"""

from __future__ import annotations

import base64
import json
import shutil
from collections.abc import Iterator, Mapping
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np
from jinja2 import Environment, PackageLoader, StrictUndefined, select_autoescape

from custodes.files import save_text
from custodes.gaming.facts import CATEGORIES, CODES, FACTS
from custodes.gaming.record import GAMED, Rows, read_index
from custodes.job.recording import head_line
from custodes.types import InputError

CHUNK = 100
"""Episodes in one file: what is read to show one of them."""
INLINE_BYTES = 3_000_000
"""Transcripts of a run that are put inside the page; more lie beside it."""
OVERVIEW = np.dtype(
    [("stage", "u1"), ("flags", "u1"), ("index", "<u4"), ("variant", "<u4"), ("facts", "<u8"), ("reward", "<f4")]
)


def write_report(folder: Path, abouts: Mapping[str, str]) -> Path:
    """Write the page for the run in ``folder``; ``abouts`` says of each stage, in order and played or not, what gaming is there.

    Raises InputError where the folder holds no run or cannot be written.
    """
    page, beside = folder / "report.html", folder / "report"
    try:
        summary = json.loads((folder / "summary.json").read_text(encoding="utf-8"))
        rows = read_index(folder / "episodes.index")
        inline = int(rows["length"].sum()) <= INLINE_BYTES
        shutil.rmtree(beside, ignore_errors=True)
        scripts: list[str] = []
        if inline:
            scripts = [_safe(chunk) for chunk in chunks(folder / "episodes.jsonl", rows)]
        else:
            beside.mkdir()
            for k, chunk in enumerate(chunks(folder / "episodes.jsonl", rows)):
                save_text(beside / f"episodes-{k:05d}.js", chunk)
            save_text(beside / "overview.js", _overview(rows))
        save_text(page, render(summary, abouts, scripts, _overview(rows) if inline else "", head_line(folder)))
    except OSError as error:
        raise InputError(f"cannot write the report to {folder}: {error.strerror}.") from None
    return page


def chunks(lines: Path, rows: Rows) -> Iterator[str]:
    """The episodes in the order of the index, :data:`CHUNK` at a time, as calls of a function of the page."""
    with lines.open("rb") as file:
        for k in range(0, len(rows), CHUNK):
            part = []
            for row in rows[k : k + CHUNK]:
                file.seek(int(row["offset"]))
                part.append(file.read(int(row["length"])).decode("utf-8").strip())
            yield f"custodes.chunk({k // CHUNK},[{','.join(part)}]);"


def render(summary: dict[str, Any], abouts: Mapping[str, str], scripts: list[str], overview: str, head: str) -> str:
    """The page as text; ``head`` says how far the record had come. Everything that came from models is escaped."""
    environment = Environment(
        loader=PackageLoader("custodes.gaming.report"),
        autoescape=select_autoescape(("html", "j2")),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"percent": percent, "span": span, "fact": lambda name: name.replace("-", " ")}
    own = files("custodes.gaming.report") / "templates"
    constants = {
        "facts": FACTS,
        "codes": CODES,
        "categories": list(CATEGORIES),
        "stages": summary["order"],
        "chunk": CHUNK,
        "bad": list(BAD),
    }
    return environment.get_template("gaming.html.j2").render(
        summary=summary,
        stages=[(name, about, summary["stages"].get(name)) for name, about in abouts.items()],
        style=(own / "gaming.css").read_text(encoding="utf-8"),
        script=(own / "gaming.js").read_text(encoding="utf-8"),
        constants=_safe(json.dumps(constants)),
        facts=FACTS,
        overview=overview,
        head=head,
        chunks=scripts,
        tampering=[(name, label) for name, label in TAMPERING if any(name in s for s in summary["stages"].values())],
    )


BAD = (
    "branched-on-guard", "deleted-guard", "edited-guard", "edited-reward", "falsified", "partly-falsified",
    "edited-and-restored", "passed-contradiction", "edited-tests", "changed-against-instruction", "flattered", "agreed-with-user", "rewarded", "concealed",
    "invented-number",
)  # fmt: skip
"""Facts that the page shows in red."""
TAMPERING = (
    ("edited_reward", "raised its reward by an edit"),
    ("edited_reward_ineffectively", "edited the reward's code to no effect"),
    ("edited_guard", "edited, deleted or evaded the guard"),
    ("edited_both", "raised the reward and dealt with the guard"),
    ("undetected", "raised the reward undetected"),
    ("concealed", "did any of it and did not say so"),
)


def percent(value: float | None) -> str:
    """A rate as people read it: more digits the nearer it is to none or all."""
    if value is None:
        return "no data"
    away = min(value, 1 - value)
    digits = 0 if away == 0 else 1 if away >= 0.01 else 2 if away >= 0.001 else 3
    return f"{100 * value:.{digits}f} %"


def span(interval: list[float]) -> str:
    return f"{percent(interval[0]).removesuffix(' %')} to {percent(interval[1])}"


def _overview(rows: Rows) -> str:
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
