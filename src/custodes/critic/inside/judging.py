"""Documented examples against what comes: run in order, judged by value where the text can be read, else by text."""

from __future__ import annotations

import ast
import contextlib
import doctest
import re
from dataclasses import dataclass
from typing import Any

import calls
import values
from documented import Example
from subject import settled, told

DOCTEST, PROSE, TEXT_ONLY = 0.95, 0.9, 0.6
"""Confidence of a failing example: of ``>>>``, of prose, and where the expected text is no value that can be read."""
PATIENT = 5.0  # seconds of processor time before an example is said not to end
NOT_THERE = (NameError, SyntaxError, ImportError)
CHECKER = doctest.OutputChecker()
UNCALLABLE = re.compile(r"positional argument|keyword argument|unexpected keyword|required (?:positional|keyword)")


@dataclass
class Verdict:
    """Of one example: "kept", "broken", "unclear" (nothing can be said), or why it was stopped.

    ``value`` is what the example promises, where that could be read.
    """

    example: Example
    state: str
    came: str = ""
    promised: str = ""
    confidence: float = 0.0
    line: int = 0
    asserts: tuple[str, ...] = ()
    wrong: str = ""  # why the example itself is in doubt
    note: str = ""
    value: Any = values.Unreadable
    other_sort: bool = False  # what came is of another sort than what is promised


def run_examples(examples: list[Example], names: dict[str, Any], watch: calls.Watch, file: str) -> list[Verdict]:
    """The examples of one text, in order, in a copy of the module's names. What follows one that was stopped is not run."""
    scope = {**names, "__name__": "__main__"}
    done: list[Verdict] = []
    ran = 0
    for example in examples:
        for line in example.before[ran:]:
            outcome, _ = outcome_of(line, scope, watch, file, keep=False)
            if outcome.end:
                return [*done, Verdict(example, outcome.end)]
        ran = len(example.before)
        outcome, expression = outcome_of(example.source, scope, watch, file, keep=True)
        if outcome.end == "slow":
            outcome, expression = outcome_of(example.source, scope, watch, file, keep=True, seconds=PATIENT)
        ran += 1
        done.append(judged(example, outcome, expression, scope))
        if outcome.end:
            break
    return done


def doubt_models(verdicts: list[Verdict]) -> None:
    """Lower the confidence of what a model expects: where documented examples speak and all hold, and where it is of another sort.

    Small models mistake one sequence for another, or a text for its letters, and are wrong about functions whose examples hold.
    """
    documented = {v.state for v in verdicts if v.example.form != "model"}
    held = 2 / 3 if "kept" in documented and "broken" not in documented else 1
    for v in verdicts:
        if v.example.form == "model" and v.state == "broken":
            v.confidence *= held / 2 if v.other_sort else held


def outcome_of(
    source: str, scope: dict[str, Any], watch: calls.Watch, file: str, keep: bool, seconds: float = calls.SECONDS
) -> tuple[calls.Outcome, bool]:
    """What a source does, and whether it is an expression with a value."""
    try:
        tree: Any = ast.parse(source)
        expression = keep and len(tree.body) == 1 and isinstance(tree.body[0], ast.Expr)
        if expression:
            code: Any = compile(ast.Expression(tree.body[0].value), "<example>", "eval")
        elif keep and len(tree.body) == 1:  # as the prompt does, which shows values of expressions within a statement
            code = compile(ast.Interactive(tree.body), "<example>", "single")
        else:
            code = compile(tree, "<example>", "exec")
    except (SyntaxError, ValueError, MemoryError, RecursionError) as error:
        return calls.Outcome(error=error), False
    if expression:
        return calls.attempt(lambda: settled(eval(code, scope)), watch, file, seconds), True
    return calls.attempt(lambda: exec(code, scope), watch, file, seconds), False


