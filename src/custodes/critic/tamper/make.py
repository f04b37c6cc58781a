"""Tampering in bulk: candidates for many functions, tried against their tests, a chunk at a time.

A candidate is kept if a covering test that passes without it fails with it. A chunk of functions of one package is the
unit of work and of resuming; each worker keeps one warm sandbox.
"""

from __future__ import annotations

import hashlib
import random
import threading
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import asdict, dataclass, field
from functools import partial
from typing import Any

from custodes.critic.corpus import Function
from custodes.critic.examples import TRAIN, BugExample, Verified, example_from
from custodes.critic.sources import Package
from custodes.critic.tamper.bugs import HELD_OUT_OPERATORS, Tampered, apart, candidates, tamper
from custodes.critic.tamper.scene import OPERATORS, Edit
from custodes.critic.workshop import Workshop, package_named
from custodes.environments.sandbox import Kind, SandboxFailure
from custodes.job.parts import Parts
from custodes.ranges import Count, PartShare, Share, ranged
from custodes.types import InputError

KEPT = ("killed", "timeout", "died")
CHUNK = 40  # functions: loading the package then costs little, and an interruption loses little
HELD_OUT_PACKAGES = frozenset({"boltons", "more-itertools"})
"""Packages that no training example comes from."""
HELD_OUT_SHARE = 0.1  # of the functions of the other packages


@dataclass(frozen=True, slots=True, kw_only=True)
@ranged
class TamperOptions:
    """What is made of a corpus."""

    per_function: Count = 30
    """Changes tried on a function that has tests."""
    untested_per_function: int = 4
    """Changes made to a function that has none, by operators that can be trusted."""
    trust: Share = 0.85
    """An operator is trusted where at least this share of its changes to tested functions was kept."""
    several: Share = 0.1
    """For each kept change, how many answers with two or three of the kept changes together are tried."""
    clean: PartShare = 0.2
    """Share of the examples that hold no bug."""
    seed: int = 0
    """Which changes are drawn."""


@dataclass(slots=True)
class Made:
    """What came of a chunk: examples, and per operator how many changes were tried and kept."""

    examples: list[BugExample] = field(default_factory=list)
    tried: Counter[str] = field(default_factory=Counter)
    kept: Counter[str] = field(default_factory=Counter)
    problems: Counter[str] = field(default_factory=Counter)

    def add(self, row: Mapping[str, Any]) -> None:
        """Add what another chunk gave, as it is kept in a file."""
        self.examples += [example_from(e) for e in row["examples"]]
        for name in ("tried", "kept", "problems"):
            getattr(self, name).update(row[name])


def example(
    f: Function, made: Tampered, verified: Verified, split: str, unit: str = "", message: str = ""
) -> BugExample:
    """One row; without bugs it is a clean one."""
    lines = tuple(sorted({line for bug in made.bugs for line in bug.lines}))
    said = "\n".join(bug.description for bug in made.bugs)
    identity = hashlib.sha256(f"{f.id}\n{made.code}".encode()).hexdigest()[:16]
    about = (f.id, f.package, f.path, f.qualname, f.licence)
    return BugExample(identity, made.code, lines, said, made.bugs, verified, split, *about, unit, message)


def _split_of(f: Function, operators: Iterable[str]) -> str:
    """Where a tampered function belongs; a tenth of the training packages' functions is held out, by their code's hash.

    Training functions take no held-out operators: see :func:`_allowed`.
    """
    if f.package in HELD_OUT_PACKAGES:
        return "held-out packages"
    if int(hashlib.sha256(f.code.encode()).hexdigest()[:8], 16) / 2**32 >= HELD_OUT_SHARE:
        return TRAIN
    return "held-out operators" if HELD_OUT_OPERATORS & set(operators) else "held-out functions"


