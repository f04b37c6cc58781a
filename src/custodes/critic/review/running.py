"""Functions run in a sandbox against what is promised of them: files in, findings with evidence out."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

from custodes.critic.functions import definitions_of
from custodes.critic.review.again import opened, outcomes
from custodes.critic.review.evidence import Evidence, FunctionRun, frontier_score
from custodes.critic.review.kept_runs import KeptRuns
from custodes.critic.review.proposals import ExpectedValue, Proposer
from custodes.critic.review.remarks import Remark
from custodes.critic.review.snippets import parsed_python, read_text
from custodes.critic.review.surroundings import CODE, Placed, place_files
from custodes.critic.sources import TESTS
from custodes.critic.workshop import Workshop
from custodes.environments.sandbox import Kind, SandboxFailure
from custodes.environments.sandbox.base import HOME
from custodes.feedback.critique import Finding, Place
from custodes.ranges import Count, Positive, ranged
from custodes.types import InputError

BY_TEST = 0.97  # confidence of a finding by a test that somebody wrote
_Proposed = Mapping[tuple[str, str], list[dict[str, Any]]]
BATCH = 12  # functions of one job: progress is shown between jobs
A_JOB, A_FUNCTION = 60.0, 45.0  # seconds on the clock, of a job and of each of its functions, beyond their own


@dataclass(frozen=True, slots=True, kw_only=True)
@ranged
class RunOptions:
    """How functions are run, in a sandbox without network and files."""

    inputs: Count = 60
    """Inputs that are made up for each function, where they can be."""
    seconds: Positive = 6.0
    """Seconds that looking for such inputs may take, for each function."""
    sandbox: Kind = "auto"
    """What isolates the commands: bubblewrap, docker, or auto, which takes bubblewrap where it works, else Docker."""
    allow: tuple[Literal["files", "processes"], ...] = ()
    """What functions may reach for while they are run: files of the sandbox, which nobody keeps, and processes within it."""


@dataclass(frozen=True, slots=True)
class Alongside:
    """What is known besides the files: tests, and for a diff the versions before it and what it is said to mean."""

    tests: tuple[str, ...] = ()
    before: Mapping[str, str] = field(default_factory=dict)
    meant: str = ""


@dataclass(slots=True)
class Examined:
    """By file, (function, remark with its evidence); and what was run."""

    remarks: dict[str, list[tuple[str, Remark]]] = field(default_factory=dict)
    runs: list[FunctionRun] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class _Target:
    """A function to run. ``line`` is that of its ``def``."""

    file: str
    qualname: str
    line: int
    end: int

    @property
    def key(self) -> tuple[str, int]:
        return self.qualname, self.line


def examine(
    texts: Mapping[str, str],
    options: RunOptions,
    changed: Mapping[str, set[int]] | None = None,
    on_progress: Callable[[int, int], None] | None = None,
    proposer: Proposer | None = None,
    cache: Path | None = None,
    alongside: Alongside = Alongside(),
) -> Examined:
    """Run the functions of Python files against their examples and promises.

    Args:
        texts: contents by file; what does not parse is left out.
        options: how they are run.
        changed: restricts to functions with one of these lines.
        on_progress: called with (functions done, functions in all).
        proposer: a model whose samples vote on what functions give.
        cache: a folder in which that model's answers stay, and what running showed of functions that have not changed since.
        alongside: tests, and versions before a change.

    Raises EngineDied where the model gives no answer.
    Raises InputError where no sandbox works.
    """
    result = Examined()
    targets = {file: list(_targets(file, text, changed)) for file, text in texts.items()}
    targets = {file: found for file, found in targets.items() if found}
    for file in [file for file in targets if TESTS.search(f"/{file}")]:
        result.runs += [FunctionRun(file, t.qualname, t.line, False, "it is a test") for t in targets.pop(file)]
    if not targets:
        return result
    wanted = {file: {t.qualname for t in found} for file, found in targets.items()}
    proposals = proposer.propose(texts, wanted, cache, on_progress) if proposer is not None else {}
    by = {key: [_row(p, proposer.name) for p in found] for key, found in proposals.items()} if proposer else {}
    read = {test: read_text(test) for test in alongside.tests}
    test_texts = {test: text for test, (text, problem) in read.items() if problem is None and text}
    places, contents = place_files({file: texts[file] for file in targets} | test_texts)
    placed = [p for p in places if p.file in targets]
    before = {p.file: f"{CODE}/before/{n}.py" for n, p in enumerate(placed) if p.file in alongside.before}
    contents |= {path: alongside.before[file].encode("utf-8", "surrogateescape") for file, path in before.items()}
    tests = [f"{HOME}/{p.path}" for p in places if p.file in test_texts]
    job = {"import": [], "seen": tests, "inputs": options.inputs, "seconds": options.seconds, "allow": options.allow}
    asked = {p.file: _file(p, targets[p.file], by, before.get(p.file, ""), alongside.meant) for p in placed}
    kept = KeptRuns(cache, contents, job)
    known = {p.file: _known(kept, p, asked[p.file]) for p in placed}
    count = sum(map(len, targets.values()))
    doubtful = any(row["found"] for rows in known.values() for row in rows.values())
    if tests or doubtful or sum(map(len, known.values())) < count:
        with opened(contents, options.sandbox, bool(tests)) as workshop:
            known = {p.file: known[p.file] if _fails_again(workshop, p, known[p.file]) else {} for p in placed}
            left = {p.file: [t for t in targets[p.file] if t.key not in known[p.file]] for p in placed}
            done = sum(map(len, known.values()))
            _take_known(placed, targets, known, texts, result)
            for jobs in _batches(placed, left):
                if on_progress is not None:
                    on_progress(done, count)
                _examine_batch(workshop, jobs, asked, job, texts, result, kept)
                done += sum(len(found) for _, found in jobs)
            if tests:
                _run_tests(workshop, tests, sorted({p.root for p in places}), placed, targets, texts, result)
    else:
        _take_known(placed, targets, known, texts, result)
    order = {file: n for n, file in enumerate(texts)}
    result.runs.sort(key=lambda run: (order[run.file], run.line))
    return result


def _targets(file: str, text: str, changed: Mapping[str, set[int]] | None) -> Iterator[_Target]:
    tree = parsed_python(text.replace("\r\n", "\n").replace("\r", "\n").split("\n"))
    if isinstance(tree, SyntaxError):
        return
    for qualname, node in definitions_of(tree):
        end = node.end_lineno or node.lineno
        first = min([node.lineno, *(d.lineno for d in node.decorator_list)])
        if changed is None or changed.get(file, set()) & set(range(first, end + 1)):
            yield _Target(file, qualname, node.lineno, end)


def _batches(
    placed: Sequence[Placed], targets: Mapping[str, list[_Target]]
) -> Iterator[list[tuple[Placed, list[_Target]]]]:
    """Files with their functions, a few functions at a time."""
    batch: list[tuple[Placed, list[_Target]]] = []
    room = BATCH
    for place in placed:
        left = targets[place.file]
        while left:
            part, left = left[:room], left[room:]
            batch.append((place, part))
            room -= len(part)
            if not room:
                yield batch
                batch, room = [], BATCH
    if batch:
        yield batch


def _file(place: Placed, found: list[_Target], proposed: _Proposed, before: str, meant: str) -> dict[str, Any]:
    """What the sandbox is told of a file."""
    functions = [
        {"qualname": t.qualname, "line": t.line, "proposed": proposed.get((t.file, t.qualname), [])} for t in found
    ]
    return {
        **place.inside,
        "old": before and f"{HOME}/{before}",
        "meant": meant,
        "functions": functions,
    }


def _examine_batch(
    workshop: Workshop,
    jobs: list[tuple[Placed, list[_Target]]],
    asked: Mapping[str, Mapping[str, Any]],
    job: Mapping[str, Any],
    texts: Mapping[str, str],
    result: Examined,
    kept: KeptRuns,
) -> None:
    """Run a few functions. What ends the whole sandbox is found by halves, so that it takes no other function with it."""
    count = sum(len(found) for _, found in jobs)
    files = [_part(asked[place.file], found) for place, found in jobs]
    try:
        answers = workshop.do("examine", {**job, "files": files}, A_JOB + count * (A_FUNCTION + 5 * job["seconds"]))
    except SandboxFailure as failure:
        if count > 1:
            for half in _halves(jobs):
                _examine_batch(workshop, half, asked, job, texts, result, kept)
            return
        why = "it needs more memory than the sandbox has" if "memory" in str(failure) else "it ends the sandbox"
        answers = [{"problem": why, "functions": []} for _ in jobs]
    for (place, found), answer, file in zip(jobs, answers, files, strict=True):
        functions = {(function["qualname"], function["line"]): function for function in file["functions"]}
        for row in answer["functions"]:
            kept.keep(place, file, functions[row["qualname"], row["line"]], row)
        _take(place, found, answer["functions"], texts, result, answer["problem"])


def _halves(jobs: list[tuple[Placed, list[_Target]]]) -> Iterator[list[tuple[Placed, list[_Target]]]]:
    """The functions of a batch in two parts."""
    each = [(place, target) for place, found in jobs for target in found]
    middle = len(each) // 2
    for half in (each[:middle], each[middle:]):
        yield [(place, [t for p, t in half if p is place]) for place, _ in jobs if any(p is place for p, _ in half)]


def _take(
    place: Placed,
    found: Sequence[_Target],
    rows: Sequence[Mapping[str, Any]],
    texts: Mapping[str, str],
    result: Examined,
    problem: str = "",
) -> None:
    """What came of a file's functions goes into the result."""
    by_name = {(row["qualname"], row["line"]): row for row in rows}
    for target in found:
        row = by_name.get(target.key)
        if row is None:
            reason = problem or "it was not reached"
            result.runs.append(FunctionRun(place.file, target.qualname, target.line, False, reason))
            continue
        ran = FunctionRun(place.file, target.qualname, target.line, row["ran"], row["reason"], row["inputs"])
        result.runs.append(ran)
        remarks = [(target.qualname, _remark(one, target, texts[place.file])) for one in row["found"]]
        result.remarks.setdefault(place.file, []).extend(remarks)


