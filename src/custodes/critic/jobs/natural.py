"""Mining bugs of real histories from releases of the corpus packages: what ``custodes critic natural`` does."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from custodes.critic.corpus import Function, read_corpus
from custodes.critic.natural import Change, changes, proved
from custodes.critic.sources import SOURCES, open_package
from custodes.critic.tamper.examples import Example, write_examples
from custodes.critic.workshop import Workshop
from custodes.environments.sandbox import Kind, SandboxFailure
from custodes.job.command import command, in_words
from custodes.job.options import Output
from custodes.job.progress import Progress
from custodes.ranges import Count, ranged
from custodes.types import InputError

OLDER = {
    "boltons": ("25.0.0", "24.0.0", "23.0.0", "21.0.0", "20.0.0", "19.0.0", "18.0.0", "17.0.0"),
    "more-itertools": ("11.0.0", "10.5.0", "10.0.0", "9.0.0", "8.10.0", "8.0.0", "7.0.0", "6.0.0", "5.0.0", "4.0.0"),
}
"""Earlier releases of the packages that no training example comes from."""


@dataclass(frozen=True, kw_only=True)
@ranged
class CriticNatural:
    """Find bugs of real histories: functions of older releases on which a test of the newer release fails."""

    corpus: Path
    """What `custodes critic corpus` made: the newer functions with their tests."""
    out: Output
    """The examples, JSON Lines, of the split natural."""
    releases: str = ""
    """Older releases, as in boltons==24.0.0,toolz==0.11.0; where empty, some of boltons and more-itertools."""
    lines: Count = 2
    """Lines that may differ between the two releases, removed and added each."""
    sandbox: Kind = "auto"
    """What builds the walls in which tests run: bubblewrap, docker, or whichever works."""


@command()
def critic_natural(config: CriticNatural) -> dict[str, Any]:
    """Find bugs of real histories: older functions on which a newer test fails.

    Make the file; returns counts. Raises InputError for a corpus or releases that are not to be had.
    """
    wanted = _wanted(config.releases)
    newer: dict[str, list[Function]] = {name: [] for name in wanted}
    for f in read_corpus(config.corpus):
        if f.package in newer and f.tests:
            newer[f.package].append(f)
    if missing := [name for name, functions in newer.items() if not functions]:
        raise InputError(f"{config.corpus} holds no function of {missing[0]} with a test; make it with that package.")
    found: dict[str, list[Change]] = {name: [] for name in wanted}
    rows: list[Example] = []
    with Progress() as progress:
        bar = progress.add_task("Comparing releases", total=sum(map(len, wanted.values())))
        for name, versions in wanted.items():
            for version in versions:
                older = open_package(name, version)
                found[name] += changes(newer[name], older, config.lines)
                progress.advance(bar)
        bar = progress.add_task("Running tests", total=len(wanted))
        for name in wanted:
            found[name] = _once(found[name])
            try:
                with Workshop(open_package(name), kind=config.sandbox) as workshop:
                    rows += proved(workshop, found[name])
            except SandboxFailure as failure:
                raise InputError(f"the tests of {name} could not be run: {failure}") from None
            progress.advance(bar)
    config.out.parent.mkdir(parents=True, exist_ok=True)
    write_examples(config.out, rows)
    bugs = [row for row in rows if row.bugs]
    return {
        "compared": {name: len(newer[name]) for name in wanted},
        "changed": {name: len(found[name]) for name in wanted},
        "bugs": dict(Counter(row.package for row in bugs)),
        "functions": len({row.function for row in bugs}),
        "clean": len(rows) - len(bugs),
    }


@in_words(critic_natural)
def _show(options: CriticNatural, told: dict[str, Any]) -> None:
    for name, compared in told["compared"].items():
        changed, bugs = told["changed"][name], told["bugs"].get(name, 0)
        print(
            f"{name:<18}{compared:>5,} functions with tests, {changed:>4,} older codes of few other lines, {bugs:>4,} proved"
        )
    print(
        f"{sum(told['bugs'].values()):,} bugs of {told['functions']:,} functions, {told['clean']:,} clean: {options.out}"
    )


def _wanted(releases: str) -> dict[str, tuple[str, ...]]:
    """Package -> older releases."""
    if not releases.strip():
        return OLDER
    found: dict[str, tuple[str, ...]] = {}
    for text in (t.strip() for t in releases.split(",") if t.strip()):
        name, mark, version = text.partition("==")
        if not mark or name not in SOURCES or not version:
            known = ", ".join(SOURCES)
            raise InputError(f"release {text!r}: write PACKAGE==VERSION, of the packages {known}.")
        found[name] = (*found.get(name, ()), version)
    return found


def _once(found: list[Change]) -> list[Change]:
    """Each older code of a function once, of its last release."""
    return list({(c.newer.id, c.older): c for c in reversed(found)}.values())[::-1]
