"""Does a review with evidence find the bugs that this project mended itself?

    python studies/own_history.py --out runs/own-history

Commits that mended a bug: at most --lines lines of existing functions in at most three files of ``src`` change, a test
changes with them, and the message has a word of mending (WORDS). Commits that by their messages mended nothing are left out
by hand (NO_BUG). The newest --commits of the others are taken. The parent's
version of each changed function is run in the sandbox, as ``custodes critique`` does, and the mended version too.

Caught on the line: a finding stands on a line that the mending changes; where it only adds lines, on one beside the gap.
Caught in the function: a finding in a changed function that is gone after the mending. A finding that stays is another
matter, or false. Each commit is a file of the study's folder: the same command goes on where it was.
"""

from __future__ import annotations

import argparse
import ast
import difflib
import io
import json
import os
import re
import subprocess
import tarfile
import tempfile
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console

from custodes.critic.functions import definitions_of
from custodes.critic.review.findings import Reviewed
from custodes.critic.review.flow import ReviewOptions, review
from custodes.critic.review.running import RunOptions
from custodes.files import save_json
from custodes.stats import rate
from custodes.types import InputError

WORDS = re.compile(
    r"\b(wrong\w*|bugs?|no longer|broken|fix\w*|mend\w*|lost|crash\w*|never|in place of|instead of|twice|missing|fail\w*"
    r"|refused?|was|were|silently|mistak\w*|without|again|nothing|hid|hidden|not)\b",
    re.IGNORECASE,
)
NO_BUG = (
    "A review asks once",
    "No critic learns",
    "In an editor",
    "Other repositories",
    "Who decides that",
    "Repetition has a false-alarm rate",
    "The list of suspects says",
    "A reward that costs is not asked",
    "The frontier of critics",
    "The error for wrong input stands below",
    "More alive at once",
    "A model is asked about thirty",
    "Three studies count",
    "An option that was renamed",
    "--judgments is the one option",
    "Attention in blocks",
    "Words alone look again",
    "The report decides whether",
    "A review of code imports nothing",
    "Beside well-formed episodes",
    "More episodes extend",
    "Arms of several seeds",
    "The loop on a tiny model",
    "Let two writers begin",
    "First audit",
    "Embed a chat model",
)
"""How the messages begin of commits that the rule takes and that mended no bug; read by hand."""
screen = Console(stderr=True)


@dataclass(frozen=True)
class Changed:
    """A function that a commit changed: its lines in the parent's file, and those that the commit changed, from 1."""

    file: str
    name: str
    lines: tuple[int, int]
    mended: frozenset[int]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repository", type=Path, default=Path("."), help="a clone with its history")
    parser.add_argument("--source", default="src", help="the folder of the repository whose functions are reviewed")
    parser.add_argument("--out", type=Path, default=Path("runs/own-history"), help="folder of the study")
    parser.add_argument("--commits", type=int, default=50, help="at most so many, the newest")
    parser.add_argument("--lines", type=int, default=60, help="lines that a commit may change")
    parser.add_argument("--seconds", type=float, default=6.0, help="of looking for inputs of a function")
    parser.add_argument("--list", action="store_true", help="print the commits and review nothing")
    chosen = parser.parse_args()
    commits = list(mending(chosen.repository, chosen.source, chosen.lines, chosen.commits))
    if chosen.list:
        print("\n".join(f"{commit[:10]} {subject}" for commit, subject, _ in commits))
        return
    rows = []
    for done, (commit, subject, functions) in enumerate(commits, 1):
        file = chosen.out / "commits" / f"{commit}.json"
        if not file.exists():
            file.parent.mkdir(parents=True, exist_ok=True)
            options = RunOptions(seconds=chosen.seconds)
            save_json(
                file, {"commit": commit, "subject": subject, **looked_at(chosen.repository, commit, functions, options)}
            )
        rows.append(json.loads(file.read_text()))
        screen.print(f"{done} of {len(commits)}: {subject[:90]}")
    told = counted(rows)
    save_json(chosen.out / "own_history.json", told)
    print(json.dumps(told, indent=1))


