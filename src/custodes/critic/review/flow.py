"""A review from files to findings: the cache, what is left out, and what happens when the engine dies half way."""

from __future__ import annotations

import json
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from copy import deepcopy
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from custodes.critic.choice import CriticChoice
from custodes.critic.review.baseline import Baseline
from custodes.critic.review.evidence import FunctionRun
from custodes.critic.review.findings import Review, Reviewed
from custodes.critic.review.notebooks import NOTEBOOK, Cell, cells_of
from custodes.critic.review.proposals import ProposalOptions, Proposer
from custodes.critic.review.remarks import Critic, EngineDied, ReadsTogether, Remark
from custodes.critic.review.running import Alongside, Examined, RunOptions, examine
from custodes.critic.review.snippets import EVERY, Problem, Snippet, ignored_lines, read_text, snippets_of
from custodes.feedback.critique import Finding, Place
from custodes.files import save_json
from custodes.ranges import AnyFloat, ranged

OnProgress = Callable[[int, int], None]
"""Called with (snippets done, snippets in all)."""
Cut = Callable[[str, str], tuple[list[Snippet], list[Problem]]]
"""(file, its text) -> pieces, and what could not be cut."""
_AT_ONCE = 64
"""Pieces that a critic reads in one pass, between two looks at the time left."""


@dataclass(frozen=True, slots=True, kw_only=True)
@ranged
class ReviewOptions:
    """What of the critic's remarks is shown."""

    strictness: AnyFloat = 0.0
    """Above 0 shows more, below 0 less: how much weaker evidence may be, and with a search what a further quote is worth."""
    max_findings: int = 0
    """At most so many findings in a file, the most confident; 0 shows all."""


def open_models(
    choice: CriticChoice,
    asks: bool,
    proposing: ProposalOptions | None,
    strictness: float = 0.0,
    answers: bool = False,
) -> tuple[Critic | None, Proposer | None]:
    """The critic, where a review asks one, and the model that proposes, where one is named. Raises InputError."""
    if not asks and not (proposing and choice.proposes):
        return None, None
    from custodes.critic.loading import open_critic, open_proposer  # slow to import, and most reviews ask no model

    critic = open_critic(choice, strictness, answers) if asks else None
    return critic, open_proposer(choice, proposing) if proposing else None


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
    pieces, lines = _read_all(files, texts or {}, changed, cut, result)
    work = [
        s for name, own in lines.items() for s in pieces[name] if own is None or own & set(range(s.first, s.last + 1))
    ]
    remarks: dict[str, list[tuple[str, Remark]]] = {name: [] for name in lines}
    if run is not None:
        sources = {name: result.texts[name] for name in lines if name not in result.cells}
        examined = _examined(sources, run, changed, on_progress, proposer, cache, alongside, result)
        broken = {problem.file for problem in result.problems if problem.line}
        why = dict.fromkeys(broken, "its file does not parse") | dict.fromkeys(result.cells, "it is in a notebook")
        result.runs += [run for s in work if s.file in why for run in _not_run(s, why[s.file])]
        for file, found in examined.remarks.items():
            remarks[file] += found
    asked = _Store(cache, critic, options.strictness).asked(work) if critic is not None else iter(())
    result.snippets = len(work) if critic is not None else 0
    for done, snippet in enumerate(work if critic is not None else ()):
        if on_progress is not None:
            on_progress(done, len(work))
        try:
            answers, cached = next(asked)
        except EngineDied as death:
            left, of = len(work) - done, len(work)
            lost = f"{left} of {of} {'piece' if of == 1 else 'pieces'} {'was' if left == 1 else 'were'} not reviewed"
            result.died = f"{lost}: {str(death).rstrip('.')}"
            result.whole = [file for file in result.whole if all(s.file != file for s in work[done:])]
            break
        result.cached += cached
        remarks[snippet.file] += [(snippet.name, remark) for remark in answers]
    for name, of_lines in lines.items():
        result.findings += _shown(name, remarks[name], pieces[name], options, of_lines, known, result)
    return result


def _read_all(
    files: Sequence[str],
    texts: Mapping[str, str],
    changed: Mapping[str, set[int]] | None,
    cut: Cut,
    result: Review,
) -> tuple[dict[str, list[Snippet]], dict[str, set[int] | None]]:
    """Of each file, or cell of a notebook: its pieces, and its lines that changed, None for all."""
    pieces: dict[str, list[Snippet]] = {}
    lines: dict[str, set[int] | None] = {}
    for file in files:
        text, problem = (texts[file], None) if file in texts else read_text(file)
        cells = [Cell(file, text, ())] if problem is None else []
        if file.endswith(NOTEBOOK) and problem is None:
            cells, problem = cells_of(file, text)
            result.cells |= {cell.name: cell for cell in cells}
        result.problems += [problem] if problem else []
        result.texts[file] = text
        for cell in cells:
            pieces[cell.name], broken = cut(cell.name, cell.text)
            result.problems += broken
            result.texts[cell.name] = cell.text
            result.whole += [cell.name] if changed is None and not broken else []
            lines[cell.name] = None if changed is None else cell.changed(changed.get(file, set()))
    return pieces, lines


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
    pieces: list[Snippet],
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
        said, confidence = remark.finding, round(remark.confidence, 4)
        content = next((s.key[:16] for p in remark.places[:1] for s in pieces if s.first <= p.start <= s.last), "")
        about = (name, remark.evidence, remark.suspicion, content)
        one = Reviewed(file, 0, 0, said.quote, said.comment, confidence, (), *about)
        silent = {line for line, kinds in ignored.items() if kinds & {EVERY, *one.kinds}}
        there = [(p.start, p.end) for p in remark.places if not silent & set(range(p.start, p.end + 1))]
        places = [
            (start, end)
            for start, end in there
            if changed is None or remark.evidence is not None or changed & set(range(start, end + 1))
        ]
        if not places:
            result.hidden += 1
            continue
        one = replace(one, line=places[0][0], end_line=places[0][1], places=tuple(places))
        if known is not None and known.take(one, len(there)):
            result.hidden += 1
            result.occurring.append((one, len(there)))
        else:
            found.append((one, len(there)))
    shown = found[: options.max_findings or None]
    result.occurring += shown
    return [one for one, _ in shown]


