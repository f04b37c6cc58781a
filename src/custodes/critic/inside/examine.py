"""Runs the functions of a file against what is promised of them, and answers with what broke, each with a test to paste.

A job: ``files``, each ``path``, ``name`` (of the module), ``alone``, ``root``, ``functions`` (``qualname``, ``line``, ``proposed``),
``seen`` (texts of tests and callers), and ``inputs`` and ``seconds`` for each function. The answer, for each file:
``problem`` and ``functions``, each ``ran``, ``reason``, ``inputs`` and ``found``. Each file is loaded in a fork, each
function examined in a fork of that.
"""

from __future__ import annotations

import ast
import gc
import inspect
import json
import os
import re
import subprocess
import sys
import typing
import warnings
from typing import Any

import calls
import documented
import inputs
import judging
import promises
import search
import units
import values
from subject import Invoker, Subject, literal_calls, written_call

LOADING = 30.0  # seconds on the clock for loading a module
CONFIRMING = 120.0
FINDINGS = 3  # of one function
SLOW = 0.55  # confidence that an input without an end is a bug


def main() -> None:
    job, reply = units.begin()
    warnings.simplefilter("ignore")
    hide_ourselves()
    answers = []
    for file in job["files"]:
        most = LOADING + sum(60 + 6 * job["seconds"] for _ in file["functions"])
        answer = units.forked(lambda file=file: examine_file(file, job), most)  # type: ignore[misc]
        answers.append(answer or {"problem": "loading it ended the interpreter, or took too long", "functions": []})
    reply(answers)


def hide_ourselves() -> None:
    """Our modules have plain names, and the reviewed code may have modules of the same names."""
    inside = f"{units.HOME}/inside"
    for name in [
        n for n, m in sys.modules.items() if str(getattr(m, "__file__", "")).startswith(inside) and n != "__main__"
    ]:
        del sys.modules[name]
    sys.path[:] = [folder for folder in sys.path if folder != inside]


def examine_file(file: Any, job: Any) -> Any:
    with open(file["path"], encoding="utf-8", newline="") as handle:
        text = handle.read()
    try:
        with units.limit(LOADING / 2, clock=LOADING, again=1.0):
            if not file["alone"]:
                own_modules_first(file["name"].split(".")[0], file["root"])
            module = calls.load(file["path"], file["name"], file["alone"], file["root"])
    except BaseException as error:
        return {"problem": f"it cannot be loaded here: {units.described(error)}", "functions": []}
    tree = ast.parse(text)
    texts = documentation(tree, text)
    gc.freeze()
    rows = []
    for function in file["functions"]:
        most = 30 + 3 * job["seconds"] + CONFIRMING
        row = units.forked(lambda function=function: examine(function, module, tree, text, texts, file, job), most)  # type: ignore[misc]
        rows.append(row or not_run(function, "it ended the interpreter, or could not be stopped"))
    return {"problem": "", "functions": rows}


def own_modules_first(top: str, root: str) -> None:
    """A package that is part of Python's library, and so is loaded already, is loaded from the reviewed files."""
    if top in sys.modules:
        for name in [n for n in sys.modules if n.split(".")[0] == top]:
            del sys.modules[name]
        sys.path.insert(0, root)


def not_run(function: Any, reason: str) -> Any:
    return {**function, "ran": False, "reason": reason, "inputs": 0, "found": []}


# ---------------------------------------------------------------- one function


