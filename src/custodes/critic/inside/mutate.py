"""A warm server: the package and its tests are loaded once, and every tampered function is tried in a fork of that.

The body of the living function is exchanged, so nothing is imported again; the exchange holds only while a test runs,
not while pytest prepares it.

A job: ``import`` (modules to load), ``root``, ``functions``: each ``path``, ``line``, ``qualname``, ``original``,
``units`` and ``codes``. The answer, for each function: ``problem`` ("" or why nothing was tried) and ``results``, one
[outcome, unit, message] for each code. Outcomes: killed (a test failed), timeout, died (the process ended), survived.
"""

from __future__ import annotations
import __future__

import ast
import contextlib
import gc
import os
import time
import types
from collections.abc import Iterator
from typing import Any

import units

FUTURE = 0
for _name in __future__.all_feature_names:
    FUTURE |= getattr(__future__, _name).compiler_flag
LEAST = 0.3  # seconds of processor time for a test that took less
TIMES = 8  # how much longer than before a test may take
WAIT = 5.0  # the least seconds on the clock: a test that waits for what never comes uses no processor
AGAIN = 1.0  # seconds after which it is stopped once more

Living = dict[tuple[str, int, str], list[types.FunctionType]]
Limits = dict[str, tuple[float, float]]
"""Of a test: seconds of processor time, and on the clock."""


class Unpatchable(Exception):  # noqa: N818 (nothing is wrong with it)
    """The function cannot be exchanged."""


def main() -> None:
    job, reply = units.begin()
    wanted = {unit for function in job["functions"] for unit in function["units"]}
    files = sorted({unit.split("::")[0] for unit in wanted if not unit.startswith("doctest::")})
    modules = sorted({unit.split("::")[1] for unit in wanted if unit.startswith("doctest::")})
    answers: list[Any] = []

    def serve(collected: list[units.Collected]) -> None:
        tests: list[units.Unit] = [*collected, *units.documented(modules)]
        by_id = {test.id: test for test in tests if test.id in wanted}
        alive = living(job)
        gc.collect()
        gc.freeze()  # so that a fork copies little
        gc.disable()
        answers.extend(try_all(function, job, by_id, alive) for function in job["functions"])

    if files:
        units.with_tests([f"{units.HOME}/src/{path}" for path in files], serve)
    else:
        serve([])
    reply(answers)


def living(job: Any) -> Living:
    """The functions of the job that exist, by file, first line and name."""
    wanted = {(os.path.join(job["root"], f["path"]), f["line"], f["qualname"].split(".")[-1]) for f in job["functions"]}
    found: Living = {}
    for thing in gc.get_objects():
        if type(thing) is types.FunctionType:
            code = thing.__code__
            key = (code.co_filename, code.co_firstlineno, code.co_name)
            if key in wanted:
                found.setdefault(key, []).append(thing)
    return found


def try_all(function: Any, job: Any, tests: dict[str, units.Unit], alive: Living) -> Any:
    """First the function as it is, through the same exchange: its tests must pass; then every code."""
    path = os.path.join(job["root"], function["path"])
    bodies = alive.get((path, function["line"], function["qualname"].split(".")[-1]), [])
    chosen = [tests[unit] for unit in function["units"] if unit in tests]
    if not bodies or not chosen:
        return {"problem": "the function is not there" if not bodies else "its tests are not there", "results": []}
    known = dict.fromkeys((test.id for test in chosen), (4.0, units.patience(4.0)))
    times = units.forked(lambda: unharmed(function, bodies, chosen, known), clock(known))
    if not times or isinstance(times, str):
        return {"problem": times or "its tests do not pass here", "results": []}
    chosen = sorted((t for t in chosen if t.id in times), key=lambda t: times[t.id])
    most = {unit: (max(LEAST, TIMES * used), WAIT + 2 * TIMES * took) for unit, (used, took) in times.items()}
    results = []
    for code in function["codes"]:
        outcome = units.forked(lambda code=code: tried(code, function, bodies, chosen, most), clock(most))  # type: ignore[misc]
        results.append(outcome or ["died", "", ""])
    return {"problem": "", "results": results}


def clock(most: Limits) -> float:
    """Seconds on the clock for all tests together."""
    return 10 + units.patience(sum(used for used, _ in most.values()))


