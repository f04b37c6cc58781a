"""Examples in documentation: ``>>>`` blocks, calls with a result in prose, ``Input:``/``Output:`` pairs, "returns X for Y"."""

from __future__ import annotations

import ast
import contextlib
import doctest
import re
from dataclasses import dataclass, field
from typing import Any

SAID = (  # between a call and its result
    r"(?:->|=>|==>|-->|➞|→|⇒|⟹|↦|≡|===?|=(?!=)|"
    r"(?:[,:;]?\s*(?:then\s+)?(?:the\s+)?(?:correct\s+|expected\s+|right\s+)?(?:output|result|answer|value|function|it|call|we|you)?\s*"
    r"(?:should|will|would|must|shall|can)?\s*"
    r"(?:be|is|are|equals?|returns?|gives?|yields?|produces?|outputs?|prints?|evaluates?\s+to|results?\s+in|get|becomes?)"
    r"(?:\s+equal\s+to)?)\s*:?)"
)
AFTER = re.compile(rf"\s*[`*]*\s*(?:#+|//)?\s*{SAID}\s*[`*]*\s*", re.IGNORECASE)
COMMENTED = re.compile(r"\s*(?:#+|//)\s*")  # f(2)  # 4
RAISES = re.compile(
    r"\s*[`*]*\s*(?:#+|//)?\s*(?:->|=>|➞|→)?\s*(?:[,:]?\s*(?:should|will|would|must)?\s*)?(?:raises?|throws?)?\s*:?\s*[`*]*(?:an?\s+)?(\w*(?:Error|Exception|Warning|Interrupt|Iteration))\b",
    re.IGNORECASE,
)
INPUT = re.compile(r"^\s*[-*]?\s*(?:sample\s+|example\s+)?inputs?\s*\d*\s*[:=]\s*(.+?)\s*$", re.IGNORECASE)
OUTPUT = re.compile(
    r"^\s*[-*]?\s*(?:sample\s+|example\s+|expected\s+)?(?:outputs?|results?|returns?)\s*\d*\s*[:=]\s*(.+?)\s*$",
    re.IGNORECASE,
)
BOTH = re.compile(
    r"inputs?\s*[:=]\s*(.+?)[\s,;|]*(?:->|=>|→|➞)?\s*(?:outputs?|results?|returns?)\s*[:=]\s*(.+?)\s*$", re.IGNORECASE
)
FOR = re.compile(
    r"\breturns?\s+[`*]*(?P<value>[^`\n]+?)[`*]*\s+(?:for|when given|given|on|when called with|if given)\s+(?:the\s+)?(?:input\s+|argument\s+|value\s+)?[`*]*(?P<input>[^`\n]+?)[`*]*\s*(?:[.;]|,\s|$| and | but )",
    re.IGNORECASE | re.MULTILINE,
)
EMPTY = re.compile(
    r"^(?:an?\s+|the\s+)?empty\s+(list|array|sequence|string|str|text|dict|dictionary|tuple|set)\b", re.IGNORECASE
)
EMPTIES = {"list": "[]", "array": "[]", "sequence": "[]", "string": "''", "str": "''", "text": "''", "dict": "{}", "dictionary": "{}", "tuple": "()", "set": "set()"}  # fmt: skip
LOOSE_END = re.compile(r"[\s.,;:!`*]+$")
CUT = re.compile(
    r"\s+(?:because|since|as|when|if|for|and|but|where|which|while|so|or|the|with|in|due|not)\b|\s*[(#;`]|\s*//|,\s|\.\s|\.$|\s-+\s|\s*->|\s*=>|!\s|$"
)
FLAGS = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE | doctest.IGNORE_EXCEPTION_DETAIL
SPECULATIVE = re.compile(
    r"\b(?:not|never|instead of|rather than|wrong(?:ly)?|incorrect(?:ly)?|used to|does\s?n[o']t|bug)\b[^.\n]*$",
    re.IGNORECASE,
)
OTHER_CASE = re.compile(
    r"\b(?:in|with|without|under|using|assuming|unless|if|when|while|on|before|after|until|were|had)\b(?!\s+(?:particular|general|short|other words|this case|that case))",
    re.IGNORECASE,
)
"""Words by which a sentence speaks of another situation than that in which the example is run: a locale, an option."""
CONDITION = re.compile(
    r"[\s`*]*,?\s*(?:only\s+)?(?:if|when|unless|with|without|under|in|on|assuming|provided|while|where|until)\b",
    re.IGNORECASE,
)