def _take_known(
    placed: Sequence[Placed],
    targets: Mapping[str, list[_Target]],
    known: Mapping[str, Mapping[tuple[str, int], Mapping[str, Any]]],
    texts: Mapping[str, str],
    result: Examined,
) -> None:
    for place in placed:
        rows = known[place.file]
        _take(place, [t for t in targets[place.file] if t.key in rows], list(rows.values()), texts, result)


def _known(kept: KeptRuns, place: Placed, file: Mapping[str, Any]) -> dict[tuple[str, int], dict[str, Any]]:
    """Function and line -> its answer, of those that are kept."""
    rows = {(f["qualname"], f["line"]): kept.read(place, file, f) for f in file["functions"]}
    return {name: row for name, row in rows.items() if row is not None}


def _fails_again(workshop: Workshop, place: Placed, rows: Mapping[tuple[str, int], Mapping[str, Any]]) -> bool:
    """Whether the tests of all kept findings of a file still fail."""
    found = [one for row in rows.values() for one in row["found"]]
    if not found:
        return True
    try:
        came = outcomes(workshop, place, [one["test"] for one in found])
    except SandboxFailure:
        return False
    return all(said.split(":")[0] in one["fails"] for said, one in zip(came, found, strict=True))


def _part(file: Mapping[str, Any], found: Sequence[_Target]) -> dict[str, Any]:
    """The file with only some of its functions."""
    wanted = {t.key for t in found}
    return {**file, "functions": [f for f in file["functions"] if (f["qualname"], f["line"]) in wanted]}