def examine(function: Any, module: Any, tree: ast.Module, text: str, texts: list[Any], file: Any, job: Any) -> Any:
    """Examples first, then promises; what is found is run again elsewhere and given with a test."""
    path = function["qualname"].split(".")
    place = living(module, path)
    if place is None:
        return not_run(function, "it is not there after loading")
    body, owner = place
    node = node_at(tree, function["line"])
    if inspect.iscoroutinefunction(body) or inspect.isasyncgenfunction(body):
        return not_run(function, "it is a coroutine")
    watch = calls.Watch()
    examples = examples_of(function["qualname"], node, texts)
    known = {judging.squeezed(e.source) for group in examples for e in group}
    examples += [
        [expected(p, function["line"])] for p in function["proposed"] if judging.squeezed(p["source"]) not in known
    ]
    verdicts: list[judging.Verdict] = []
    for group in examples:
        first = judging.run_examples(group, vars(module), watch, file["path"])
        slow = any(v.came.startswith("no end") for v in first)  # it is run again anyway, before it is shown
        again = first if slow else judging.run_examples(group, vars(module), watch, file["path"])
        verdicts += [v for v, w in zip(first, again) if (v.state, v.came) == (w.state, w.came)]  # noqa: B905
    stopped = next((v.state for v in verdicts if v.state not in ("kept", "broken", "unclear", "slow")), "")
    if stopped:
        return not_run(function, f"it {stopped}" if not stopped.startswith("it ") else stopped)
    found = [finding_of(v, function, file, len([w for w in verdicts if w.state == "broken"])) for v in worst(verdicts)]
    ran = sum(v.state in ("kept", "broken") for v in verdicts)
    reason = "slow" if any(v.state == "slow" for v in verdicts) else ""
    subject = subject_of(function, body, owner, node, text, watch, file, examples, verdicts)
    more, tried, why = broken_promises(subject, function, file, job, examples, body)
    if why.startswith("it ") and not ran:
        return not_run(function, why)
    found = confirmed([*found, *more], file)[:FINDINGS]
    ran += tried
    reasons = {"slow": f"it takes more than {calls.SECONDS:g} s for an input"}
    said = reasons.get(reason, reason) or why or "no example says what it does, and no inputs can be made up"
    return {**function, "ran": ran > 0, "reason": "" if ran else said, "inputs": ran, "found": found}


def living(module: Any, path: list[str]) -> tuple[Any, Any] | None:
    """The function, and the class that it is in (None for a module's)."""
    owner: Any = module
    for part in path[:-1]:
        owner = vars(owner).get(part) if hasattr(owner, "__dict__") else None
        if owner is None:
            return None
    raw = vars(owner).get(path[-1])
    inner = getattr(raw, "__func__", None) or getattr(raw, "fget", None) or getattr(raw, "func", None) or raw
    if not callable(inner):
        return None
    return inner, None if owner is module else owner


def node_at(tree: ast.Module, line: int) -> Any:
    return next(
        n for n in ast.walk(tree) if isinstance(n, (ast.FunctionDef, ast.AsyncFunctionDef)) and n.lineno == line
    )


def subject_of(
    function: Any,
    body: Any,
    owner: Any,
    node: Any,
    text: str,
    watch: calls.Watch,
    file: Any,
    examples: Any,
    verdicts: Any,
) -> Subject | None:
    """None where it cannot be called by itself, as a method."""
    if owner is not None and not isinstance(vars(owner).get(node.name), staticmethod):
        return None
    try:
        signature = inspect.signature(body)
    except (TypeError, ValueError):
        return None
    try:
        hints = typing.get_type_hints(body)
    except Exception:
        hints = {}
    source = "\n".join(text.split("\n")[node.lineno - 1 : node.end_lineno])
    given = []
    for v in verdicts:
        if v.value is not values.Unreadable and v.example.source.strip().startswith(f"{node.name}("):
            given += [(call, v.value) for call in source_calls([v.example.source], node.name)[:1]]
    neighbours = {k: v for k, v in vars(sys.modules.get(file["name"])).items() if callable(v)} if owner is None else {}
    invoke = Invoker(body, watch, file["path"])
    doc = ast.get_docstring(node) or ""
    return Subject(
        node.name,
        doc,
        without_docstring(source, node),
        signature,
        hints,
        invoke,
        node.lineno,
        documented=given,
        neighbours=neighbours,
    )


def without_docstring(source: str, node: Any) -> str:
    """The source with the lines of its docstring blanked."""
    first = node.body[0]
    rows = source.split("\n")
    if ast.get_docstring(node) is not None:
        for n in range(first.lineno - node.lineno, (first.end_lineno or first.lineno) - node.lineno + 1):
            rows[n] = "" if n else rows[n]
    return "\n".join(rows)


def source_calls(sources: list[str], name: str) -> list[inputs.Call]:
    found = []
    for source in sources:
        try:
            found += literal_calls(ast.parse(source), name)
        except (SyntaxError, ValueError, RecursionError, MemoryError):
            continue
    return found


# ---------------------------------------------------------------- examples


