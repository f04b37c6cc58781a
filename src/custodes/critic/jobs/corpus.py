"""Making the corpus of functions with tests: what ``custodes critic corpus`` does.

Beside FILE stand ``FILE.parts`` (what has been run: the same command again goes on from there), ``FILE.licences``
(the text of every package's licence) and ``FILE.manifest.json`` (counts by package, and of what was left out).
"""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from custodes.critic.corpus import CoverageLimits, Function, corpus_parts, cover, extract
from custodes.critic.examples import write_json_lines
from custodes.critic.kept_apart import MANIFEST, KeptApart, is_kept_apart
from custodes.critic.sources import PACKAGES, Package
from custodes.critic.workshop import package_named
from custodes.environments.sandbox import Kind
from custodes.files import save_json, save_text
from custodes.job.command import command, in_words
from custodes.job.options import Output
from custodes.job.parts import Parts
from custodes.job.progress import Progress
from custodes.types import InputError


@dataclass(frozen=True, kw_only=True)
class CriticCorpus:
    """Collect functions with the tests that exercise them. The same command again goes on where it was interrupted."""

    out: Output
    """The corpus, JSON Lines, one function a line."""
    packages: str = ""
    """Only these packages, with commas between; all where empty."""
    functions_only: str = ""
    """Further packages whose functions are taken and whose tests are not run, which is much faster."""
    apart: Path | None = None
    """Further code that is kept for checking: a folder of Python files. Functions whose body occurs there are left out."""
    limits: CoverageLimits = field(default_factory=CoverageLimits)
    sandbox: Kind = "auto"
    """What isolates the commands: bubblewrap, docker, or auto, which takes bubblewrap where it works, else Docker."""


@command(resumes=True)
def critic_corpus(config: CriticCorpus) -> dict[str, Any]:
    """Collect real functions with the tests that exercise them.

    Make the file; returns counts by package. Raises InputError for packages that are not known or not to be had.
    """
    asked, only = (
        [name.strip() for name in text.split(",") if name.strip()] for text in (config.packages, config.functions_only)
    )
    names = asked or [name for name in PACKAGES if name not in only]
    if held := [name for name in (*names, *only) if is_kept_apart(name)]:
        raise InputError(
            f"package {held[0]!r} is kept for measuring critics on, so none may learn from it; leave it out."
        )
    if unknown := [name for name in (*names, *only) if name not in PACKAGES]:
        raise InputError(f"no package {unknown[0]!r} in the corpus; there are {', '.join(PACKAGES)}.")
    if twice := [name for name in only if name in names]:
        raise InputError(f"package {twice[0]!r} is in --packages and in --functions-only; name it in one.")
    kept_apart = KeptApart.known(config.apart)
    config.out.parent.mkdir(parents=True, exist_ok=True)
    functions: list[Function] = []
    with Progress() as progress:
        packages = progress.add_task("Packages", total=len(names))
        for name in names:
            functions += _of_package(name, config, progress)
            progress.advance(packages)
        for name in only:
            functions += extract(_fetched(name, config))
    every = len(functions)
    functions = [f for f in functions if not kept_apart.holds(f.package, f.code)]
    write_json_lines(config.out, functions)
    tested = Counter(f.package for f in functions if f.tests)
    bare = Counter(f.package for f in functions if not f.tests)
    by_package = {name: {"tested": tested[name], "untested": bare[name]} for name in sorted({*tested, *bare})}
    made = {"tested": tested.total(), "untested": bare.total(), "packages": by_package}
    made |= {"kept_apart": every - len(functions)}
    save_json(config.out.with_name(f"{config.out.name}.{MANIFEST}"), made)
    return made


@in_words(critic_corpus)
def _show(options: CriticCorpus, made: dict[str, Any]) -> None:
    for name, counts in made["packages"].items():
        print(f"{name:<18}{counts['tested']:>7,} with a test{counts['untested']:>9,} without")
    print(f"{'in all':<18}{made['tested']:>7,} with a test{made['untested']:>9,} without: {options.out}")
    print(f"{made['kept_apart']:,} left out, since critics are measured on them")


def _of_package(name: str, config: CriticCorpus, progress: Progress) -> list[Function]:
    bar = progress.add_task(f"{name}: fetching", total=None)
    package = _fetched(name, config)
    found = extract(package)
    progress.update(bar, description=f"{name}: running tests", total=len(corpus_parts(package)))
    same = {"source": [package.version, package.origin], "limits": asdict(config.limits), "ids": [f.id for f in found]}
    with Parts.open(config.out, same, f"{name}-") as known:
        tested = cover(package, found, known, config.limits, lambda done, of: progress.update(bar, completed=done))
    progress.update(bar, description=f"{name}: {sum(bool(f.tests) for f in tested):,} of {len(tested):,} tested")
    return tested


def _fetched(name: str, config: CriticCorpus) -> Package:
    package = package_named(name, config.sandbox)
    licences = config.out.with_name(f"{config.out.name}.licences")
    licences.mkdir(exist_ok=True)
    save_text(licences / f"{name}.txt", package.licence_text)
    return package