@dataclass
class Example:
    """A source that is run, and what is promised of it. ``before`` are lines that come first, ``line`` is of the file.

    ``raises`` names an exception where one is promised. ``form`` is "doctest", "model" for what a model expects, or "prose"
    for all others. ``confidence`` is that of the promise, where somebody states it.
    """

    source: str
    want: str
    line: int
    by: str
    form: str = "doctest"
    raises: str = ""
    before: list[str] = field(default_factory=list)
    flags: int = FLAGS
    loose: bool = False  # white space does not count, as the example itself says
    confidence: float = 0.0


def doctests(text: str, line: int, by: str) -> list[Example]:
    """The ``>>>`` blocks, in order; each has all earlier lines before it. Blocks that are badly formed are left out."""
    found: list[Example] = []
    before: list[str] = []
    for one in parsed_doctests(text):
        flags = FLAGS
        for option, on in one.options.items():
            flags = flags | option if on else flags & ~option
        loose = bool(one.options.get(doctest.NORMALIZE_WHITESPACE))
        if not any(one.options.get(option) for option in NOT_COMPARED):
            raises = (one.exc_msg or "").split(":")[0].split(".")[-1].strip() if one.exc_msg else ""
            want = one.want.rstrip("\n")
            found.append(
                Example(
                    without_comment(one.source),
                    want,
                    line + one.lineno,
                    by,
                    "doctest",
                    raises,
                    list(before),
                    flags,
                    loose,
                )
            )
        before.append(one.source.rstrip("\n"))
    return found


def without_comment(source: str) -> str:
    """An expression without what stands behind it, since a test goes on after it; a statement as it is."""
    source = source.rstrip("\n")
    with contextlib.suppress(SyntaxError, ValueError, MemoryError, RecursionError):
        body = ast.parse(source).body
        if len(body) == 1 and isinstance(body[0], ast.Expr):
            return ast.get_source_segment(source, body[0].value) or source
    return source


DIRECTIVE = re.compile(r"#\s*doctest:([^\n]*)")
OTHERS_FLAGS = ("NUMBER", "FLOAT_CMP", "ALLOW_UNICODE", "ALLOW_BYTES")
"""Directives of pytest and of astropy; numbers are compared in our own way, and the prefixes of strings are Python 2's."""
NOT_COMPARED = {doctest.SKIP}
"""SKIP, and every directive that nobody here knows: what it means for the result cannot be told."""


def parsed_doctests(text: str) -> list[doctest.Example]:
    """The examples; where a block is badly formed, those of the others."""
    for said in DIRECTIVE.findall(text):
        for name in re.findall(r"[+-](\w+)", said):
            if name not in doctest.OPTIONFLAGS_BY_NAME:
                flag = doctest.register_optionflag(name)
                if name not in OTHERS_FLAGS:
                    NOT_COMPARED.add(flag)
    parser = doctest.DocTestParser()
    try:
        return parser.get_examples(text)
    except ValueError:
        pass
    found, rows = [], text.split("\n")
    starts = [n for n, row in enumerate(rows) if row.lstrip().startswith(">>>") and (not n or not rows[n - 1].strip())]
    for start, end in zip(starts, [*starts[1:], len(rows)]):  # noqa: B905 (Python 3.9)
        try:
            block = parser.get_examples("\n".join(rows[start:end]))
        except ValueError:
            continue
        for one in block:
            one.lineno += start
        found += block
    return found


