"""Bugs of our own making in documented functions of installed packages: how many does running find, and how often is it wrong?

One bug is put into each function by the operators of ``custodes critic tamper``. Not every change shows: some make no difference.
The function as it is gives the false alarms. Run again with the same ``--out``, it goes on where it was.
"""

from __future__ import annotations

import argparse
import ast
import json
import random
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from evidence import EVERYTHING, in_words, summarised
from evidence_library import files_of

from custodes.critic.choice import CriticChoice
from custodes.critic.functions import functions_of
from custodes.critic.loading import open_proposer
from custodes.critic.review.flow import review
from custodes.critic.review.proposals import ProposalOptions, Proposer
from custodes.critic.review.running import RunOptions
from custodes.critic.tamper.bugs import candidates
from custodes.files import save_json


def main(words: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--packages", nargs="*", default=["more_itertools", "networkx"])
    parser.add_argument("--functions", type=int, default=200)
    parser.add_argument("--documented", default=">>>", help="a text that the docstring holds")
    parser.add_argument("--inputs", type=int, default=60)
    parser.add_argument("--seconds", type=float, default=6.0)
    parser.add_argument(
        "--model", default="", help="a model that proposes results: a folder, a .gguf file, endpoint:URL#NAME"
    )
    parser.add_argument(
        "--also", nargs="*", type=Path, default=[], help="folders of this study: their functions count too"
    )
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args(words)
    given.out.mkdir(parents=True, exist_ok=True)
    kept = given.out / "rows.jsonl"
    rows = [json.loads(line) for line in kept.read_text().splitlines()] if kept.exists() else []
    done = {row["name"] for row in rows}
    drawn = [one for package in given.packages for one in documented(package, given.documented)]
    random.Random(given.seed).shuffle(drawn)
    proposer = open_proposer(CriticChoice(model=given.model), ProposalOptions())
    if proposer is not None:  # about many functions at once, and never twice
        wanted: dict[str, set[str]] = {}
        for file, name, *_ in drawn[: given.functions]:
            wanted.setdefault(file, set()).add(name)
        proposer.propose({file: Path(file).read_text() for file in wanted}, wanted, given.out / "cache", told)
    run = RunOptions(inputs=given.inputs, seconds=given.seconds)
    for file, name, first, last, code in drawn[: given.functions]:
        edits = candidates(code, 1, given.seed)
        if f"{file}::{name}" in done or not edits:
            continue
        row = measured(file, first, last, edits[0].apply(code), run, proposer, given.out / "cache")
        rows.append({"name": f"{file}::{name}", "operator": edits[0].operator, **row})
        with kept.open("a") as handle:
            handle.write(json.dumps(rows[-1]) + "\n")
        print(
            f"{len(rows)}: {name}, {edits[0].operator}: {[f[0] for f in row['buggy']]} {[f[0] for f in row['fixed']]}",
            flush=True,
        )
    for folder in given.also:  # a function that was drawn twice counts once
        known = {row["name"] for row in rows}
        others = [json.loads(line) for line in (folder / "rows.jsonl").read_text().splitlines()]
        rows += [row for row in others if row["name"] not in known]
    result = summarised(rows)
    save_json(given.out / "summary.json", result)
    print(in_words(result))


def told(done: int, of: int) -> None:
    print(f"the model was asked about {done} of {of} functions", flush=True)


def documented(package: str, holds: str) -> Iterator[tuple[str, str, int, int, str]]:
    """(file, function, first line, last line, code) of a package's functions outside classes whose docstring holds a text."""
    for file in files_of(package):
        for f in functions_of(file.read_text()):
            node = ast.parse(f.code).body[0]
            plain = "." not in f.qualname and isinstance(node, ast.FunctionDef)
            if plain and holds in (ast.get_docstring(node) or ""):  # type: ignore[arg-type]
                yield str(file), f.qualname, f.start, f.end, f.code


def measured(
    file: str, first: int, last: int, tampered: str, run: RunOptions, proposer: Proposer | None, cache: Path
) -> dict[str, Any]:
    """Findings in the function with the bug, and as it is."""
    began, row = time.monotonic(), dict[str, Any]()
    lines = Path(file).read_text().split("\n")
    changed = [*lines[: first - 1], *tampered.rstrip("\n").split("\n"), *lines[last:]]
    for side, text in {"buggy": "\n".join(changed), "fixed": "\n".join(lines)}.items():
        result = review(
            [file], None, EVERYTHING, cache, {file: {first, first + 1}}, texts={file: text}, run=run, proposer=proposer
        )
        row[side] = [[f.kind, f.confidence, f.evidence.by if f.evidence else "", f.message] for f in result.findings]
        row[f"{side}_ran"] = any(r.ran for r in result.runs)
    return row | {"seconds": time.monotonic() - began}


if __name__ == "__main__":
    main()
