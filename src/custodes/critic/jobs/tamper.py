"""Making examples of code with known bugs from a corpus: what ``custodes critic tamper`` does.

Beside FILE stand ``FILE.parts`` (what was tried: the same command again goes on from there) and ``FILE.summary.json``
(how many examples there are of each kind, and how often each operator's changes were kept).
"""

from __future__ import annotations

import os
import random
from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from custodes.critic.corpus import Function, read_corpus
from custodes.critic.examples import write_json_lines
from custodes.critic.kept_apart import KeptApart
from custodes.critic.tamper import OPERATORS
from custodes.critic.tamper.make import TamperOptions, chunks_of, clean, trusted, try_all, untested
from custodes.environments.sandbox import Kind
from custodes.files import save_json
from custodes.job.command import command, in_words
from custodes.job.options import Output
from custodes.job.parts import Parts
from custodes.job.progress import Progress
from custodes.ranges import ranged
from custodes.stats import wilson
from custodes.types import InputError


@dataclass(frozen=True, kw_only=True)
@ranged
class CriticTamper:
    """Insert bugs into the functions of a corpus. The same command again goes on where it was interrupted."""

    corpus: Path
    """What `custodes critic corpus` made: functions with their tests."""
    out: Output
    """The examples, JSON Lines."""
    options: TamperOptions = field(default_factory=TamperOptions)
    packages: str = ""
    """Only these packages, with commas between; all where empty."""
    functions: int = 0
    """Only so many functions with tests, drawn by the seed; 0 takes all."""
    untested_functions: int = 0
    """Only so many functions without tests, drawn by the seed; 0 takes all."""
    workers: int = 0
    """Sandboxes at once; 0 chooses by the processor's cores."""
    sandbox: Kind = "auto"
    """What isolates the commands: bubblewrap, docker, or auto, which takes bubblewrap where it works, else Docker."""


@command(resumes=True)
def critic_tamper(config: CriticTamper) -> dict[str, Any]:
    """Insert known bugs into the functions of a corpus.

    Make the file; returns its summary. Raises InputError where the corpus is none or holds nothing to tamper with.
    """
    (functions, apart), options = _chosen(config), config.options
    decides = {"options": asdict(options), "operators": sorted(OPERATORS), "functions": [f.id for f in functions]}
    with Parts.open(config.out, decides) as known, Progress() as progress:
        bar, kept = progress.add_task("Trying changes", total=len(chunks_of(functions))), 0

        def show(chunk: Mapping[str, Any]) -> None:
            nonlocal kept
            kept += len(chunk["examples"])
            progress.update(bar, advance=1, description=f"Trying changes: {kept:,} kept")

        made = try_all(functions, known, options, config.workers or os.cpu_count() or 1, config.sandbox, show)
        operators, examples = trusted(made, options.trust), list(made.examples)
        without = [f for f in functions if not f.tests]
        for bare in progress.track(without, description="Functions without tests"):
            examples += untested(bare, operators, options)
    examples += clean(functions, round(len(examples) * options.clean / (1 - options.clean)), options.seed)
    random.Random(options.seed).shuffle(examples)
    write_json_lines(config.out, examples)
    told = {
        "examples": len(examples),
        "tampered": sum(e.verified != "clean" for e in examples),
        "verified": dict(Counter(e.verified for e in examples)),
        "splits": dict(Counter(e.split for e in examples)),
        "packages": dict(Counter(e.package for e in examples)),
        "several_bugs": sum(len(e.bugs) > 1 for e in examples),
        "kept_rate": wilson(made.kept.total(), made.tried.total()).to_dict(),
        "operators": {
            name: {**wilson(made.kept[name], made.tried[name]).to_dict(), "trusted": name in operators}
            for name in sorted(made.tried)
        },
        "not_tried": dict(made.problems),
        "kept_apart": apart,
    }
    save_json(config.out.with_name(config.out.name + ".summary.json"), told, indent=None)
    return told


@in_words(critic_tamper)
def _show(options: CriticTamper, told: dict[str, Any]) -> None:
    print(f"{told['examples']:,} examples, {told['tampered']:,} of them tampered: {options.out}")
    for kind in ("verified", "splits"):
        print("  " + ", ".join(f"{name} {count:,}" for name, count in told[kind].items()))
    rate = told["kept_rate"]
    print(f"  kept {rate['estimate']:.1%} of {rate['n']:,} changes tried (tests failed that passed before)")


def _chosen(config: CriticTamper) -> tuple[list[Function], int]:
    """The functions to tamper with, and how many are left out, since critics are measured on them."""
    packages = {name.strip() for name in config.packages.split(",") if name.strip()}
    found = [f for f in read_corpus(config.corpus) if not packages or f.package in packages]
    every, kept_apart = len(found), KeptApart.known()
    found = [f for f in found if not kept_apart.holds(f.package, f.code)]
    apart = every - len(found)
    if not any(f.tests for f in found):
        named = f" of {config.packages}" if packages else ""
        raise InputError(
            f"{config.corpus} holds no function{named} with a test; nothing can be proved about tampering."
        )
    draw, taken = random.Random(config.options.seed), set[str]()
    for tested, wanted in ((True, config.functions), (False, config.untested_functions)):
        group = [f.id for f in found if bool(f.tests) is tested]
        taken.update(draw.sample(group, min(wanted or len(group), len(group))))
    return [f for f in found if f.id in taken], apart