def mending(repository: Path, source: str, lines: int, most: int) -> Iterator[tuple[str, str, list[Changed]]]:
    """(commit, first line of its message, changed functions) of commits that mended a bug, the newest first."""
    count = 0
    for row in git(repository, "log", "--no-merges", "--format=%H%x09%P%x09%s").splitlines():
        commit, parent, subject = row.split("\t", 2)
        if count == most or not parent or not WORDS.search(subject) or subject.startswith(NO_BUG):
            continue
        files = git(repository, "diff", "--name-only", "--diff-filter=M", parent, commit).splitlines()
        own = [f for f in files if f.startswith(f"{source}/") and f.endswith(".py")]
        tested = any("test" in f for f in git(repository, "diff", "--name-only", parent, commit).splitlines())
        if not 1 <= len(own) <= 3 or not tested:
            continue
        versions = {
            f: (git(repository, "show", f"{parent}:{f}"), git(repository, "show", f"{commit}:{f}")) for f in own
        }
        size = sum(len(mended_lines(*texts)) for texts in versions.values())
        functions = [c for file, texts in versions.items() for c in changed_functions(file, *texts)]
        if functions and size <= lines:
            count += 1
            yield commit, subject, functions


def mended_lines(old: str, new: str) -> set[int]:
    """Lines of the old text that change, from 1; where lines are only added, those beside the gap."""
    before, after = old.split("\n"), new.split("\n")
    found: set[int] = set()
    for tag, a, b, _, _ in difflib.SequenceMatcher(None, before, after, autojunk=False).get_opcodes():
        if tag != "equal":
            found |= set(range(a + 1, b + 1)) if b > a else {n for n in (a, a + 1) if 1 <= n <= len(before)}
    return found


def changed_functions(file: str, old: str, new: str) -> list[Changed]:
    """Functions that both versions have and that differ in more than their layout, comments and docstrings."""
    try:
        lines, there, now = spans(old), code_of(old), code_of(new)
    except (SyntaxError, ValueError):  # a version that no Python reads
        return []
    mended = mended_lines(old, new)
    return [
        Changed(file, name, (first, last), frozenset(own))
        for name, (first, last) in lines.items()
        if name in now and there[name] != now[name] and (own := mended & set(range(first, last + 1)))
    ]


def spans(text: str) -> dict[str, tuple[int, int]]:
    """The lines of each function, decorators included."""
    found = {}
    for name, node in definitions_of(ast.parse(text)):
        first = min([node.lineno, *(d.lineno for d in node.decorator_list)])
        found[name] = first, node.end_lineno or node.lineno
    return found


def code_of(text: str) -> dict[str, str]:
    """Each function as the syntax tree has it, without its docstring."""
    found = {}
    for name, node in definitions_of(ast.parse(text)):
        body = node.body[1:] if ast.get_docstring(node) is not None else node.body
        found[name] = ast.dump(ast.Module([ast.Expr(node.args), *node.decorator_list, *body], []))  # type: ignore[list-item]
    return found


def looked_at(repository: Path, commit: str, functions: list[Changed], options: RunOptions) -> dict[str, Any]:
    """What a review says of the functions before and after the commit, and which were run."""
    before = reviewed(repository, f"{commit}^", functions, options)
    after = reviewed(repository, commit, functions, options)
    rows = []
    for changed in functions:
        old, new = before[changed.file, changed.name], after[changed.file, changed.name]
        kept = {told(f) for f in new["findings"]}
        rows.append({
            "file": changed.file,
            "name": changed.name,
            "ran": old["ran"],
            "reason": old["reason"],
            "on_line": [told(f) for f in old["findings"] if any(changed.mended & set(range(a, b + 1)) for a, b in f.places)],
            "gone": [told(f) for f in old["findings"] if told(f) not in kept],
            "stays": [told(f) for f in old["findings"] if told(f) in kept],
            "new": [told(f) for f in new["findings"] if told(f) not in {told(g) for g in old["findings"]}],
        })  # fmt: skip
    return {"functions": rows}


