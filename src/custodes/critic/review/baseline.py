"""Findings that are known: a file that says how often each occurs, wherever its lines have moved."""

from __future__ import annotations

import json
import os
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from custodes.critic.review.findings import Review, Reviewed
from custodes.files import save_json
from custodes.types import InputError

Key = tuple[str, str, str]
"""(file relative to the baseline's folder, function or method, quote without its white space)"""


@dataclass(slots=True)
class Baseline:
    """How often a quote occurs in a function of a file. ``path`` is where it is kept: files are named from its folder."""

    path: Path
    counts: Counter[Key] = field(default_factory=Counter)

    def take(self, finding: Reviewed, times: int) -> bool:
        """Whether the finding is known as often as it occurs; if so, those are used up."""
        key = _key(finding, self.path)
        known = times <= self.counts[key]
        if known:
            self.counts[key] -= times
        return known


def read_baseline(path: Path) -> Baseline:
    """Raises InputError for a file that cannot be read, or that says of no finding in which function it is."""
    try:
        rows = json.loads(path.read_text(encoding="utf-8"))
        old = any("name" not in row for row in rows)
        counts = {} if old else {(r["file"], r["name"], _bare(r["quote"])): int(r["count"]) for r in rows}
    except (OSError, ValueError, TypeError, KeyError, AttributeError):
        raise InputError(f"baseline {path} cannot be read; --write-baseline {path} makes one.") from None
    if old:
        remedy = f"--write-baseline {path} without --baseline makes it anew"
        raise InputError(f"baseline {path} is of an older version, which did not tell functions apart; {remedy}.")
    return Baseline(path, Counter(counts))


def write_baseline(path: Path, result: Review, known: Baseline | None = None) -> None:
    """What was found is known from now on, with what was known and still occurs or was not looked at."""
    quotes, counts = dict[Key, str](), Counter[Key]()
    for finding, times in result.occurring:
        key = _key(finding, path)
        quotes.setdefault(key, finding.quote)
        counts[key] += times
    if known is not None:
        whole = {_relative(file, path) for file in result.whole}
        for (file, name, quote), times in known.counts.items():
            here = file if file == "-" else _relative(os.path.join(known.path.parent, file), path)
            if here not in whole:
                counts[here, name, quote] = max(times, counts[here, name, quote])
    rows = [
        {"file": key[0], "name": key[1], "quote": quotes.get(key, key[2]), "count": times}
        for key, times in sorted(counts.items())
    ]
    save_json(path, rows, indent=1)


def _key(finding: Reviewed, baseline: Path) -> Key:
    return _relative(finding.file, baseline), finding.name, _bare(finding.quote)


def _bare(quote: str) -> str:
    return " ".join(quote.split())


def _relative(file: str, baseline: Path) -> str:
    """The file's name from the baseline's folder, however it was typed."""
    if file == "-":
        return file
    return Path(os.path.relpath(os.path.realpath(file), os.path.realpath(baseline.parent))).as_posix()
