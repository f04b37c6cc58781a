"""Tampering in bulk: candidates for many functions, tried against their tests, a chunk at a time.

A candidate is kept if a covering test that passes without it fails with it. A chunk of functions of one package is the
unit of work and of resuming; each worker keeps one warm sandbox.
"""

from __future__ import annotations

import random
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import asdict, dataclass, field
from typing import Any

from custodes.critic.corpus import Function
from custodes.critic.sources import Package
from custodes.critic.tamper.bugs import HELD_OUT_OPERATORS, Tampered, apart, candidates, tamper
from custodes.critic.tamper.catalogue import OPERATORS
from custodes.critic.tamper.examples import Example, allowed, example, from_row, split_of
from custodes.critic.tamper.scene import Edit
from custodes.critic.workshop import Workshop, package_named
from custodes.environments.sandbox import Kind, SandboxFailure
from custodes.job.parts import Parts
from custodes.ranges import Count, PartShare, Share, ranged
from custodes.types import InputError

KEPT = ("killed", "timeout", "died")
CHUNK = (
    40  # functions: some hundred candidates, so that loading the package costs little and an interruption loses little
)


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
    """Share of clean functions among all examples."""
    seed: int = 0
    """Which changes are drawn."""


@dataclass(frozen=True, slots=True)
class Chunk:
    """Functions of one package that are tampered with together."""

    package: str
    number: int
    functions: tuple[Function, ...]

    @property
    def key(self) -> str:
        return f"{self.package}-{self.number:04}"


@dataclass(slots=True)
class Made:
    """What came of a chunk: examples, and per operator how many changes were tried and kept."""

    examples: list[Example] = field(default_factory=list)
    tried: Counter[str] = field(default_factory=Counter)
    kept: Counter[str] = field(default_factory=Counter)
    problems: Counter[str] = field(default_factory=Counter)

    def add(self, other: Made) -> None:
        self.examples += other.examples
        self.tried += other.tried
        self.kept += other.kept
        self.problems += other.problems


def chunks_of(functions: Sequence[Function]) -> list[Chunk]:
    """The functions with tests, package by package in the order of their files, so that chunks share tests."""
    by_package: dict[str, list[Function]] = {}
    for f in functions:
        if f.tests:
            by_package.setdefault(f.package, []).append(f)
    return [
        Chunk(package, at // CHUNK, tuple(found[at : at + CHUNK]))
        for package, found in by_package.items()
        for at in range(0, len(found), CHUNK)
    ]


def try_chunk(workshop: Workshop, chunk: Chunk, options: TamperOptions) -> Made:
    """Candidates of every function of the chunk against its tests. A package that breaks its sandbox gives a problem."""
    made = Made()
    chosen = {f.id: _candidates(f, options) for f in chunk.functions}
    functions = [f for f in chunk.functions if chosen[f.id]]
    single = {f.id: [(edit,) for edit in chosen[f.id]] for f in functions}
    kept = _tried(workshop, functions, single, made)
    for f in functions:
        made.tried.update(edit.operator for edit in chosen[f.id] if f.id in kept)
        made.kept.update(edits[0].operator for edits, _, _ in kept.get(f.id, []))
    together = {f.id: _together(f, [e for (e,), _, _ in kept.get(f.id, [])], options) for f in functions}
    again = [f for f in functions if together[f.id]]
    both = _tried(workshop, again, together, Made()) if again else {}
    for f in functions:
        for edits, unit, message in [*kept.get(f.id, []), *both.get(f.id, [])]:
            split = split_of(f, (e.operator for e in edits), HELD_OUT_OPERATORS)
            made.examples.append(example(f, tamper(f.code, edits), "test", split, unit, message))
    return made


Tries = Mapping[str, Sequence[tuple[Edit, ...]]]
Kept = dict[str, list[tuple[tuple[Edit, ...], str, str]]]
"""Function -> the changes that a test noticed, that test, and what it said."""


def _tried(workshop: Workshop, functions: Sequence[Function], tries: Tries, made: Made) -> Kept:
    package = workshop.package
    job = {
        "import": sorted({*package.imports, *(f.module for f in functions)}),
        "root": package.root,
        "functions": [
            {
                "path": f.path,
                "line": f.line,
                "qualname": f.qualname,
                "original": f.code,
                "units": [test.unit for test in f.tests],
                "codes": [tamper(f.code, edits).code for edits in tries[f.id]],
            }
            for f in functions
        ],
    }
    try:
        answers = workshop.do("mutate", job, 3600)
    except SandboxFailure as failure:
        made.problems[str(failure)] += len(functions)
        return {}
    kept: Kept = {}
    for f, answer in zip(functions, answers, strict=True):
        if answer["problem"]:
            made.problems[answer["problem"]] += 1
            continue
        results = zip(tries[f.id], answer["results"], strict=True)
        kept[f.id] = [(edits, unit, message) for edits, (outcome, unit, message) in results if outcome in KEPT]
    return kept


def _candidates(f: Function, options: TamperOptions) -> list[Edit]:
    covered = {line for test in f.tests for line in test.lines}
    covered |= set(range(1, min(covered)))  # the parameters
    names = allowed(f, OPERATORS, HELD_OUT_OPERATORS)
    try:
        return candidates(f.code, options.per_function, options.seed, names, covered)
    except InputError:  # syntax of another Python than libcst reads
        return []


def _together(f: Function, edits: list[Edit], options: TamperOptions) -> list[tuple[Edit, ...]]:
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
    on_chunk: Callable[[Chunk, Made], None] | None = None,
) -> Made:
    """Every chunk, on as many warm sandboxes as there are workers; chunks that are ``known`` are not tried again."""
    chunks = chunks_of(functions)
    bench = _Bench(kind)
    with ThreadPoolExecutor(max(1, workers)) as pool:
        try:
            futures = {pool.submit(_one, bench, chunk, known, options): chunk for chunk in chunks}
            for future in as_completed(futures):
                if on_chunk is not None:
                    on_chunk(futures[future], future.result())
                future.result()
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise
        finally:
            bench.close()
    made = Made()
    for chunk in chunks:
        made.add(_made(known.known.pop(chunk.key)))  # so that not all of it is held twice
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