def documentation(tree: ast.Module, text: str) -> list[Any]:
    """(owner's qualified name, text, its first line, who says so) for docstrings and for texts that stand by themselves."""
    found: list[Any] = []

    def visit(body: list[ast.stmt], above: str, kind: str) -> None:
        for i, node in enumerate(body):
            alone = (
                isinstance(node, ast.Expr)
                and isinstance(node.value, ast.Constant)
                and isinstance(node.value.value, str)
            )
            if alone:
                by = f"the {kind}'s docstring" if i == 0 else "a text in the file"
                found.append((above.rstrip(".") if i == 0 else "", node.value.value, node.lineno, by))  # type: ignore[attr-defined]
            elif isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
                visit(node.body[:1], f"{above}{node.name}.", "function")
            elif isinstance(node, ast.ClassDef):
                visit(node.body, f"{above}{node.name}.", "class")
            elif isinstance(node, (ast.If, ast.Try, ast.With)):
                visit(node.body, above, kind)

    visit(tree.body, "", "module")
    return found


def examples_of(qualname: str, node: Any, texts: list[Any]) -> list[list[documented.Example]]:
    """Groups of examples about a function, one for each text: its own docstring's whole, of others those that call it."""
    name = node.name
    arguments = [a.arg for a in [*node.args.posonlyargs, *node.args.args]]
    required = arguments[: len(arguments) - len(node.args.defaults)]
    method = "." in qualname
    groups = []
    for owner, text, line, by in texts:
        own = owner == qualname
        if not own and name not in text:
            continue
        said = documented.doctests(text, line, by)
        if not own:
            said = [e for e in said if calls_it(e.source, name, method)]
        if not method:
            said += documented.in_prose(text, line, by, name, required if own or not owner else [])
        if said:
            groups.append(said)
    return groups


def expected(proposed: Any, line: int) -> documented.Example:
    """What a model expects, as an example."""
    by, confidence = proposed["by"], proposed["confidence"]
    return documented.Example(proposed["source"], proposed["want"], line, by, "model", confidence=confidence)


def calls_it(source: str, name: str, method: bool) -> bool:
    try:
        tree = ast.parse(source)
    except (SyntaxError, ValueError):
        return False
    kind = "attr" if method else "id"
    return any(isinstance(n, ast.Call) and getattr(n.func, kind, "") == name for n in ast.walk(tree))


def worst(verdicts: list[judging.Verdict]) -> list[judging.Verdict]:
    """The failing example that says most, and one that is wrong itself; the same call with two results is wrong itself."""
    wants: dict[str, list[judging.Verdict]] = {}
    for v in verdicts:
        wants.setdefault(judging.squeezed(v.example.source), []).append(v)
    for same in wants.values():
        promised = {judging.squeezed(v.example.want) for v in same if v.state in ("kept", "broken")}
        if len(promised) > 1 and any(v.state == "kept" for v in same):
            for v in same:
                v.wrong = v.wrong or "the same call is promised something else elsewhere"
    broken = [v for v in verdicts if v.state == "broken"]
    sound = sorted((v for v in broken if not v.wrong), key=lambda v: (-v.confidence, len(v.example.source)))
    return sound[:1] + [v for v in broken if v.wrong][:1]


def finding_of(v: judging.Verdict, function: Any, file: Any, failing: int) -> Any:
    others = (
        f"{failing - 1} more {'example fails' if failing == 2 else 'examples fail'}"
        if failing > 1 and not v.wrong
        else ""
    )
    where = (
        f"{'example' if v.example.form == 'doctest' else 'example in prose'} in {v.example.by}, line {v.example.line}"
    )
    return {
        "kind": "wrong example" if v.wrong else "failing example",
        "promise": "example",
        "by": v.example.by if v.example.form == "model" else where,
        "line": v.example.line,
        "at": v.line,
        "call": v.example.source,
        "came": v.came,
        "promised": v.promised,
        "confidence": 0.3 if v.wrong else v.confidence,
        "note": v.wrong or others,
        "test": paste(function, file, [*needed(v.example), *v.asserts], f"line {v.example.line}"),
        "fails": failures(v.came),
    }


RAISED = re.compile(r"\b[A-Z]\w*(?:Error|Exception|Exit|Interrupt|Iteration|Warning)\b")


def failures(came: str) -> list[str]:
    """How the test may fail: "slow", by its assertion, or with an exception that is told in what came."""
    return ["slow"] if came.startswith("no end") else ["AssertionError", *RAISED.findall(came)]


