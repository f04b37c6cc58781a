"""From a function to tampered ones: which changes are tried, and where the bugs then stand."""

from __future__ import annotations

import ast
import random
import warnings
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from itertools import zip_longest

from custodes.critic.examples import Bug
from custodes.critic.tamper import expressions, names, statements  # noqa: F401 (they register their operators)
from custodes.critic.tamper.scene import OPERATORS, Edit, Scene, edits

HELD_OUT_OPERATORS = frozenset({"swapped_arguments", "dropped_guard", "loop_ends_early", "slice_bound"})
"""Operators that no training example comes from: two on expressions, two on statements."""
WIDEST = 5  # lines; of a change over more, only the first is named


@dataclass(frozen=True, slots=True)
class Tampered:
    """A function with bugs."""

    code: str
    bugs: tuple[Bug, ...]


def candidates(
    code: str, most: int, seed: int = 0, operators: Collection[str] | None = None, lines: Collection[int] | None = None
) -> list[Edit]:
    """At most ``most`` changes of a function, the operators taking turns; each parses, compiles and is another program.

    ``lines`` restricts changes to those lines. Raises InputError where the code is not a function.
    """
    scene, draw = Scene(code), random.Random(f"{seed} {code}")
    by_operator: dict[str, list[Edit]] = {}
    for edit in edits(scene, [o for o in OPERATORS.values() if operators is None or o.name in operators]):
        if lines is None or scene.line_of(edit.start) in lines or scene.line_of(max(edit.start, edit.end - 1)) in lines:
            by_operator.setdefault(edit.operator, []).append(edit)
    groups = list(by_operator.values())
    for group in groups:
        draw.shuffle(group)
    draw.shuffle(groups)
    before, seen, kept = program(code), {code}, list[Edit]()
    for edit in (e for turn in zip_longest(*groups) for e in turn if e is not None):
        if len(kept) == most:
            break
        after = edit.apply(code)
        if after not in seen and program(after) not in ("", before):
            kept.append(edit)
        seen.add(after)
    return kept


def program(code: str) -> str:
    """What the code says without layout and comments; "" where it does not parse and compile."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", SyntaxWarning)
            compile(code, "tampered", "exec", dont_inherit=True)
            return ast.dump(ast.parse(code))
    except (SyntaxError, ValueError, RecursionError):
        return ""


def tamper(code: str, chosen: Sequence[Edit]) -> Tampered:
    """Apply changes that do not overlap, and say on which lines of the result each stands."""
    result, shift, bugs = code, 0, []
    for edit in sorted(chosen, key=lambda e: e.start):
        at = edit.start + shift
        result = result[:at] + edit.text + result[at + edit.end - edit.start :]
        shift += len(edit.text) - (edit.end - edit.start)
        first, last = _line_at(code, edit.start), _line_at(code, max(edit.start, edit.end - 1))
        original = "\n".join(code.split("\n")[first - 1 : last]) if edit.end > edit.start else ""
        bugs.append(Bug(edit.operator, _visible_lines(result, at, edit.text), edit.description, original))
    return Tampered(result, tuple(bugs))


def apart(one: Edit, other: Edit, code: str) -> bool:
    """Whether two changes touch different lines, with one between them."""
    first, second = sorted((one, other), key=lambda e: e.start)
    return _line_at(code, second.start) - _line_at(code, max(first.start, first.end)) >= 2


def _line_at(code: str, offset: int) -> int:
    return code.count("\n", 0, offset) + 1


def _visible_lines(code: str, at: int, text: str) -> tuple[int, ...]:
    """Where a change can be seen: its lines, or where lines are gone those beside the gap."""
    first = _line_at(code, at)
    if not text and (at == 0 or code[at - 1] == "\n"):
        last = code.rstrip("\n").count("\n") + 1
        return tuple(line for line in (first - 1, first) if 1 <= line <= last)
    lines = range(first, _line_at(code, at + len(text.rstrip("\n"))) + 1)
    return tuple(lines) if len(lines) <= WIDEST else (first,)