def _allowed(f: Function, operators: Iterable[str]) -> list[str]:
    """Operators that may be used on a function: on training functions, none that is held out."""
    training = _split_of(f, ()) == TRAIN
    return [name for name in operators if not (training and name in HELD_OUT_OPERATORS)]


def chunks_of(functions: Sequence[Function]) -> dict[str, list[Function]]:
    """The functions with tests, a name for every chunk, package by package in the order of their files: chunks share tests."""
    by_package: dict[str, list[Function]] = {}
    for f in functions:
        if f.tests:
            by_package.setdefault(f.package, []).append(f)
    return {
        f"{package}-{at // CHUNK:04}": found[at : at + CHUNK]
        for package, found in by_package.items()
        for at in range(0, len(found), CHUNK)
    }


Changes = tuple[Edit, ...]
Kept = dict[str, list[tuple[Changes, str, str]]]
"""Function -> the changes that a test noticed, that test, and what it said."""


def _try_chunk(workshop: Workshop, functions: Sequence[Function], options: TamperOptions) -> Made:
    """Candidates of every function of the chunk against its tests. A package that breaks its sandbox gives a problem."""
    made = Made()
    single = {f.id: [(edit,) for edit in _candidates(f, options)] for f in functions}
    kept = _kept(workshop, functions, single, made)
    for id, changes in kept.items():
        made.tried.update(edit.operator for (edit,) in single[id])
        made.kept.update(edits[0].operator for edits, _, _ in changes)
    together = {f.id: _together(f, [e for (e,), _, _ in kept.get(f.id, [])], options) for f in functions}
    both = _kept(workshop, functions, together, Made())
    for f in functions:
        for edits, unit, message in [*kept.get(f.id, []), *both.get(f.id, [])]:
            split = _split_of(f, (e.operator for e in edits))
            made.examples.append(example(f, tamper(f.code, edits), "test", split, unit, message))
    return made


def _kept(
    workshop: Workshop, functions: Sequence[Function], tries: Mapping[str, Sequence[Changes]], made: Made
) -> Kept:
    chosen = [f for f in functions if tries[f.id]]
    try:
        answers = try_codes(workshop, chosen, [[tamper(f.code, edits).code for edits in tries[f.id]] for f in chosen])
    except SandboxFailure as failure:
        made.problems[str(failure)] += len(chosen)
        return {}
    made.problems.update(answer["problem"] for answer in answers if answer["problem"])
    return {
        f.id: [
            (edits, unit, message)
            for edits, (outcome, unit, message) in zip(tries[f.id], answer["results"], strict=True)
            if outcome in KEPT
        ]
        for f, answer in zip(chosen, answers, strict=True)
        if not answer["problem"]
    }


def try_codes(workshop: Workshop, functions: Sequence[Function], codes: Sequence[Sequence[str]]) -> list[Any]:
    """What the tests of each function say of other ``codes`` in its place: ``problem``, and ``results``, one a code.

    A result is (outcome, unit, message); ``inside/mutate.py`` says which outcomes there are. Raises SandboxFailure.
    """
    package = workshop.package
    job = {
        "import": sorted({*package.imports, *(f.module for f in functions)}),
        "root": package.root,
        "functions": [
            {"path": f.path, "line": f.line, "qualname": f.qualname, "original": f.code, "codes": list(own)}
            | {"units": [test.unit for test in f.tests]}
            for f, own in zip(functions, codes, strict=True)
        ],
    }
    answers: list[Any] = workshop.do("mutate", job, 3600) if functions else []
    return answers


def _candidates(f: Function, options: TamperOptions) -> list[Edit]:
    covered = {line for test in f.tests for line in test.lines}
    covered |= set(range(1, min(covered)))  # the parameters
    try:
        return candidates(f.code, options.per_function, options.seed, _allowed(f, OPERATORS), covered)
    except InputError:  # syntax of another Python than libcst reads
        return []


