"""A review from files to findings: the cache, what is left out, and what happens when the engine dies half way."""

from __future__ import annotations

import json
import warnings
from collections.abc import Callable, Mapping, Sequence
from copy import deepcopy
from dataclasses import asdict, dataclass
from pathlib import Path

from custodes.critic.review.baseline import Baseline
from custodes.critic.review.critics import Critic, EngineDied, Remark
from custodes.critic.review.findings import Review, Reviewed
from custodes.critic.review.proposals import Proposer
from custodes.critic.review.running import Alongside, Examined, RunOptions, examine
from custodes.critic.review.snippets import Problem, Snippet, ignored_lines, read_text, snippets_of
from custodes.feedback.critique import Finding, Place
from custodes.files import save_json
from custodes.ranges import AnyFloat, ranged

OnProgress = Callable[[int, int], None]
"""Called with (snippets done, snippets in all)."""
Cut = Callable[[str, str], tuple[list[Snippet], list[Problem]]]
"""(file, its text) -> pieces, and what could not be cut."""


@dataclass(frozen=True, slots=True, kw_only=True)
@ranged
class ReviewOptions:
    """What of the critic's remarks is shown."""

    strictness: AnyFloat = 0.0
    """Above 0 shows more, below 0 less: how much weaker evidence may be, and with a search what a further quote is worth."""
    max_findings: int = 0
    """At most so many findings in a file, the most confident; 0 shows all."""


def review(
    files: Sequence[str],
    critic: Critic | None,
    options: ReviewOptions,
    cache: Path | None = None,
    changed: Mapping[str, set[int]] | None = None,
    known: Baseline | None = None,
    on_progress: OnProgress | None = None,
    texts: Mapping[str, str] | None = None,
    cut: Cut = snippets_of,
    run: RunOptions | None = None,
    proposer: Proposer | None = None,
    alongside: Alongside = Alongside(),  # noqa: B008 (frozen)
) -> Review:
    """Review files ("-" is standard input).

    Args:
        files: what is reviewed, in this order.
        critic: whose remarks are asked for, below what running has shown; None asks nobody.
        options: which remarks are shown.
        cache: a folder in which answers of this critic stay.
        changed: restricts findings to these lines of the new files.
        known: findings that are left out, as often as they occur.
        on_progress: called after each snippet.
        texts: contents that an editor holds, in place of those on disk.
        cut: makes pieces of a file's text.
        run: how functions are run in the sandbox; None runs nothing.
        proposer: a model whose samples vote on what functions give.
        alongside: tests that are run too, and versions before a change.
    """
    result, known = Review(files=len(files)), deepcopy(known)
    work: list[Snippet] = []
    for file in files:
        text, problem = (texts[file], None) if texts is not None and file in texts else read_text(file)
        snippets, broken = cut(file, text) if problem is None else ([], [problem])
        result.problems += broken
        result.texts[file] = text
        result.whole += [file] if changed is None and not broken else []
        work += [s for s in snippets if changed is None or changed.get(file, set()) & set(range(s.first, s.last + 1))]
    remarks: dict[str, list[tuple[str, Remark]]] = {file: [] for file in files}
    if run is not None:
        sources = {file: result.texts[file] for file in files}
        examined = _examined(sources, run, changed, on_progress, proposer, cache, alongside, result)
        for file, found in examined.remarks.items():
            remarks[file] += found
    store = _Store(cache, critic) if critic is not None else None
    result.snippets = len(work) if store is not None else 0
    for done, snippet in enumerate(work if store is not None else ()):
        assert store is not None
        if on_progress is not None:
            on_progress(done, len(work))
        try:
            answers, cached = store.ask(snippet)
        except EngineDied as death:
            left, of = len(work) - done, len(work)
            lost = f"{left} of {of} {'piece' if of == 1 else 'pieces'} {'was' if left == 1 else 'were'} not reviewed"
            result.died = f"{lost}: {str(death).rstrip('.')}"
            result.whole = [file for file in result.whole if all(s.file != file for s in work[done:])]
            break
        result.cached += cached
        remarks[snippet.file] += [(snippet.name, remark) for remark in answers]
    for file in files:
        lines = None if changed is None else changed.get(file, set())
        result.findings += _shown(file, remarks[file], options, lines, known, result)
    return result