def needed(example: documented.Example) -> list[str]:
    """Earlier lines of an example, without expressions that only show a value."""
    kept = []
    for source in example.before:
        try:
            body = ast.parse(source).body
        except (SyntaxError, ValueError):
            continue
        shows = (
            len(body) == 1
            and isinstance(body[0], ast.Expr)
            and not any(isinstance(n, ast.Attribute) for n in ast.walk(body[0]))
        )
        if not shows:
            kept += source.split("\n")
    return kept


def paste(function: Any, file: Any, lines: list[str], comment: str) -> str:
    """A test to paste, with the names of the module that it uses."""
    used = names_in("\n".join(lines))
    top = function["qualname"].split(".")[0]
    available = set(vars(sys.modules[file["name"]])) if file["name"] in sys.modules else {top}
    mine = sorted((used & available) - set(dir(__builtins__)) | {top} & used)
    header = [f"import {m}" for m in ("contextlib", "copy", "io", "math") if m in used and m not in mine]
    header += [f"from {file['name']} import {', '.join(mine)}"] if mine else []
    name = function["qualname"].replace(".", "_").strip("_").lower()
    body = [f"    {line}" if line else "" for line in lines]
    return "\n".join([*header, "", "", f"def test_{name}():", *body]) + "\n"


def names_in(source: str) -> set[str]:
    try:
        return {n.id for n in ast.walk(ast.parse(source)) if isinstance(n, ast.Name)}
    except (SyntaxError, ValueError):
        return set()


# ---------------------------------------------------------------- promises


def broken_promises(
    subject: Subject | None, function: Any, file: Any, job: Any, examples: Any, body: Any
) -> tuple[list[Any], int, str]:
    """Findings, how many inputs were tried, and why none were."""
    if subject is None:
        return [], 0, "it is a method, and no example calls it"
    if not subject.signature.parameters:
        return [], 0, "it takes no arguments, and no example says what it gives"
    sources = [e.source for group in examples for e in group]
    seen = source_calls([*sources, *job.get("seen", [])], subject.name)
    try:
        strategy, source = inputs.calls_like(subject.signature, subject.hints, seen)
    except inputs.NoInputs as reason:
        return [], 0, f"{reason}, and no example calls it"
    made = promises.promises_of(subject, source == "calls")
    found, tally = search.find_breaks(subject, made, strategy, job["inputs"], job["seconds"])
    if tally.reached:
        return [], 0, f"it {tally.reached}"
    if tally.tried and tally.slow >= 3 and tally.slow * 2 > tally.tried:
        return [], 0, f"it takes more than {calls.SECONDS:g} s for an input"
    rows = [row for b in found if (row := broken_row(b, subject, function, file))]
    return sorted(rows, key=lambda r: -r["confidence"]), tally.tried, ""


def broken_row(b: search.Break, subject: Subject, function: Any, file: Any) -> Any:
    call = written_call(subject.name if "." not in function["qualname"] else function["qualname"], b.call)
    if not call or not all(b.broken.lines):
        return None
    lines = [line.replace("CALL", call) for line in b.broken.lines]
    return {
        "kind": "contradiction",
        "promise": b.promise.name,
        "by": b.promise.by,
        "line": function["line"],
        "at": b.broken.line,
        "call": call,
        "came": b.broken.came,
        "promised": b.broken.promised,
        "confidence": b.broken.confidence or b.promise.confidence,
        "note": "",
        "test": paste(function, file, lines, ""),
        "fails": failures(b.broken.came),
    }


# ---------------------------------------------------------------- again


def confirmed(found: list[Any], file: Any) -> list[Any]:
    """Findings whose test fails in a fresh process too."""
    if not found:
        return []
    job = {key: file[key] for key in ("path", "name", "alone", "root")}
    tests = [{"text": f["test"], "fails": f["fails"], "seconds": judging.PATIENT} for f in found]
    path = f"/tmp/confirm-{os.getpid()}.json"
    with open(path, "w", encoding="utf-8") as handle:
        json.dump({**job, "tests": tests}, handle)
    command = [sys.executable, f"{units.HOME}/inside/confirm.py", path]
    try:
        done = subprocess.run(
            command, stdout=subprocess.PIPE, timeout=CONFIRMING, env={**os.environ, "PYTHONHASHSEED": "1"}, check=False
        )
        held = json.loads(done.stdout)
    except (subprocess.TimeoutExpired, ValueError):
        held = [False] * len(found)
    finally:
        os.unlink(path)
    return [f for f, holds in zip(found, held) if holds]  # noqa: B905 (Python 3.9)


if __name__ == "__main__":
    main()
