"""A review from files to findings: the cache, what is left out, and what happens when the engine dies half way."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from custodes.critic.critique import Finding, Place
from custodes.critic.review.critics import Critic, EngineDied, Remark
from custodes.critic.review.snippets import Problem, Snippet, ignored_lines, read_text, snippets_of
from custodes.types import InputError

OnProgress = Callable[[int, int], None]
"""Called with (snippets done, snippets in all)."""
Cut = Callable[[str, str], tuple[list[Snippet], list[Problem]]]
"""(file, its text) -> pieces, and what could not be cut."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ReviewOptions:
    """What of the critic's remarks is shown."""

    strictness: float = 0.0
    """Above 0 shows more, below 0 less: how much weaker evidence may be, and with a search what a further quote is worth."""
    max_findings: int = 0
    """At most so many findings in a file, the most confident; 0 shows all."""

    def __post_init__(self) -> None:
        if self.max_findings < 0:
            raise InputError(f"review option max_findings is {self.max_findings}; it must be 0 (all) or more.")


@dataclass(frozen=True, slots=True)
class Reviewed:
    """One finding in a file; ``places`` lists every line range that the quote may mean, the first is ``line``."""

    file: str
    line: int
    end_line: int
    quote: str
    message: str
    confidence: float
    places: tuple[tuple[int, int], ...]

    @property
    def fingerprint(self) -> str:
        """The same after lines above have moved: of the file, the quote and nothing else."""
        return hashlib.sha256(f"{self.file}\0{' '.join(self.quote.split())}".encode()).hexdigest()[:20]


@dataclass(slots=True)
class Review:
    """Findings in the order of files, the most confident of each first; ``died`` says why not all was reviewed."""

    findings: list[Reviewed] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)
    files: int = 0
    snippets: int = 0
    cached: int = 0
    hidden: int = 0  # by a comment, the baseline, or the lines of a diff
    died: str = ""
    texts: dict[str, str] = field(default_factory=dict, repr=False)  # of every file, as it was read


def review(
    files: Sequence[str],
    critic: Critic,
    options: ReviewOptions,
    cache: Path | None = None,
    changed: Mapping[str, set[int]] | None = None,
    known: Iterable[str] = (),
    on_progress: OnProgress | None = None,
    texts: Mapping[str, str] | None = None,
    cut: Cut = snippets_of,
) -> Review:
    """Review files ("-" is standard input).

    ``cache`` is a folder in which answers of this critic stay; ``changed`` restricts findings to lines of the new
    files; findings whose fingerprint is ``known`` are left out; ``texts`` are contents that an editor holds, in place of
    those on disk; ``cut`` makes pieces of a file's text.
    """
    result, known = Review(files=len(files)), set(known)
    work: list[Snippet] = []
    for file in files:
        text, problem = (texts[file], None) if texts is not None and file in texts else read_text(file)
        snippets, broken = cut(file, text) if problem is None else ([], [problem])
        result.problems += broken
        result.texts[file] = text
        work += [s for s in snippets if changed is None or _touched(s, changed.get(file, set()))]
    result.snippets = len(work)
    remarks: dict[str, list[Remark]] = {file: [] for file in files}
    store = _Store(cache, critic)
    for done, snippet in enumerate(work):
        if on_progress is not None:
            on_progress(done, len(work))
        try:
            found, cached = store.ask(snippet)
        except EngineDied as death:
            result.died = f"{len(work) - done} of {len(work)} pieces were not reviewed: {death}"
            break
        result.cached += cached
        remarks[snippet.file] += found
    for file in files:
        result.findings += _shown(file, result.texts[file], remarks[file], options, changed, known, result)
    return result


def _shown(
    file: str,
    text: str,
    remarks: list[Remark],
    options: ReviewOptions,
    changed: Mapping[str, set[int]] | None,
    known: set[str],
    result: Review,
) -> list[Reviewed]:
    ignored, found = ignored_lines(text), []
    for remark in sorted(remarks, key=lambda r: (-r.confidence, r.places[0].start)):
        if remark.score + options.strictness < 0:
            continue
        places = [(p.start, p.end) for p in remark.places if not ignored & set(range(p.start, p.end + 1))]
        if changed is not None:
            touched = changed.get(file, set())
            places = [(start, end) for start, end in places if touched & set(range(start, end + 1))]
        finding = remark.finding
        one = Reviewed(
            file, *(places or [(0, 0)])[0], finding.quote, finding.comment, round(remark.confidence, 4), tuple(places)
        )
        if not places or one.fingerprint in known:
            result.hidden += 1
        else:
            found.append(one)
    return found[: options.max_findings or None]


def _touched(snippet: Snippet, lines: set[int]) -> bool:
    return bool(lines & set(range(snippet.first, snippet.last + 1)))


# ---------------------------------------------------------------- what is kept


class _Store:
    """Answers by critic and content: a piece that did not change costs nothing, wherever it stands now."""

    def __init__(self, folder: Path | None, critic: Critic) -> None:
        self.critic = critic
        self.folder = None if folder is None else folder / critic.fingerprint[:16]
        if self.folder is not None:
            self.folder.mkdir(parents=True, exist_ok=True)

    def ask(self, snippet: Snippet) -> tuple[list[Remark], bool]:
        path = None if self.folder is None else self.folder / f"{snippet.key}.json"
        if path is not None and path.exists():
            try:
                return [_remark(row, snippet.first - 1) for row in json.loads(path.read_text())], True
            except (ValueError, KeyError, TypeError):  # cut off by a full disk
                pass
        found = self.critic.review(snippet)
        if path is not None:
            partial = path.with_suffix(".partial")
            partial.write_text(json.dumps([_row(remark, 1 - snippet.first) for remark in found]))
            partial.replace(path)
        return found, False


def _row(remark: Remark, shift: int) -> dict[str, Any]:
    """Lines count from the snippet's own first."""
    return {**asdict(remark), "places": [(p.start + shift, p.end + shift) for p in remark.places]}


def _remark(row: dict[str, Any], shift: int) -> Remark:
    places = tuple(Place(start + shift, end + shift) for start, end in row["places"])
    return Remark(Finding(**row["finding"]), places, row["confidence"], row["score"])


def read_baseline(path: Path) -> set[str]:
    """Fingerprints of findings that are known. Raises InputError."""
    try:
        rows = json.loads(path.read_text(encoding="utf-8"))
        return {str(row["fingerprint"]) for row in rows}
    except (OSError, ValueError, TypeError, KeyError):
        raise InputError(f"baseline {path} cannot be read; --write-baseline {path} makes one.") from None


def write_baseline(path: Path, findings: Sequence[Reviewed]) -> None:
    """What is found now becomes what is known."""
    rows = [{"fingerprint": f.fingerprint, "file": f.file, "quote": f.quote} for f in findings]
    path.write_text(json.dumps(rows, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