def _together(f: Function, edits: list[Edit], options: TamperOptions) -> list[Changes]:
    """Some sets of two or three changes that are apart from each other."""
    draw = random.Random(f"{options.seed} {f.id}")
    wanted = sum(draw.random() < options.several for _ in edits)
    found = []
    for _ in range(wanted):
        chosen: list[Edit] = []
        for edit in draw.sample(edits, len(edits)):
            if len(chosen) < draw.choice((2, 3)) and all(apart(edit, other, f.code) for other in chosen):
                chosen.append(edit)
        if len(chosen) > 1:
            found.append(tuple(chosen))
    return found


# ---------------------------------------------------------------- many chunks


def try_all(
    functions: Sequence[Function],
    known: Parts,
    options: TamperOptions,
    workers: int = 2,
    kind: Kind = "auto",
    on_chunk: Callable[[Mapping[str, Any]], None] | None = None,
) -> Made:
    """Every chunk, on as many warm sandboxes as there are workers; chunks that are ``known`` are not tried again.

    ``on_chunk`` is called with what each gave, as it is kept.
    """
    chunks, bench = chunks_of(functions), _Bench(kind)

    def attempt(chunk: Sequence[Function]) -> dict[str, Any]:
        made = _try_chunk(bench.workshop(chunk[0].package), chunk, options)
        if bench.closed:  # under its feet, by an interruption: what failed by that is not what came of the chunk
            raise SandboxFailure("the work was interrupted")
        counts = {name: dict(getattr(made, name)) for name in ("tried", "kept", "problems")}
        return {"examples": [asdict(e) for e in made.examples], **counts}

    with ThreadPoolExecutor(max(1, workers)) as pool:
        try:
            for future in as_completed(
                pool.submit(known.answer, key, partial(attempt, chunk)) for key, chunk in chunks.items()
            ):
                row = future.result()
                if on_chunk is not None:
                    on_chunk(row)
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise
        finally:
            bench.close()
    made = Made()
    for key in chunks:
        made.add(known.known.pop(key))  # so that not all of it is held twice
    return made


class _Bench:
    """The workshop of each thread: kept while its package stays the same."""

    def __init__(self, kind: Kind) -> None:
        self.kind, self.open, self.closed = kind, dict[int, Workshop](), False
        self.lock, self.packages = threading.Lock(), dict[str, Package]()

    def workshop(self, package: str) -> Workshop:
        thread = threading.get_ident()
        current = self.open.get(thread)
        if current is not None and current.package.name == package:
            return current
        if current is not None:
            current.close()
        with self.lock:
            if package not in self.packages:
                self.packages[package] = package_named(package, self.kind)
        self.open[thread] = Workshop(self.packages[package], kind=self.kind)
        return self.open[thread]

    def close(self) -> None:
        self.closed = True
        for workshop in self.open.values():
            workshop.close()


# ---------------------------------------------------------------- functions without tests, and clean ones


def trusted(made: Made, share: float) -> list[str]:
    """Operators whose changes to tested functions were kept at least that often, of ten tries and more."""
    return [name for name in OPERATORS if made.tried[name] >= 10 and made.kept[name] >= share * made.tried[name]]


def untested(f: Function, operators: Sequence[str], options: TamperOptions) -> Iterator[BugExample]:
    """Changes to a function without tests, by trusted operators; no test has seen that they matter."""
    if f.tests or not options.untested_per_function:
        return
    try:
        chosen = candidates(f.code, options.untested_per_function, options.seed, _allowed(f, operators))
    except InputError:
        return
    for edit in chosen:
        yield example(f, tamper(f.code, [edit]), "operator", _split_of(f, (edit.operator,)))


def clean(functions: Sequence[Function], count: int, seed: int) -> list[BugExample]:
    """``count`` functions as they are (all, where there are fewer)."""
    drawn = random.Random(seed).sample(list(functions), min(count, len(functions)))
    return [example(f, Tampered(f.code, ()), "clean", _split_of(f, ())) for f in drawn]