def reviewed(
    repository: Path, revision: str, functions: list[Changed], options: RunOptions
) -> dict[tuple[str, str], dict[str, Any]]:
    """(file, function) -> whether it ran at this revision, why not, and the findings in it."""
    with tempfile.TemporaryDirectory() as folder:
        archive = git_bytes(repository, "archive", revision, functions[0].file.split("/")[0])
        with tarfile.open(fileobj=io.BytesIO(archive)) as tar:
            tar.extractall(folder, filter="data")
        files = {f"{folder}/{changed.file}": changed.file for changed in functions}
        where = {file: spans(Path(file).read_text(encoding="utf-8")) for file in files}
        names = {file: {c.name for c in functions if c.file == short} for file, short in files.items()}
        lines = {file: {n for name in names[file] for n in lines_within(where[file][name])} for file in files}
        try:
            result = review(list(files), None, ReviewOptions(), changed=lines, run=options)
        except InputError as error:
            raise SystemExit(str(error)) from None
        found = {
            (short, name): {"ran": False, "reason": "it was not reached", "findings": []}
            for file, short in files.items()
            for name in names[file]
        }
        for run in result.runs:
            if (row := found.get((files[run.file], run.name))) is not None:
                row |= {"ran": run.ran, "reason": run.reason}
        for finding in result.findings:
            if (row := found.get((files[finding.file], finding.name))) is not None:
                row["findings"].append(finding)
        return found


def lines_within(span: tuple[int, int]) -> range:
    return range(span[0], span[1] + 1)


def told(finding: Reviewed) -> str:
    """What a finding says, wherever it stands."""
    said = finding.evidence
    return f"{finding.kind}: {said.call} gives {said.came}, promised {said.promised}" if said else finding.message


def counted(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """Shares with 95 % intervals: of commits, and of functions, which count by their commits."""
    functions = [(row["commit"], f) for row in rows for f in row["functions"]]
    whose = [commit for commit, _ in functions]
    ran = [f["ran"] for _, f in functions]
    run = [(commit, f) for commit, f in functions if f["ran"]]
    staying = [bool(f["stays"] or f["new"]) for _, f in run]
    runnable = [row for row in rows if any(f["ran"] for f in row["functions"])]
    told = {"commits": len(rows), "functions": len(functions)}
    shares = {
        "functions run": rate(ran, whose),
        "commits caught on a changed line": rate([any(f["on_line"] for f in row["functions"]) for row in rows]),
        "commits caught in a changed function": rate([any(f["gone"] for f in row["functions"]) for row in rows]),
        "the same, of commits with a function that was run": rate(
            [any(f["gone"] for f in row["functions"]) for row in runnable]
        ),
        "functions run with a finding that stays or is new": rate(staying, [commit for commit, _ in run]),
    }
    reasons = Counter(f["reason"] for _, f in functions if not f["ran"])
    return told | {name: share.to_dict() for name, share in shares.items()} | {"not run": dict(reasons.most_common())}


def git(repository: Path, *words: str) -> str:
    return git_bytes(repository, *words).decode("utf-8", "replace")


def git_bytes(repository: Path, *words: str) -> bytes:
    clean = {key: value for key, value in os.environ.items() if not key.startswith("GIT_")}
    done = subprocess.run(["git", "-C", str(repository), *words], capture_output=True, env=clean, check=False)
    if done.returncode:
        raise SystemExit(f"git {' '.join(words[:2])} failed: {done.stderr.decode(errors='replace').strip()}")
    return done.stdout


if __name__ == "__main__":
    main()