def _examined(
    texts: Mapping[str, str],
    run: RunOptions,
    changed: Mapping[str, set[int]] | None,
    on_progress: OnProgress | None,
    proposer: Proposer | None,
    cache: Path | None,
    alongside: Alongside,
    result: Review,
) -> Examined:
    """What running shows; where the model dies, without its proposals."""
    try:
        examined = examine(texts, run, changed, on_progress, proposer, cache, alongside)
    except EngineDied as death:
        result.died = f"the model proposed nothing, so examples and promises alone were run: {str(death).rstrip('.')}"
        examined = examine(texts, run, changed, on_progress, alongside=alongside)
    result.runs = examined.runs
    return examined


def _shown(
    file: str,
    remarks: list[tuple[str, Remark]],
    options: ReviewOptions,
    changed: set[int] | None,
    known: Baseline | None,
    result: Review,
) -> list[Reviewed]:
    """The findings of a file that are shown; the others are counted in the result."""
    ignored, found = ignored_lines(result.texts[file]), list[tuple[Reviewed, int]]()
    for name, remark in sorted(remarks, key=lambda r: _rank(r[1])):
        if remark.score + options.strictness < 0:
            continue
        there = [(p.start, p.end) for p in remark.places if not ignored & set(range(p.start, p.end + 1))]
        places = [
            (start, end)
            for start, end in there
            if changed is None or remark.evidence is not None or changed & set(range(start, end + 1))
        ]
        if not places:
            result.hidden += 1
            continue
        said, confidence = remark.finding, round(remark.confidence, 4)
        one = Reviewed(file, *places[0], said.quote, said.comment, confidence, tuple(places), name, remark.evidence)
        if known is not None and known.take(one, len(there)):
            result.hidden += 1
            result.occurring.append((one, len(there)))
        else:
            found.append((one, len(there)))
    shown = found[: options.max_findings or None]
    result.occurring += shown
    return [one for one, _ in shown]


def _rank(remark: Remark) -> tuple[bool, float, int]:
    """What was shown by running comes first."""
    return remark.evidence is None, -remark.confidence, remark.places[0].start


class _Store:
    """Answers by critic and content: a piece that did not change costs nothing, wherever it stands now.

    Lines count from the snippet's own first. A folder that cannot be used is said once, and nothing is kept.
    """

    def __init__(self, folder: Path | None, critic: Critic) -> None:
        self.critic = critic
        self.folder = None if folder is None else folder / critic.fingerprint[:16]

    def ask(self, snippet: Snippet) -> tuple[list[Remark], bool]:
        """The critic's remarks, and whether they were known."""
        if (known := self._read(snippet)) is not None:
            return known, True
        found, shift = self.critic.review(snippet), 1 - snippet.first
        if self.folder is not None:
            rows = [{**asdict(r), "places": [(p.start + shift, p.end + shift) for p in r.places]} for r in found]
            try:
                self.folder.mkdir(parents=True, exist_ok=True)
                save_json(self.folder / f"{snippet.key}.json", rows, indent=None)
            except OSError as error:
                self._give_up(error)
        return found, False

    def _read(self, snippet: Snippet) -> list[Remark] | None:
        if self.folder is None:
            return None
        shift, remarks = snippet.first - 1, []
        try:
            for row in json.loads((self.folder / f"{snippet.key}.json").read_text()):
                places = tuple(Place(start + shift, end + shift) for start, end in row["places"])
                remarks.append(Remark(Finding(**row["finding"]), places, row["confidence"], row["score"]))
        except (FileNotFoundError, ValueError, KeyError, TypeError):  # never asked, or cut off by a full disk
            return None
        except OSError as error:
            self._give_up(error)
            return None
        return remarks

    def _give_up(self, error: OSError) -> None:
        do = "set CUSTODES_CACHE to a folder that can be written, or give --no-cache"
        warnings.warn(
            f"the cache {self.folder} cannot be used ({error.strerror}), so nothing is kept: {do}.", stacklevel=2
        )
        self.folder = None
