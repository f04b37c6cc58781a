"""Findings as rows, each with a test to paste, and run again before they are believed."""

from __future__ import annotations

import ast
import json
import keyword
import os
import re
import subprocess
import sys
from typing import Any

import calls
import documented
import judging
import search
import units
from subject import Subject

CONFIRMING = 120.0  # seconds on the clock
TOLD = 0.5  # confidence from which a further finding is told in the first one's note


def example_row(v: judging.Verdict, function: Any, file: Any, failing: int) -> Any:
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
        "confidence": 0.5 if v.wrong else v.confidence,
        "note": v.wrong or "; ".join(part for part in (v.note, others) if part),
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
    header = [f"import {m}" for m in ("asyncio", "contextlib", "copy", "io", "math") if m in used and m not in mine]
    header += imports(file["import"], mine) if mine else []
    name = "_".join(part for part in re.split(r"[._]+", function["qualname"]) if part).lower()
    body = [f"    {line}" if line else "" for line in lines]
    return "\n".join([*header, "", "", f"def test_{name}():", *body]) + "\n"


def imports(module: str, names: list[str]) -> list[str]:
    """The names from the module; one whose own name no import statement can say, as ``my-tool`` or ``class``, by importlib."""
    if all(part.isidentifier() and not keyword.iskeyword(part) for part in module.split(".")):
        return [f"from {module} import {', '.join(names)}"]
    return ["import importlib", "", *(f"{name} = importlib.import_module({module!r}).{name}" for name in names)]


def names_in(source: str) -> set[str]:
    try:
        return {n.id for n in ast.walk(ast.parse(source)) if isinstance(n, ast.Name)}
    except (SyntaxError, ValueError):
        return set()


def promise_row(b: search.Break, subject: Subject, function: Any, file: Any) -> Any:
    call = subject.written(b.call)
    if not call or not all(b.broken.lines):
        return None
    lines = [line.replace("CALL", call) for line in b.broken.lines]
    return {
        "kind": "difference" if b.promise.name == "as before" else "contradiction",
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


def confirmed(found: list[Any], file: Any) -> list[Any]:
    """Findings whose test fails in a fresh process too."""
    if not found:
        return []
    job = {key: file[key] for key in ("path", "name", "alone", "root")}
    tests = [{"text": f["test"], "seconds": judging.PATIENT if "slow" in f["fails"] else calls.SECONDS} for f in found]
    path = f"/tmp/confirm-{os.getpid()}.json"
    with open(path, "w", encoding="utf-8") as handle:
        json.dump({**job, "tests": tests}, handle)
    command = [sys.executable, f"{units.HOME}/inside/confirm.py", path]
    try:
        done = subprocess.run(
            command, stdout=subprocess.PIPE, timeout=CONFIRMING, env={**os.environ, "PYTHONHASHSEED": "1"}, check=False
        )
        came = json.loads(done.stdout)
    except (subprocess.TimeoutExpired, ValueError):
        came = [""] * len(found)
    finally:
        os.unlink(path)
    return [f for f, said in zip(found, came) if said.split(":")[0] in f["fails"]]  # noqa: B905 (Python 3.9)


def merged(rows: list[Any]) -> list[Any]:
    """One finding for each kind of doubt: the code's, which tells of the others in a note, and an example's own."""
    rows = sorted(rows, key=lambda row: -row["confidence"])
    wrong = [row for row in rows if row["kind"] == "wrong example"]
    sound = [row for row in rows if row["kind"] != "wrong example"]
    for row in sound[1:]:
        if row["confidence"] >= TOLD and row["promise"] != "example":
            also = f"also {' '.join(row['call'].split())} gives {row['came']}, against {row['by']}"
            sound[0]["note"] = "; ".join(part for part in (sound[0]["note"], also) if part)
    return sound[:1] + wrong[:1]
