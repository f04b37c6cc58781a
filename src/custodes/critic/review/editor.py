"""What an editor shows of a review: notes that move with the text, and what can be done about them."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from custodes.critic.review.evidence import TITLES
from custodes.critic.review.findings import Review, Reviewed
from custodes.critic.review.places import repository_root
from custodes.critic.review.snippets import EVERY, IGNORE, ignored_lines, lines_of, parsed_python, plain_kind


@dataclass(frozen=True, slots=True)
class EditorNote:
    """A finding, or what was not reviewed, on lines ``start`` to ``end``, from 1."""

    start: int
    end: int
    message: str
    finding: Reviewed | None = None


def notes_of(result: Review) -> list[EditorNote]:
    """Findings at all their places, and what was not reviewed, so that a file without any note is one that was reviewed."""
    notes = [
        EditorNote(start, end, f"{finding.message} (confidence {finding.confidence:.0%})", finding)
        for finding in result.findings
        for start, end in finding.places
    ]
    notes += [EditorNote(max(p.line, 1), max(p.line, 1), f"not reviewed: {p.message}") for p in result.problems]
    return notes + ([EditorNote(1, 1, f"stopped: {result.died}")] if result.died else [])


def in_markdown(finding: Reviewed) -> str:
    """A finding with the evidence that it has."""
    said = finding.evidence
    if said is None:
        return f"**{finding.kind}**: {finding.message}"
    shown = [f"- {label}: `{' '.join(value.replace('`', chr(39)).split())}`" for label, value in said.rows.items()]
    return "\n".join(
        [f"**{TITLES[said.kind]}**", "", *shown, "", "A test to paste:", "", "~~~~python", said.test.rstrip(), "~~~~"]
    )


def moved_notes(notes: Sequence[EditorNote], old: str, new: str) -> list[EditorNote]:
    """The notes on a text that was edited. Lines above the first and below the last edited line are the same; a note on a line
    that was edited is gone."""
    before, after = lines_of(old), lines_of(new)
    most = min(len(before), len(after))
    above = next((n for n in range(most) if before[n] != after[n]), most)
    below = next((n for n in range(most - above) if before[-1 - n] != after[-1 - n]), most - above)
    shift, edited = len(after) - len(before), len(before) - below  # lines above + 1 to edited were edited
    stay = [note for note in notes if note.end <= above]
    move = [replace(n, start=n.start + shift, end=n.end + shift) for n in notes if n.start > edited]
    return sorted([*stay, *move], key=_order)


def _order(note: EditorNote) -> tuple[int, int]:
    """Where a note stands."""
    return note.start, note.end


@dataclass(frozen=True, slots=True)
class LineEdit:
    """Line ``line``, from 1, becomes ``text``."""

    title: str
    line: int
    text: str


def ignoring(text: str, note: EditorNote) -> LineEdit | None:
    """The edit that silences a finding by a comment: on its line, or where no comment can stand, on its function's.

    None where no comment would silence it, or the code would no longer be the same.
    """
    lines, kind = lines_of(text), plain_kind((note.finding.suspicion or note.finding.kind) if note.finding else "")
    tree = parsed_python(lines)
    same = ast.dump(tree) if isinstance(tree, ast.Module) else ""
    for line in [*range(note.start, note.end + 1), *_definitions_around(tree, note.start)]:
        marked = _with_comment(lines[line - 1], kind)
        edited = [*lines[: line - 1], marked, *lines[line:]]
        silent = ignored_lines("\n".join(edited)).get(note.start, set())
        now = parsed_python(edited)
        if silent & {EVERY, kind} and (not same or (isinstance(now, ast.Module) and ast.dump(now) == same)):
            where = "this line" if note.start <= line <= note.end else f"the function in line {line}"
            return LineEdit(f"Ignore {kind} in {where}", line, marked)
    return None


def _with_comment(line: str, kind: str) -> str:
    match = IGNORE.search(line)
    if match and match[1] is not None:
        kinds = f"{match[1]}, {kind}" if match[1].strip() else kind
        return f"{line[: match.start(1)]}{kinds}{line[match.end(1) :]}"
    return f"{line}  # custodes: ignore[{kind}]"


def _definitions_around(tree: ast.Module | SyntaxError, line: int) -> Iterator[int]:
    """Lines on which functions around a line begin, the innermost first."""
    kinds = (ast.FunctionDef, ast.AsyncFunctionDef)
    every = [n for n in ast.walk(tree) if isinstance(n, kinds)] if isinstance(tree, ast.Module) else []
    yield from sorted((n.lineno for n in every if n.lineno <= line <= (n.end_lineno or n.lineno)), reverse=True)


def file_of_tests(file: Path) -> Path:
    """Where a test of a file belongs: the file ``test_NAME.py`` that is there, else one in the repository's folder
    ``tests``, else one beside the file."""
    name, tests = f"test_{file.stem}.py", Path(repository_root(str(file.parent)), "tests")
    known = [*sorted(tests.rglob(name)), file.with_name(name)] if tests.is_dir() else [file.with_name(name)]
    return next((path for path in known if path.is_file()), tests / name if tests.is_dir() else known[-1])


def appended_test(text: str, test: str) -> str | None:
    """What is put at the end of a file of tests; None where the test stands in it."""
    if test.strip() in text:
        return None
    gap = "" if not text else "\n\n" if text.endswith("\n") else "\n\n\n"
    return f"{gap}{test.strip()}\n"