def _run_tests(
    workshop: Workshop,
    tests: list[str],
    roots: list[str],
    placed: Sequence[Placed],
    targets: Mapping[str, list[_Target]],
    texts: Mapping[str, str],
    result: Examined,
) -> None:
    """Findings of existing tests that fail. Where they cannot be run at all, they say nothing."""
    files = [
        {
            "path": f"{HOME}/{p.path}",
            "functions": [{"qualname": t.qualname, "line": t.line, "end": t.end} for t in targets[p.file]],
        }
        for p in placed
    ]
    job = {"import": [], "tests": tests, "roots": [f"{HOME}/{root}" for root in roots], "files": files}
    try:
        failing = workshop.do("tested", job)["failing"]
    except SandboxFailure as failure:
        raise InputError(f"--tests: {failure}.") from None
    by_path = {f"{HOME}/{p.path}": p.file for p in placed}
    for row in failing:
        file = by_path[row["path"]]
        target = next(t for t in targets[file] if t.qualname == row["qualname"])
        test = row["id"].removeprefix(f"{CODE}/")
        about = {"kind": "failing example", "call": test, "came": row["message"], "promised": "that the test passes"}
        rest = {"by": "the test itself", "line": target.line, "at": row["at"], "note": "", "test": f"# pytest {test}\n"}
        remark = _remark({**about, **rest, "confidence": BY_TEST}, target, texts[file])
        result.remarks.setdefault(file, []).append((target.qualname, remark))
        result.runs = [
            replace(r, ran=True, reason="") if (r.file, r.name) == (file, target.qualname) else r for r in result.runs
        ]


def _row(proposal: ExpectedValue, model: str) -> dict[str, Any]:
    by = f"the model {model}, {proposal.votes} of {proposal.of} samples"
    return {"source": proposal.source, "want": proposal.want, "by": by, "confidence": proposal.confidence}


def _remark(one: dict[str, Any], target: _Target, text: str) -> Remark:
    """The quoted line is the one that raised, as far as it is in the function, else the function's first."""
    line = one["at"] if target.line < one["at"] <= target.end else target.line
    quote = text.replace("\r\n", "\n").replace("\r", "\n").split("\n")[line - 1]
    names = ("kind", "call", "came", "promised", "by", "test", "line", "at", "note")
    evidence = Evidence(**{name: one[name] for name in names})
    confidence = float(one["confidence"])
    return Remark(
        Finding(quote, evidence.sentence), (Place(line, line),), confidence, frontier_score(confidence), evidence
    )