def unharmed(function: Any, bodies: list[types.FunctionType], tests: list[Any], most: Limits) -> Any:
    """Seconds of each test that passes with the function's own code put in; or why it cannot be."""
    try:
        swap = exchange(function["original"], function, bodies)
    except Unpatchable as reason:
        return str(reason)
    times = {}
    for test in tests:
        began = time.process_time(), time.monotonic()
        if not attempt(test, swap, most[test.id])[1]:
            times[test.id] = (time.process_time() - began[0], time.monotonic() - began[1])
    return times


def tried(code: str, function: Any, bodies: list[types.FunctionType], tests: list[Any], most: Limits) -> Any:
    try:
        swap = exchange(code, function, bodies)
    except Unpatchable as reason:
        return ["unpatchable", "", str(reason)]
    for test in tests:
        outcome, message = attempt(test, swap, most[test.id])
        if message:
            return [outcome, test.id, message]
    return ["survived", "", ""]


def attempt(test: Any, swap: Any, most: tuple[float, float]) -> tuple[str, str]:
    """Outcome and message of one test while the exchange holds; the message is "" when it passes."""
    units.Collected.around = staticmethod(swap)
    held = swap() if isinstance(test, units.Documented) else contextlib.nullcontext()
    try:
        with units.limit(most[0], clock=most[1], again=AGAIN), held:
            return "killed", test.run()
    except units.TooSlow:
        return "timeout", "it does not end in time"
    except BaseException as error:
        return "killed", units.described(error)


def exchange(code: str, function: Any, bodies: list[types.FunctionType]) -> Any:
    """A context in which the living functions run ``code``. Raises Unpatchable."""
    made = [compiled(code, function["qualname"], body) for body in bodies]
    old = [(body.__code__, body.__defaults__, body.__kwdefaults__) for body in bodies]
    defaults = [new_defaults(code, function["original"], body) for body in bodies]

    @contextlib.contextmanager
    def swap() -> Iterator[None]:
        for body, new, (positional, named) in zip(bodies, made, defaults):  # noqa: B905 (Python 3.9)
            body.__code__, body.__defaults__, body.__kwdefaults__ = new, positional, named
        try:
            yield
        finally:
            for body, (was, positional, named) in zip(bodies, old):  # noqa: B905 (Python 3.9)
                body.__code__, body.__defaults__, body.__kwdefaults__ = was, positional, named

    return swap


def compiled(code: str, qualname: str, body: types.FunctionType) -> types.CodeType:
    """The function's code object, made as if its class stood around it."""
    tree = ast.parse(code)
    node: Any = tree.body[0]
    node.decorator_list = []
    for name in reversed(qualname.split(".")[:-1]):
        outer = ast.parse(f"class {name}: pass").body[0]
        outer.body = [node]  # type: ignore[attr-defined]
        node = outer
    tree.body = [node]
    old = body.__code__
    ast.fix_missing_locations(tree)
    whole = compile(tree, old.co_filename, "exec", flags=old.co_flags & FUTURE, dont_inherit=True)
    for part in qualname.split("."):
        inside = [c for c in whole.co_consts if isinstance(c, types.CodeType) and c.co_name == part]
        if not inside:
            raise Unpatchable(f"no code of {part}")
        whole = inside[0]
    if whole.co_freevars != old.co_freevars:
        raise Unpatchable("it closes over other names")
    return whole


def new_defaults(code: str, original: str, body: types.FunctionType) -> tuple[Any, Any]:
    """Defaults as the code gives them; those that it leaves as they were are not evaluated again."""
    new, old = (ast.parse(text).body[0].args for text in (code, original))  # type: ignore[attr-defined]
    positional, named = list(body.__defaults__ or ()), dict(body.__kwdefaults__ or {})
    for i, (after, before) in enumerate(zip(new.defaults, old.defaults)):  # noqa: B905 (Python 3.9)
        if ast.dump(after) != ast.dump(before) and i < len(positional):
            positional[i] = value_of(after, body)
    for parameter, after, before in zip(new.kwonlyargs, new.kw_defaults, old.kw_defaults):  # noqa: B905 (Python 3.9)
        if after is not None and before is not None and ast.dump(after) != ast.dump(before):
            named[parameter.arg] = value_of(after, body)
    return tuple(positional) or body.__defaults__, named or body.__kwdefaults__


def value_of(node: ast.expr, body: types.FunctionType) -> Any:
    try:
        return eval(compile(ast.Expression(node), "default", "eval", dont_inherit=True), body.__globals__)
    except Exception as error:
        raise Unpatchable(f"its default cannot be computed ({type(error).__name__})") from None


if __name__ == "__main__":
    main()
