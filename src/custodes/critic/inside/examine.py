"""Runs the functions of files against what is promised of them, and answers with what broke, each with a test to paste.

A job has ``files``, ``seen`` (paths of tests), ``inputs`` and ``seconds`` for each function, and what functions may reach for (``allow``). A file has ``path``, ``name`` (of the
module), ``alone``, ``root``, and ``functions`` (``qualname``, ``line``, ``proposed``). ``old`` is the path of an earlier version, or "", and ``meant``
what the change is said to be. The answer, for each file: ``problem`` and ``functions``, each ``ran``, ``reason``, ``inputs`` and
``found``. Each file is loaded in a fork, each function examined in a fork of that.
"""

from __future__ import annotations

import ast
import contextlib
import gc
import os
import sys
import tempfile
import types
import warnings
from dataclasses import dataclass
from typing import Any

import calls
import differences
import documented
import finding
import gathering
import inputs
import judging
import promises
import resolving
import search
import units
from subject import Subject

LOADING = 30.0  # seconds on the clock for loading a module
NO_INSTANCE = "no instance of its class could be made"
FINDINGS = 4  # of one function that are run again


@dataclass
class Loaded:
    """A file with its living module, and that of an earlier version, if there is one."""

    file: Any
    job: Any
    text: str
    tree: ast.Module
    module: types.ModuleType
    texts: list[Any]  # its documentation
    trees: list[ast.Module]  # where calls are written out: the file itself, and tests
    old: types.ModuleType | None = None


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
    ours = [n for n, m in sys.modules.items() if str(getattr(m, "__file__", "")).startswith(inside) and n != "__main__"]
    for name in ours:
        del sys.modules[name]
    sys.path[:] = [folder for folder in sys.path if folder != inside]


def examine_file(file: Any, job: Any) -> Any:
    text = read(file["path"])
    try:
        with units.limit(LOADING / 2, clock=LOADING, again=1.0):
            if not file["alone"]:
                own_modules_first(file["name"].split(".")[0], file["root"])
            module = calls.load(file["path"], file["name"], file["alone"], file["root"])
            old = differences.load_old(file["old"], module) if file["old"] else None
    except BaseException as error:
        return {"problem": f"it cannot be loaded here: {units.described(error)}", "functions": []}
    tree = ast.parse(text)
    trees = [tree]
    for path in job["seen"]:
        with contextlib.suppress(OSError, SyntaxError, ValueError, RecursionError):
            trees.append(ast.parse(read(path)))
    loaded = Loaded(file, job, text, tree, module, gathering.documentation(tree, text), trees, old)
    gc.freeze()
    rows = []
    for function in file["functions"]:
        most = 30 + 3 * job["seconds"] + finding.CONFIRMING
        row = units.forked(lambda function=function: examine(function, loaded), most, within=True)  # type: ignore[misc]
        rows.append(row or not_run(function, "it ended the interpreter, or could not be stopped"))
    return {"problem": "", "functions": rows}


def read(path: str) -> str:
    with open(path, encoding="utf-8", newline="") as handle:
        return handle.read()


def own_modules_first(top: str, root: str) -> None:
    """A package that is part of Python's library, and so is loaded already, is loaded from the reviewed files."""
    if top in sys.modules:
        for name in [n for n in sys.modules if n.split(".")[0] == top]:
            del sys.modules[name]
        sys.path.insert(0, root)


def not_run(function: Any, reason: str) -> Any:
    return {**function, "ran": False, "reason": reason, "inputs": 0, "found": []}


# ---------------------------------------------------------------- one function


def examine(function: Any, loaded: Loaded) -> Any:
    """Examples first, then promises; what is found is run again elsewhere and given with a test."""
    found = resolving.living(loaded.module, function["qualname"])
    if found is None:
        return not_run(function, "it is not there after loading")
    node = next(
        n
        for n in ast.walk(loaded.tree)
        if getattr(n, "lineno", 0) == function["line"] and isinstance(n, (ast.FunctionDef, ast.AsyncFunctionDef))
    )
    watch = calls.Watch(loaded.job["allow"])
    if loaded.job["allow"]:
        os.chdir(tempfile.mkdtemp())  # what one function leaves, no other finds in its way
    examples = examples_for(function, node, loaded)
    verdicts = examples_tried(examples, loaded, watch)
    judging.doubt_models(verdicts)
    stopped = next((v.state for v in verdicts if v.state not in ("kept", "broken", "unclear", "slow")), "")
    if stopped:
        return not_run(function, f"it {stopped}")
    rows = [
        finding.example_row(v, function, loaded.file, len([w for w in verdicts if w.state == "broken"]))
        for v in worst(verdicts)
    ]
    ran = sum(v.state in ("kept", "broken") for v in verdicts)
    more, tried, why = promised(function, found, node, loaded, watch, examples, verdicts)
    if why.startswith("it ") and not ran and not tried:
        return not_run(function, why)
    slow = f"it takes more than {calls.SECONDS:g} s for an input" if any(v.state == "slow" for v in verdicts) else ""
    rows = finding.merged(finding.confirmed([*rows, *more][:FINDINGS], loaded.file))
    reason = slow or why or "no example says what it does, and no inputs can be made up"
    ran += tried
    return {**function, "ran": ran > 0, "reason": "" if ran else reason, "inputs": ran, "found": rows}