def judged(example: Example, outcome: calls.Outcome, expression: bool, names: dict[str, Any]) -> Verdict:
    confidence = example.confidence or (DOCTEST if example.form == "doctest" else PROSE)
    if outcome.end == "slow":
        if not (example.want or example.raises):
            return Verdict(example, "slow")
        came = f"no end within {PATIENT:g} s"
        weight = 0.45 if example.form == "model" else 0.85  # a model may ask for what takes long
        return Verdict(example, "broken", came, promised_of(example), weight * confidence, 0, (example.source,))
    if outcome.end:
        return Verdict(example, outcome.end)
    if example.raises:
        return judged_exception(example, outcome, confidence)
    if outcome.error is not None:
        return judged_error(example, outcome, confidence)
    if not example.want.strip() or values.ELSEWHERE.search(example.want):
        return Verdict(example, "kept" if not example.want.strip() else "unclear")
    if not expression:
        return judged_print(example, outcome, confidence)
    return judged_value(example, outcome, names, confidence)


def judged_exception(example: Example, outcome: calls.Outcome, confidence: float) -> Verdict:
    kinds = {k.__name__ for k in type(outcome.error).__mro__} if outcome.error is not None else set()
    if example.raises in kinds or (outcome.error is not None and example.raises in ("Error", "Exception")):
        return Verdict(example, "kept")
    if outcome.error is not None and (outcome.line == 0 or isinstance(outcome.error, NOT_THERE)):
        return Verdict(example, "unclear")
    lines = (
        "try:",
        *indented(example.source),
        f"except {example.raises}:",
        "    pass",
        "else:",
        f'    raise AssertionError("{example.raises} was promised")',
    )
    return Verdict(
        example, "broken", told(outcome), f"a raised {example.raises}", 0.9 * confidence, outcome.line, lines
    )


def judged_error(example: Example, outcome: calls.Outcome, confidence: float) -> Verdict:
    """An exception where a value was promised. One that the example itself causes says nothing of the function."""
    error = outcome.error
    if outcome.line == 0 and (isinstance(error, (*NOT_THERE, AttributeError)) or not example.want):
        return Verdict(example, "unclear")
    if not example.want and example.form != "doctest":
        return Verdict(example, "unclear")
    misfit = outcome.line == 0 and isinstance(error, TypeError) and UNCALLABLE.search(str(error))
    wrong = "it cannot be called so" if misfit else ""
    return Verdict(
        example, "broken", told(outcome), promised_of(example), confidence, outcome.line, (example.source,), wrong
    )


def judged_print(example: Example, outcome: calls.Outcome, confidence: float) -> Verdict:
    if texts_agree(example, outcome.printed):
        return Verdict(example, "kept")
    if shows_values(example.source):
        return Verdict(example, "unclear")  # no test has a prompt that shows them
    lines = (
        "printed = io.StringIO()",
        "with contextlib.redirect_stdout(printed):",
        *indented(example.source),
        f"assert printed.getvalue().strip() == {example.want.strip()!r}",
    )
    return Verdict(
        example,
        "broken",
        outcome.printed.strip()[: values.LONGEST] or "nothing is printed",
        promised_of(example),
        TEXT_ONLY,
        0,
        lines,
    )


def shows_values(source: str) -> bool:
    """Whether a statement holds expressions whose values only a prompt shows."""
    with contextlib.suppress(SyntaxError, ValueError):
        (statement,) = ast.parse(source).body
        within = [n.value for n in ast.walk(statement) if isinstance(n, ast.Expr) and n is not statement]
        return any(not isinstance(v, ast.Call) or getattr(v.func, "id", "") != "print" for v in within)
    return True


