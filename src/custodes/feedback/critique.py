"""Critiques as text: verbatim quotes of what is reviewed, each in a code block, each followed by a comment.

    The loop leaves out the last element.

    ```python
        for i in range(len(items) - 1):
    ```
    The range ends one element early, so the last item is never looked at.

One parser, one writer; ``parse_critique(write_critique(c)) == c`` for every critique. Lines count from 1.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass

FENCE = re.compile(r" {0,3}(`{3,})[^`\n]*$")
NAME = re.compile(r"\w")


@dataclass(frozen=True, slots=True)
class Finding:
    """One quoted place and what is said of it.

    Both are brought into the form that text can hold: line ends are ``\\n``, the comment has no white space around it,
    and a line of it that would open a code block stands four columns in.
    """

    quote: str
    comment: str

    def __post_init__(self) -> None:
        object.__setattr__(self, "quote", _line_ends(self.quote))
        object.__setattr__(self, "comment", _prose(self.comment))


@dataclass(frozen=True, slots=True)
class Critique:
    """Findings in the order in which they were written; ``opening`` is what stands before the first quote."""

    findings: tuple[Finding, ...] = ()
    opening: str = ""

    def __post_init__(self) -> None:
        object.__setattr__(self, "opening", _prose(self.opening))


@dataclass(frozen=True, slots=True)
class Place:
    """Lines ``start`` to ``end`` of the source, both included; ``exact`` unless white space had to be ignored."""

    start: int
    end: int
    exact: bool = True


def parse_critique(text: str) -> Critique:
    """Read a critique. Any text is one: without code blocks it has no findings.

    A block that the text does not close reaches to its end, as when a token limit cut it.
    """
    prose: list[list[str]] = [[]]
    quotes: list[list[str]] = []
    fence = ""
    for line in _line_ends(text).split("\n"):
        opens = FENCE.match(line)
        if not fence and opens:
            fence = opens[1]
            quotes.append([])
            prose.append([])
        elif fence and opens and len(opens[1]) >= len(fence) and line.strip() == opens[1]:
            fence = ""
        elif fence:
            quotes[-1].append(line)
        else:
            prose[-1].append(line)
    opening, *comments = ("\n".join(lines) for lines in prose)
    findings = (Finding("\n".join(q), c) for q, c in zip(quotes, comments, strict=True))
    return Critique(tuple(findings), opening)


def write_critique(critique: Critique, language: str = "python") -> str:
    """The critique as text; ``language`` stands after the opening fences."""
    parts = [critique.opening] if critique.opening else []
    for finding in critique.findings:
        runs = re.findall(r"`{3,}", finding.quote)
        fence = "`" * (1 + max(map(len, runs), default=2))
        body = f"{finding.quote}\n" if finding.quote else ""
        parts.append(f"{fence}{language}\n{body}{fence}" + (f"\n{finding.comment}" if finding.comment else ""))
    return "\n\n".join(parts)


def locate(quote: str, source: str) -> list[Place]:
    """Every place of ``source`` that the quote may mean; none for a quote that does not occur there.

    Whole lines first, then parts of lines, then the same with all white space ignored. A part never begins or ends
    inside a name, so that ``i`` is not found in ``if``.
    """
    quote, source = _line_ends(quote).strip("\n"), _line_ends(source)
    if not quote.strip():
        return []
    wanted, lines = ("".join(f"\n{line.rstrip()}" for line in text.split("\n")) + "\n" for text in (quote, source))
    whole, line, counted, at = [], 0, 0, lines.find(wanted)
    while at >= 0:
        line, counted = line + lines.count("\n", counted, at), at
        whole.append(Place(line + 1, line + wanted.count("\n") - 1))
        at = lines.find(wanted, at + 1)
    if whole:
        return whole
    within = [Place(*_lines_of(source, at, at + len(quote))) for at in _occurrences(quote, source)]
    return within or _without_space(quote, source)


def hallucinated(finding: Finding, source: str) -> bool:
    """Whether the quote occurs nowhere in what is reviewed."""
    return not locate(finding.quote, source)


def _without_space(quote: str, source: str) -> list[Place]:
    """Occurrences with all white space ignored on both sides."""
    at = [i for i, character in enumerate(source) if not character.isspace()]
    bare, wanted = "".join(source[i] for i in at), "".join(quote.split())
    found = []
    for start in _occurrences(wanted, bare, names=False):
        first, last = at[start], at[start + len(wanted) - 1]
        if _whole_names(source, first, last + 1):
            found.append(Place(*_lines_of(source, first, last + 1), exact=False))
    return found


def _occurrences(part: str, text: str, names: bool = True) -> Iterator[int]:
    """Where ``part`` begins in ``text``, places that do not overlap; with ``names``, not inside a name."""
    at = text.find(part)
    while at >= 0:
        fits = not names or _whole_names(text, at, at + len(part))
        if fits:
            yield at
        at = text.find(part, at + (len(part) if fits else 1))


def _whole_names(text: str, start: int, end: int) -> bool:
    """Whether no name reaches over the borders of ``text[start:end]``."""
    before, after = text[max(start - 1, 0) : start + 1], text[end - 1 : end + 1]
    return not (start and len(NAME.findall(before)) == 2) and len(NAME.findall(after)) < 2


def _lines_of(text: str, start: int, end: int) -> tuple[int, int]:
    """First and last line, without lines that hold nothing but the white space at the quote's ends."""
    inside = text[start:end]
    start += len(inside) - len(inside.lstrip())
    end -= len(inside) - len(inside.rstrip())
    return text.count("\n", 0, start) + 1, text.count("\n", 0, end) + 1


def _line_ends(text: str) -> str:
    return text.replace("\r\n", "\n").replace("\r", "\n")


def _prose(text: str) -> str:
    """Text that holds no code block, without white space around it."""
    lines = _line_ends(text).strip().split("\n")
    return "\n".join("    " + line.lstrip(" ") if FENCE.match(line) else line for line in lines).strip("\n")


@dataclass(frozen=True, slots=True)
class Changes:
    """What became of the findings of a given critique."""

    kept: tuple[Finding, ...]
    edited: tuple[tuple[Finding, Finding], ...]
    """(as given, as it is now)"""
    removed: tuple[Finding, ...]
    added: tuple[Finding, ...]

    def counts(self) -> dict[str, int]:
        return {name: len(getattr(self, name)) for name in ("kept", "edited", "removed", "added")}


def critique_changes(given: Critique, now: Critique) -> Changes:
    """Compare two critiques finding by finding.

    The same quote and comment is kept. Of what is left, a finding is edited where its quote, or else its comment, is
    still there; each finding is matched once, in the order in which it was written.
    """
    left, new = list(given.findings), list(now.findings)
    kept = _matched(left, new, lambda a, b: a == b)
    edited = _matched(left, new, lambda a, b: a.quote == b.quote)
    edited += _matched(left, new, lambda a, b: a.comment == b.comment and bool(a.comment))
    return Changes(tuple(a for a, _ in kept), tuple(edited), tuple(left), tuple(new))


def _matched(
    left: list[Finding], new: list[Finding], alike: Callable[[Finding, Finding], bool]
) -> list[tuple[Finding, Finding]]:
    """Pairs that are alike, taken out of both lists."""
    found = []
    for finding in list(left):
        match = next((other for other in new if alike(finding, other)), None)
        if match is not None:
            left.remove(finding)
            new.remove(match)
            found.append((finding, match))
    return found