def _not_run(snippet: Snippet, why: str) -> Iterator[FunctionRun]:
    if snippet.name != "module":
        yield FunctionRun(snippet.file, snippet.name, snippet.first, False, why)


def _rank(remark: Remark) -> tuple[bool, float, int]:
    """What was shown by running comes first."""
    return remark.evidence is None, -remark.confidence, remark.places[0].start


class _Store:
    """Answers by critic and content: a piece that did not change costs nothing, wherever it stands now.

    What is kept does not depend on the strictness, which says only on which remarks a comment is worth its writing. Lines
    count from the snippet's own first. A folder that cannot be used is said once, and nothing is kept.
    """

    def __init__(self, folder: Path | None, critic: Critic, strictness: float) -> None:
        self.critic, self.strictness = critic, strictness
        self.folder = None if folder is None else folder / critic.fingerprint[:16]

    def asked(self, work: Sequence[Snippet]) -> Iterator[tuple[list[Remark], bool]]:
        """The critic's remarks on each, and whether they were known. Raises EngineDied where no answer comes."""
        together = self.critic if isinstance(self.critic, ReadsTogether) else None
        for at in range(0, len(work), _AT_ONCE if together else 1):
            part = work[at : at + _AT_ONCE] if together else work[at : at + 1]
            known = {s.key: remarks for s in part if (remarks := self._read(s)) is not None}
            new = {s.key: s for s in part if s.key not in known}
            if together and new:
                read = zip(new.values(), together.review_all(list(new.values())), strict=True)
                fresh = {s.key: self._keep(s, _moved(remarks, 1 - s.first)) for s, remarks in read}
            else:
                fresh = {s.key: self._keep(s, _moved(self.critic.review(s), 1 - s.first)) for s in new.values()}
            kept = known | fresh
            for snippet in part:
                kept[snippet.key] = self._commented(snippet, kept[snippet.key])
                yield _moved(kept[snippet.key], snippet.first - 1), snippet.key in known

    def _commented(self, snippet: Snippet, remarks: list[Remark]) -> list[Remark]:
        """With a comment on each remark that is shown."""
        silent = [r for r in remarks if not r.finding.comment and r.score + self.strictness >= 0]
        if not silent or not isinstance(self.critic, ReadsTogether):
            return remarks
        quotes = [r.finding.quote for r in silent]
        said = dict(zip(quotes, self.critic.comments(snippet, quotes), strict=True))
        written = [replace(r, finding=replace(r.finding, comment=r.finding.comment or said.get(r.finding.quote, "")))
                   for r in remarks]  # fmt: skip
        return self._keep(snippet, written)

    def _keep(self, snippet: Snippet, remarks: list[Remark]) -> list[Remark]:
        if self.folder is not None:
            rows = [{**asdict(r), "places": [(p.start, p.end) for p in r.places]} for r in remarks]
            try:
                self.folder.mkdir(parents=True, exist_ok=True)
                save_json(self.folder / f"{snippet.key}.json", rows, indent=None)
            except OSError as error:
                self._give_up(error)
        return remarks

    def _read(self, snippet: Snippet) -> list[Remark] | None:
        """What is kept on a piece, its lines counted from 1."""
        if self.folder is None:
            return None
        try:
            rows = json.loads((self.folder / f"{snippet.key}.json").read_text())
            return [Remark(**{**r, "finding": Finding(**r["finding"]), "places": _places(r["places"])}) for r in rows]
        except (FileNotFoundError, ValueError, KeyError, TypeError):  # never asked, or cut off by a full disk
            return None
        except OSError as error:
            self._give_up(error)
            return None

    def _give_up(self, error: OSError) -> None:
        do = "set CUSTODES_CACHE to a folder that can be written, or give --no-cache"
        warnings.warn(
            f"the cache {self.folder} cannot be used ({error.strerror}), so nothing is kept: {do}.", stacklevel=2
        )
        self.folder = None


def _places(pairs: Sequence[tuple[int, int]]) -> tuple[Place, ...]:
    return tuple(Place(start, end) for start, end in pairs)


def _moved(remarks: Sequence[Remark], by: int) -> list[Remark]:
    """The remarks with ``by`` added to every line."""
    return [replace(r, places=tuple(Place(p.start + by, p.end + by) for p in r.places)) for r in remarks]