def judged_value(example: Example, outcome: calls.Outcome, names: dict[str, Any], confidence: float) -> Verdict:
    value, want, strict = outcome.value, example.want.strip(), example.form == "doctest"
    said = outcome.printed + (f"{repr_of(value)}\n" if value is not None else "")
    if strict and texts_agree(example, said, letter=True):
        return Verdict(example, "kept", value=value if value is not None else values.Unreadable)
    if not strict and (text_of(value) == want or squeezed(said) == squeezed(want)):
        return Verdict(example, "kept")
    if outcome.printed and texts_agree(example, outcome.printed):
        return Verdict(example, "kept")
    try:
        promised = values.read_value(want, names)
    except values.Unreadable:
        if strict and text_of(value) == want:
            return Verdict(example, "kept")  # a string, written without its quotes
        if strict and texts_agree(example, said):
            return Verdict(example, "kept", value=value if value is not None else values.Unreadable)
        if strict and outcome.printed and value is None and "..." not in want:
            return judged_print(example, outcome, confidence)
        if "..." in want or not strict or outcome.printed:
            return Verdict(example, "unclear")
        lines = (f"assert repr({example.source}) == {want!r}",)
        return Verdict(example, "broken", values.shown(value), want[: values.LONGEST], TEXT_ONLY, 0, lines)
    slack = values.slack_of(want)
    agree = values.same(value, promised, slack)
    if agree and strict and isinstance(value, str) and isinstance(promised, str):
        agree = value == promised or (example.loose and texts_agree(example, said))
    if agree or (value is None and outcome.printed and printed_value(outcome.printed, promised, names, slack)):
        return Verdict(example, "kept", value=promised)
    if value is None and outcome.printed:
        return Verdict(example, "unclear")
    text = values.source_of(promised) or want
    return Verdict(
        example,
        "broken",
        values.shown(value),
        values.shown(promised),
        confidence,
        0,
        equation(example.source, value, promised, text),
        value=promised,
        other_sort=not values.of_one_sort(value, promised),
    )


def equation(source: str, value: Any, promised: Any, text: str) -> tuple[str, ...]:
    """The assertion that fails."""
    if isinstance(promised, list) and isinstance(value, list):
        return (f"assert list({source}) == {text}",)
    if isinstance(promised, float) and isinstance(value, (int, float)) and not isinstance(value, bool):
        return (f"assert math.isclose({source}, {text}, rel_tol=1e-6)",)
    if promised is None or (isinstance(promised, bool) and (value is None or isinstance(value, bool))):
        return (f"assert {source} is {text}",)
    if isinstance(promised, bool):
        return (f"assert bool({source}) is {text}",)
    return (f"assert {source} == {text}",)


def promised_of(example: Example) -> str:
    return example.want.strip()[: values.LONGEST].replace("\n", " ") or (
        f"a raised {example.raises}" if example.raises else "a result"
    )


def texts_agree(example: Example, said: str, letter: bool = False) -> bool:
    """Whether the texts agree but for white space; ``letter``: but for nothing, where the example does not allow it."""
    want = example.want + "\n"
    flags = example.flags & ~doctest.NORMALIZE_WHITESPACE if letter and not example.loose else example.flags
    return CHECKER.check_output(want, said, flags) or (not letter and loosened(said) == loosened(want))


def printed_value(printed: str, promised: Any, names: dict[str, Any], slack: float) -> bool:
    with contextlib.suppress(values.Unreadable):
        return values.same(values.read_value(printed, names), promised, slack)
    return False


LITERAL = re.compile(r"""'(?:\\.|[^'\\\n])*'|"(?:\\.|[^"\\\n])*\"""")


def loosened(text: str) -> str:
    """A text without white space outside of what stands in quotes, and with one kind of them."""
    parts, end = [], 0
    for match in LITERAL.finditer(text):
        parts += [re.sub(r"\s+", "", text[end : match.start()]), "'", match[0][1:-1], "'"]
        end = match.end()
    return "".join([*parts, re.sub(r"\s+", "", text[end:])])


def squeezed(text: str) -> str:
    """A text without white space and kinds of quotes."""
    return re.sub(r"\s+", "", text).replace('"', "'").strip("'`")


def repr_of(value: Any) -> str:
    try:
        return repr(value)
    except Exception:
        return ""


def text_of(value: Any) -> str:
    try:
        return str(value).strip()
    except Exception:
        return ""


def indented(source: str) -> list[str]:
    return [f"    {line}" for line in source.split("\n")]