def in_prose(text: str, line: int, by: str, name: str, parameters: list[str]) -> list[Example]:
    """Calls of ``name`` with what they give, pairs of input and output, and "returns X for Y", outside ``>>>`` blocks.

    ``parameters`` are the names of those that must be given; pairs and phrases need to know how many.
    """
    plain = without_doctests(text)
    lines = plain.split("\n")
    found = [e for n, row in enumerate(lines) for e in calls_in(lines, n, row, line + n, by, name)]
    found += pairs(lines, line, by, name, parameters)
    if len(parameters) == 1:
        found += phrases(plain, line, by, name)
    kept: dict[tuple[str, str, str], Example] = {}
    for example in found:
        kept.setdefault((example.source, example.want, example.raises), example)
    return list(kept.values())


def without_doctests(text: str) -> str:
    """The text with the lines of its ``>>>`` blocks blanked, so that numbers of lines stay."""
    rows, inside = [], False
    for row in text.split("\n"):
        if row.lstrip().startswith(">>>"):
            inside = True
        elif not row.strip():
            inside = False
        rows.append("" if inside else row)
    return "\n".join(rows)


def calls_in(lines: list[str], n: int, row: str, number: int, by: str, name: str) -> list[Example]:
    """``name(...) -> value`` on a line."""
    found = []
    for match in re.finditer(rf"(?<![\w.]){re.escape(name)}\(", row):
        end = closing(row, match.end() - 1)
        if (
            end is None
            or SPECULATIVE.search(row[: match.start()])
            or OTHER_CASE.search(sentence(lines, n, match.start()))
        ):
            continue
        call, rest = row[match.start() : end], row[end:]
        if not given_literally(call):
            continue
        raises = RAISES.match(rest)
        if raises and raises[1]:
            if CONDITION.match(rest[raises.end() :]):
                continue
            found.append(Example(call, "", number, by, "prose", raises[1]))
            continue
        said = AFTER.match(rest) or COMMENTED.match(rest)
        value = leading_value(rest[said.end() :]) if said else ""
        if not value and said and not rest[said.end() :].strip() and n + 1 < len(lines):
            value = leading_value(lines[n + 1].strip())
        if value and not CONDITION.match(after_value(rest, value)):
            found.append(Example(call, value, number, by, "prose"))
    return found


def sentence(lines: list[str], n: int, end: int) -> str:
    """What stands before a place in its sentence, which may have begun on lines above."""
    text = lines[n][:end]
    for above in reversed(lines[max(0, n - 2) : n]):
        begins = not text.strip(" \t`*-+>#") and not above.rstrip().endswith(",")  # a line of its own
        if begins or not above.strip() or re.search(r"[.!?:]\s*$", above):
            break
        text = f"{above} {text}"
    return re.split(r"[.!?:;]\s|\b(?:e\.g|i\.e)\.,?", text)[-1]


def after_value(rest: str, value: str) -> str:
    """What follows a value on its line."""
    at = rest.find(value)
    return rest[at + len(value) :] if at >= 0 else ""


def pairs(lines: list[str], first: int, by: str, name: str, parameters: list[str]) -> list[Example]:
    """``Input: ...`` and ``Output: ...``, on one line or two (with empty lines or a fence between)."""
    found = []
    given = ""
    at = 0
    for n, row in enumerate(lines):
        if both := BOTH.search(row):
            given, wanted, at = both[1], both[2], n
        elif match := INPUT.match(row):
            given, at = match[1], n
            continue
        elif given and (match := OUTPUT.match(row)):
            wanted = match[1]
        else:
            continue
        call, value = call_of(name, given, parameters), leading_value(wanted)
        if call and value and LOOSE_END.sub("", wanted).startswith(value.rstrip(".")):
            found.append(Example(call, value, first + at, by, "prose"))
        given = ""
    return found


def call_of(name: str, given: str, parameters: list[str]) -> str:
    """A call with what stands after ``Input:``: ``a = 1, b = 2``, or one value for each parameter; "" where it does not fit."""
    call = f"{name}({LOOSE_END.sub('', given)})"
    if not given_literally(call):
        return ""
    tree: Any = ast.parse(call, mode="eval").body
    if tree.keywords:
        fits = not tree.args and {k.arg for k in tree.keywords} >= set(parameters)
    else:
        fits = len(tree.args) == len(parameters) > 0
    return call if fits else ""


