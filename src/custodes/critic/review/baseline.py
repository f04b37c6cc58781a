"""Findings that are known: a file that says how often each occurs, wherever its lines, or its file, have moved.

In its own file a finding is known by function and quote, so that the rest of the function may change. Elsewhere it is
known by content: the quote and the whole piece of code that was reviewed.
"""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from custodes.critic.review.findings import Review, Reviewed
from custodes.critic.review.places import file_of
from custodes.files import save_json
from custodes.types import InputError


class Known(NamedTuple):
    """One row of the file. ``file`` is relative to the baseline's folder; ``quote`` is without its white space."""

    file: str
    name: str
    quote: str
    content: str


@dataclass(slots=True)
class Baseline:
    """How often a finding occurs. ``path`` is where it is kept: files are named from its folder."""

    path: Path
    counts: Counter[Known] = field(default_factory=Counter)

    def take(self, finding: Reviewed, times: int) -> bool:
        """Whether the finding is known as often as it occurs; if so, those are used up."""
        keys = list(self._alike(_key(finding, self.path)))
        if sum(self.counts[key] for key in keys) < times:
            return False
        for key in keys:
            used = min(times, self.counts[key])
            self.counts[key] -= used
            times -= used
        return True

    def _alike(self, new: Known) -> Iterator[Known]:
        """What is known of the file's function by quote; else what has its content, that of files that are gone first."""
        here = [key for key in self.counts if key[:3] == new[:3] and self.counts[key] > 0]
        moved = [key for key in self.counts if key[2:] == new[2:] and key.file != new.file and self.counts[key] > 0]
        yield from sorted(here, key=lambda key: key.content != new.content)
        if not here:
            yield from sorted(moved, key=self._is_there)

    def _is_there(self, key: Known) -> bool:
        return os.path.exists(os.path.join(self.path.parent, file_of(key.file)))


def read_baseline(path: Path) -> Baseline:
    """Raises InputError for a file that cannot be read, or that does not say what content a finding was in."""
    try:
        rows = json.loads(path.read_text(encoding="utf-8"))
        if not isinstance(rows, list):
            raise TypeError
        old = any("content" not in row for row in rows)
        counts = Counter[Known]()
        for r in [] if old else rows:
            counts[Known(r["file"], r["name"], _bare(r["quote"]), r["content"])] += int(r["count"])
    except (OSError, ValueError, TypeError, KeyError, AttributeError):
        raise InputError(f"baseline {path} cannot be read; --write-baseline {path} makes one.") from None
    if old:
        remedy = f"--write-baseline {path} without --baseline makes it anew"
        raise InputError(f"baseline {path} is of an older version, which did not know findings by content; {remedy}.")
    return Baseline(path, counts)


def write_baseline(path: Path, result: Review, known: Baseline | None = None) -> None:
    """What was found is known from now on, with what was known in files that are there and were not looked at.

    Of what was looked at, only what still occurs is kept.
    """
    quotes, counts = dict[Known, str](), Counter[Known]()
    for finding, times in result.occurring:
        key = _key(finding, path)
        quotes.setdefault(key, finding.quote)
        counts[key] += times
    if known is not None:
        whole = {_relative(file, path) for file in result.whole}
        for key, times in known.counts.items():
            was = os.path.join(known.path.parent, key.file)
            here = key._replace(file=key.file if key.file == "-" else _relative(was, path))
            if here.file not in whole and (key.file == "-" or os.path.exists(file_of(was))):
                counts[here] = max(times, counts[here])
    rows = [
        {
            "file": key.file,
            "name": key.name,
            "quote": quotes.get(key, key.quote),
            "content": key.content,
            "count": times,
        }
        for key, times in sorted(counts.items())
    ]
    save_json(path, rows, indent=1)


def _key(finding: Reviewed, baseline: Path) -> Known:
    return Known(_relative(finding.file, baseline), finding.name, _bare(finding.quote), finding.content)


def _bare(quote: str) -> str:
    return " ".join(quote.split())


def _relative(file: str, baseline: Path) -> str:
    """The file's name from the baseline's folder, however it was typed."""
    if file == "-":
        return file
    return Path(os.path.relpath(os.path.realpath(file), os.path.realpath(baseline.parent))).as_posix()