def examples_for(function: Any, node: Any, loaded: Loaded) -> list[list[documented.Example]]:
    """Groups of examples: documented ones, and what a model expects of inputs that are not among those."""
    groups = gathering.examples_of(function["qualname"], node, loaded.texts)
    known = {judging.loosened(e.source) for group in groups for e in group}
    proposed = [] if isinstance(node, ast.AsyncFunctionDef) else function["proposed"]
    new = [p for p in proposed if judging.loosened(p["source"]) not in known]
    return groups + [[gathering.expected(p, function["line"])] for p in new]


def examples_tried(groups: list[list[documented.Example]], loaded: Loaded, watch: calls.Watch) -> list[judging.Verdict]:
    """Verdicts that come out twice. Where there is an earlier version, what failed there too is in doubt itself."""
    verdicts: list[judging.Verdict] = []
    names, path = vars(loaded.module), loaded.file["path"]
    for group in groups:
        first = judging.run_examples(group, names, watch, path)
        slow = any(v.came.startswith("no end") for v in first)  # it is run again anyway, before it is shown
        again = first if slow else judging.run_examples(group, names, watch, path)
        same = [v for v, w in zip(first, again) if (v.state, v.came) == (w.state, w.came)]  # noqa: B905 (Python 3.9)
        if loaded.old is not None and any(v.state == "broken" for v in same):
            before = judging.run_examples(group, vars(loaded.old), watch, loaded.file["old"])
            differences.compare_verdicts(same, before)
        verdicts += same
    return verdicts


def worst(verdicts: list[judging.Verdict]) -> list[judging.Verdict]:
    """The failing example that says most, and one that is wrong itself; the same call with two results is wrong itself."""
    wants: dict[str, list[judging.Verdict]] = {}
    for v in verdicts:
        wants.setdefault(judging.loosened(v.example.source), []).append(v)
    for same in wants.values():
        wanted = {judging.loosened(v.example.want) for v in same if v.state in ("kept", "broken")}
        if len(wanted) > 1 and any(v.state == "kept" for v in same):
            for v in same:
                v.wrong = v.wrong or "the same call is promised something else elsewhere"
    broken = [v for v in verdicts if v.state == "broken"]
    sound = sorted((v for v in broken if not v.wrong), key=lambda v: (-v.confidence, len(v.example.source)))
    return sound[:1] + [v for v in broken if v.wrong][:1]


def promised(
    function: Any, found: resolving.Found, node: Any, loaded: Loaded, watch: calls.Watch, examples: Any, verdicts: Any
) -> tuple[list[Any], int, str]:
    """Findings, how many inputs were tried, and why none were."""
    if why := resolving.why_not(found, node):
        return [], 0, why
    qualname = function["qualname"]
    subject = resolving.subject_of(found, qualname, node, loaded.text, loaded.tree, watch, loaded.file, verdicts)
    if subject is None:
        return [], 0, "its signature cannot be told"
    if not subject.signature.parameters and not subject.method:
        return [], 0, "it takes no arguments, and no example says what it gives"
    try:
        sources = [e.source for group in examples for e in group]
        strategy, from_calls = resolving.inputs_for(subject, found, qualname, sources, loaded.trees)
    except inputs.NoInputs as reason:
        return [], 0, f"{reason}, and no example calls it"
    made = promises.promises_of(subject, from_calls) + changed(subject, qualname, loaded)
    breaks, tally = search.find_breaks(subject, made, strategy, loaded.job["inputs"], loaded.job["seconds"])
    if tally.reached:
        return [], 0, f"it {tally.reached}"
    if tally.slow >= 3 and tally.slow * 2 > tally.tried:
        return [], 0, f"it takes more than {calls.SECONDS:g} s for an input"
    rows = [row for b in breaks if (row := finding.promise_row(b, subject, function, loaded.file))]
    return (
        sorted(rows, key=lambda r: -r["confidence"]),
        tally.tried,
        "" if tally.tried else NO_INSTANCE if tally.refused else "no input could be tried in the time",
    )


def changed(subject: Subject, qualname: str, loaded: Loaded) -> list[Any]:
    """What an earlier version promises, where there is one that is called in the same way."""
    before = resolving.living(loaded.old, qualname) if loaded.old is not None else None
    if before is None or subject.method:
        return []
    return list(differences.as_before(subject, before.body, loaded.file["meant"], loaded.file["old"]))


if __name__ == "__main__":
    main()