def phrases(text: str, first: int, by: str, name: str) -> list[Example]:
    """ "returns 4 for 2", "returns None for an empty list"."""
    found = []
    for match in FOR.finditer(text):
        value, given = leading_value(match["value"]), match["input"]
        empty = EMPTY.match(given)
        argument = EMPTIES[empty[1].lower()] if empty else leading_value(given)
        whole = value and LOOSE_END.sub("", match["value"]) == value
        if (
            not whole
            or not argument
            or LOOSE_END.sub("", given) != (LOOSE_END.sub("", empty[0]) if empty else argument)
        ):
            continue
        row = text.count("\n", 0, match.start())
        before = sentence(text.split("\n"), row, match.start() - text.rfind("\n", 0, match.start()) - 1)
        if not SPECULATIVE.search(before) and not OTHER_CASE.search(before):
            found.append(Example(f"{name}({argument})", value, first + text.count("\n", 0, match.start()), by, "prose"))
    return found


def closing(text: str, at: int) -> int | None:
    """The place after the bracket that closes the one at ``at``; None where none does."""
    depth, quote, i = 0, "", at
    while i < len(text):
        c = text[i]
        if quote:
            if c == "\\":
                i += 1
            elif c == quote:
                quote = ""
        elif c in "\"'":
            quote = c
        elif c in "([{":
            depth += 1
        elif c in ")]}":
            depth -= 1
            if depth == 0:
                return i + 1
        i += 1
    return None


def given_literally(call: str) -> bool:
    """Whether a call's arguments are values and not names: ``f(2)``, but not ``f(x)``."""
    try:
        tree = ast.parse(call, mode="eval").body
    except (SyntaxError, ValueError, MemoryError, RecursionError):
        return False
    if not isinstance(tree, ast.Call):
        return False
    return all(value_like(a) for a in [*tree.args, *(k.value for k in tree.keywords)])


CONSTRUCTORS = {"set", "frozenset", "range", "float", "int", "list", "tuple", "dict", "bytes", "bytearray", "complex", "Decimal", "Fraction", "iter", "deque", "OrderedDict", "Counter", "date", "datetime", "timedelta", "Path"}  # fmt: skip


def value_like(node: ast.AST) -> bool:
    """Whether an expression names nothing but values and their constructors."""
    if isinstance(node, ast.Constant):
        return node.value is not Ellipsis
    if isinstance(node, ast.Name):
        return node.id in WORDS_OF_VALUES
    if isinstance(node, ast.Call):
        func = node.func
        named = func.id if isinstance(func, ast.Name) else func.attr if isinstance(func, ast.Attribute) else ""
        return named in CONSTRUCTORS and all(value_like(a) for a in [*node.args, *(k.value for k in node.keywords)])
    if isinstance(node, (ast.List, ast.Tuple, ast.Set, ast.Dict, ast.UnaryOp, ast.BinOp)):
        if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Pow):
            return False  # one can be told to compute for hours
        return all(
            value_like(c)
            for c in ast.iter_child_nodes(node)
            if not isinstance(c, (ast.expr_context, ast.operator, ast.unaryop))
        )
    return False


WORDS_OF_VALUES = {"true", "false", "null", "none", "nan", "inf", "True", "False", "None"}


def leading_value(text: str) -> str:
    """The value that a text begins with: the longest part, cut where a value can end, that reads as one; else ""."""
    text = text.strip().lstrip("`*").strip()
    if not text:
        return ""
    if text[0] in "([{":
        end = closing(text, 0)
        part = text[:end] if end else ""
        return part if part and reads(part) else ""
    if text[0] in "\"'":
        end = text.find(text[0], 1)
        return text[: end + 1] if end > 0 and reads(text[: end + 1]) else ""
    for match in CUT.finditer(text):
        part = LOOSE_END.sub("", text[: match.start()])
        if part and reads(part):
            return part
    return ""


def reads(text: str) -> bool:
    try:
        tree: Any = ast.parse(text, mode="eval").body
    except (SyntaxError, ValueError, MemoryError, RecursionError):
        return False
    return value_like(tree)