def _one(bench: _Bench, chunk: Chunk, known: Parts, options: TamperOptions) -> Made:
    def attempt() -> dict[str, Any]:
        made = try_chunk(bench.workshop(chunk.package), chunk, options)
        if bench.closed:  # under its feet, by an interruption: what failed by that is not what came of the chunk
            raise SandboxFailure("the work was interrupted")
        counts = {name: dict(getattr(made, name)) for name in ("tried", "kept", "problems")}
        return {"examples": [asdict(e) for e in made.examples], **counts}

    return _made(known.answer(chunk.key, attempt))


def _made(row: Mapping[str, Any]) -> Made:
    return Made(
        [from_row(e) for e in row["examples"]], Counter(row["tried"]), Counter(row["kept"]), Counter(row["problems"])
    )


# ---------------------------------------------------------------- functions without tests, and clean ones


def trusted(made: Made, share: float) -> list[str]:
    """Operators whose changes to tested functions were kept at least that often, of ten tries and more."""
    return [name for name in OPERATORS if made.tried[name] >= 10 and made.kept[name] >= share * made.tried[name]]


def untested(functions: Sequence[Function], operators: Sequence[str], options: TamperOptions) -> Iterator[Example]:
    """Changes to functions without tests, by trusted operators; no test has seen that they matter."""
    for f in functions:
        if f.tests or not options.untested_per_function:
            continue
        names = allowed(f, operators, HELD_OUT_OPERATORS)
        try:
            chosen = candidates(f.code, options.untested_per_function, options.seed, names)
        except InputError:
            continue
        for edit in chosen:
            split = split_of(f, (edit.operator,), HELD_OUT_OPERATORS)
            yield example(f, tamper(f.code, [edit]), "operator", split)


def clean(functions: Sequence[Function], count: int, seed: int) -> list[Example]:
    """``count`` functions as they are (all, where there are fewer)."""
    drawn = random.Random(seed).sample(list(functions), min(count, len(functions)))
    return [example(f, Tampered(f.code, ()), "clean", split_of(f, (), HELD_OUT_OPERATORS)) for f in drawn]
