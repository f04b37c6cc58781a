"""Real functions with the real tests that exercise them, in a JSON Lines file; made part by part, and resumed.

Every row is a :class:`Function`. Which tests exercise it is found by running them under coverage in a sandbox.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from custodes.critic.functions import functions_of
from custodes.critic.inside.choose import Covering, choose
from custodes.critic.sources import SOURCES, STDLIB, Package, module_of
from custodes.critic.workshop import Workshop
from custodes.environments.sandbox import SandboxFailure
from custodes.job.parts import Parts
from custodes.ranges import Count, Positive, ranged
from custodes.types import InputError

OnProgress = Callable[[int, int], None]
"""Called with (parts done, parts in all)."""


@dataclass(frozen=True, slots=True, kw_only=True)
@ranged
class CoverageLimits:
    """How long tests may run while coverage watches, which slows them by half and more."""

    test_seconds: Positive = 1.0
    """Processor time of one test or documented example; a slower one is not used."""
    file_seconds: Positive = 8.0
    """Processor time of one file of tests, or of one group of modules with examples; what comes after is not run."""
    tests_per_function: Count = 5
    """Tests kept for a function."""


@dataclass(frozen=True, slots=True)
class Test:
    """A test that passes and runs lines of the function's body; ``lines`` count from the function's first."""

    unit: str
    seconds: float  # under coverage
    lines: tuple[int, ...]
    breadth: int = 1  # functions of the corpus that it exercises


@dataclass(frozen=True, slots=True)
class Function:
    """One function of the corpus, with where it is from and on what terms."""

    id: str
    package: str
    version: str
    licence: str
    origin: str
    path: str
    qualname: str
    line: int  # of its first decorator or its def, in the file
    code: str
    tests: tuple[Test, ...] = ()

    @property
    def module(self) -> str:
        return module_of(self.path)


def extract(package: Package) -> list[Function]:
    """The package's functions, without tests yet. The same code is taken once."""
    found, seen = [], set()
    for path, content in sorted(package.sources.items()):
        try:
            functions = functions_of(content.decode())
        except (SyntaxError, ValueError):  # another Python's, or a template
            continue
        for function in functions:
            if function.code in seen:
                continue
            seen.add(function.code)
            name = f"{package.name}/{path}:{function.qualname}:{function.start}"
            identity = hashlib.sha256(f"{name}\n{package.version}\n{function.code}".encode()).hexdigest()[:16]
            about = (identity, package.name, package.version, package.licence, package.origin)
            found.append(Function(*about, path, function.qualname, function.start, function.code))
    return found


@dataclass(frozen=True, slots=True)
class CorpusPart:
    """Some files of tests and some modules with examples: one job for the sandbox, the unit of resuming."""

    tests: tuple[str, ...] = ()
    modules: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        return hashlib.sha256(json.dumps(asdict(self)).encode()).hexdigest()[:12]


def corpus_parts(package: Package) -> list[CorpusPart]:
    """The package's tests, a few files at a time; examples first, since they are about one function each.

    Where the package's share of test files is below 1, they are chosen by the hash of their names.
    """
    share = SOURCES[package.name].share if package.name in SOURCES else 1.0
    tests = [p for p in package.tests if int(hashlib.sha256(p.encode()).hexdigest()[:8], 16) / 2**32 < share]
    if package.name == STDLIB:  # test/test_json/test_dump.py is about json
        known = {path.split("/")[0].removesuffix(".py") for path in package.sources}
        tests = [p for p in tests if p.split("/")[1].removesuffix(".py").removeprefix("test_") in known]
    documented = sorted(module_of(path) for path, content in package.sources.items() if b">>> " in content)
    parts = [CorpusPart(modules=tuple(documented[i : i + 15])) for i in range(0, len(documented), 15)]
    return parts + [CorpusPart(tests=tuple(tests[i : i + 5])) for i in range(0, len(tests), 5)]


def cover(
    package: Package,
    functions: Sequence[Function],
    known: Parts,
    limits: CoverageLimits,
    on_progress: OnProgress | None = None,
) -> list[Function]:
    """The functions with the tests that exercise them. Parts of the package that are ``known`` are not run again."""
    parts = corpus_parts(package)
    left = [part for part in parts if part.name not in known.known]
    ranges: dict[str, list[list[int]]] = {}
    for f in functions:
        ranges.setdefault(f.path, []).append([f.line, f.line + f.code.count("\n") - 1])
    if left:
        with Workshop(package, {"functions.json": json.dumps(ranges).encode()}) as workshop:
            for done, part in enumerate(left, len(parts) - len(left)):
                if on_progress is not None:
                    on_progress(done, len(parts))
                known.answer(part.name, partial(_run, workshop, package, part, limits))
    if on_progress is not None:
        on_progress(len(parts), len(parts))
    return _with_tests(functions, [known.known[p.name] for p in parts], limits.tests_per_function)


def _run(workshop: Workshop, package: Package, part: CorpusPart, limits: CoverageLimits) -> Any:
    job: dict[str, Any] = {
        "import": package.imports,
        "tests": part.tests,
        "modules": part.modules,
        "root": package.root,
    }
    job |= {"seconds": limits.test_seconds, "file_seconds": limits.file_seconds, "keep": limits.tests_per_function}
    try:
        return workshop.do("cover", job, 300 + 12 * limits.file_seconds * (1 + len(part.tests)))
    except SandboxFailure as failure:  # a test that broke out of its process; its part is done without
        return {"found": {}, "failed": [str(failure)]}


def _with_tests(functions: Sequence[Function], results: Iterable[Any], keep: int) -> list[Function]:
    found: dict[tuple[str, str], list[Covering]] = {}
    for result in results:
        for path, of_path in result["found"].items():
            for start, rows in of_path.items():
                found.setdefault((path, start), []).extend(rows)
    return [replace(f, tests=_tests(choose(found.get((f.path, str(f.line)), []), keep))) for f in functions]


def _tests(rows: Iterable[Any]) -> tuple[Test, ...]:
    return tuple(Test(r["unit"], r["seconds"], tuple(r["lines"]), r["breadth"]) for r in rows)


def read_corpus(path: Path) -> Iterator[Function]:
    """The functions of a file. Raises InputError that names the line for what is none."""
    try:
        file = path.open(encoding="utf-8")
    except OSError as error:
        how = "custodes critic corpus makes one"
        raise InputError(f"corpus {path} cannot be read ({error.strerror}); {how}.") from None
    with file:
        for number, line in enumerate(file, 1):
            try:
                row = json.loads(line)
                yield Function(**{**row, "tests": _tests(row["tests"])})
            except (ValueError, TypeError, KeyError, AttributeError):
                raise InputError(f"{path}, line {number}: no function of a corpus.") from None
