"""Operators on statements: loops, branches, guards, returns, exceptions, defaults."""

from __future__ import annotations

from collections.abc import Iterator

import libcst as cst

from custodes.critic.tamper.scene import Scene, Splice, operator, walk

EXCEPTIONS = {
    "KeyError": "IndexError", "IndexError": "KeyError", "ValueError": "TypeError", "TypeError": "ValueError",
    "AttributeError": "KeyError", "StopIteration": "IndexError", "ZeroDivisionError": "ValueError",
    "OSError": "ValueError", "FileNotFoundError": "PermissionError", "NotImplementedError": "ValueError",
    "RuntimeError": "ValueError", "ImportError": "AttributeError", "OverflowError": "ValueError",
    "Exception": "ValueError",
}  # fmt: skip
DEFAULTS = {"True": "False", "False": "True", "None": "0", "0": "1", "1": "0", "''": "' '", '""': '" "'}
STARTS = {"0": "1", "1": "0", "True": "False", "False": "True", "[]": "[0]", "''": "' '", '""': '" "', "-1": "0"}


@operator(cst.SimpleStatementLine)
def dropped_call(node: cst.SimpleStatementLine, scene: Scene) -> Iterator[Splice]:
    """A call that is made for its effect is gone."""
    only = node.body[0] if len(node.body) == 1 else None
    if isinstance(only, cst.Expr) and isinstance(only.value, cst.Call):
        wrong = "is missing, so its effect never happens and the state below is wrong."
        yield from scene.drop(node, f"The call {scene.short(only)} {wrong}")


@operator(cst.SimpleStatementLine)
def dropped_update(node: cst.SimpleStatementLine, scene: Scene) -> Iterator[Splice]:
    """A variable is not updated."""
    only = node.body[0] if len(node.body) == 1 else None
    if isinstance(only, cst.AugAssign):
        why = f"{scene.short(only.target)} is never updated here: {scene.short(only)} is missing."
        yield from scene.drop(node, why)
    elif isinstance(only, cst.Assign) and len(only.targets) == 1:
        target = only.targets[0].target
        again = isinstance(target, cst.Name) and target.value in scene.bound_before(node)
        if again or isinstance(target, cst.Subscript | cst.Attribute):
            wrong = f"is missing, so {scene.short(target)} keeps its old value."
            yield from scene.drop(node, f"The assignment {scene.short(only)} {wrong}")


@operator(cst.If)
def dropped_guard(node: cst.If, scene: Scene) -> Iterator[Splice]:
    """A special case that returns, raises or skips early is not handled."""
    last = _last_of(node.body)
    leaves = isinstance(last, cst.Return | cst.Raise | cst.Continue | cst.Break)
    if leaves and node.orelse is None and not _is_elif(node, scene):
        wrong = "is not handled any more and falls through to the code below."
        yield from scene.drop(node, f"The case {scene.short(node.test)} {wrong}")


@operator(cst.If)
def dropped_else(node: cst.If, scene: Scene) -> Iterator[Splice]:
    """The other branch is gone."""
    other = node.orelse
    if isinstance(other, cst.Else) and isinstance(node.body, cst.IndentedBlock):
        start, end = scene.span(other)
        first, after = scene.code.rfind("\n", 0, start) + 1, scene.code.find("\n", end - 1)
        why = f"Nothing is done when {scene.short(node.test)} does not hold: the `else` branch is missing."
        yield first, after + 1 if after >= 0 else len(scene.code), "", why


@operator(cst.If)
def elif_to_if(node: cst.If, scene: Scene) -> Iterator[Splice]:
    """`elif` becomes `if`, so that two branches can run."""
    if _is_elif(node, scene) and (at := scene.code.rfind("elif", 0, scene.span(node)[0] + 4)) >= 0:
        wrong = "is tested even when an earlier branch has run, so two branches can run for one case."
        yield at, at + 4, "if", f"`if` instead of `elif`: {scene.short(node.test)} {wrong}"


@operator(cst.For, cst.While)
def loop_ends_early(node: cst.For | cst.While, scene: Scene) -> Iterator[Splice]:
    """A loop leaves after its first round."""
    leaves = isinstance(_last_of(node.body), cst.Return | cst.Break | cst.Raise)
    if isinstance(node.body, cst.IndentedBlock) and node.body.body and not leaves:
        what = f"over {scene.short(node.iter)}" if isinstance(node, cst.For) else f"while {scene.short(node.test)}"
        why = f"The loop {what} leaves after its first round, so everything after the first is not handled."
        yield scene.insert_after(node.body.body[-1], "break", why)


@operator(cst.For)
def return_in_loop(node: cst.For, scene: Scene) -> Iterator[Splice]:
    """The return that belongs behind a loop stands in it."""
    block = scene.parent(node)
    if not isinstance(block, cst.IndentedBlock) or not isinstance(node.body, cst.IndentedBlock) or node.orelse:
        return
    after = next(iter(block.body[list(block.body).index(node) + 1 :]), None)
    if isinstance(after, cst.SimpleStatementLine) and isinstance(after.body[0], cst.Return) and after.body[0].value:
        returned = scene.text(after.body[0])
        if "\n" not in returned:
            why = f"`{returned}` stands inside the loop, so the function returns after the first element."
            yield scene.insert_after(node.body.body[-1], returned, why)


@operator(cst.Break, cst.Continue)
def break_continue(node: cst.Break | cst.Continue, scene: Scene) -> Iterator[Splice]:
    """`break` for `continue` and the other way round."""
    if isinstance(node, cst.Break):
        why = "The loop goes on here although it should end: `continue` instead of `break`."
        yield scene.swap(node, "continue", why)
    else:
        why = "The loop ends here although only this element should be skipped: `break` instead of `continue`."
        yield scene.swap(node, "break", why)


@operator(cst.SimpleStatementLine)
def dropped_jump(node: cst.SimpleStatementLine, scene: Scene) -> Iterator[Splice]:
    """A `break` or `continue` is gone."""
    if isinstance(node.body[0], cst.Break):
        yield from scene.drop(node, "A `break` is missing here, so the loop runs on.")
    elif isinstance(node.body[0], cst.Continue):
        why = "A `continue` is missing here, so the rest of the loop's body runs for this element too."
        yield from scene.drop(node, why)


@operator(cst.Return)
def dropped_result(node: cst.Return, scene: Scene) -> Iterator[Splice]:
    """Nothing is returned, or a fixed value."""
    value = scene.text(node.value) if node.value is not None else "None"
    if value in ("None", "self") or node.value is None:
        return
    if value in ("True", "False"):
        why = "The wrong answer is returned: `$new` where it should be `$old`."
        yield from scene.partner(node.value, {"True": "False", "False": "True"}, why)
    else:
        why = f"The result {scene.short(node.value)} is computed but not returned: callers get None."
        yield scene.swap(node, "return", why)


@operator(cst.Return)
def wrong_result(node: cst.Return, scene: Scene) -> Iterator[Splice]:
    """Another variable is returned."""
    if not isinstance(node.value, cst.Name):
        return
    name, bound = node.value.value, scene.bound_before(node.value)
    others = [other for other in bound if other != name]
    if name in bound and others:
        other = others[len(name) % len(others)]
        why = f"`{other}` is returned instead of `{name}`, so callers do not get what was computed."
        yield scene.swap(node.value, other, why)


@operator(cst.Param)
def changed_default(node: cst.Param, scene: Scene) -> Iterator[Splice]:
    """A parameter's default is another."""
    if node.default is None:
        return
    old = scene.text(node.default)
    if other := DEFAULTS.get(old, str(int(old) + 1) if old.isdigit() else ""):
        wrong = f"is `{other}` and should be `{old}`: callers who leave it out get the wrong behaviour."
        yield scene.swap(node.default, other, f"The default of `{node.name.value}` {wrong}")


@operator(cst.Param)
def mutable_default(node: cst.Param, scene: Scene) -> Iterator[Splice]:
    """A default list or dict that all calls share."""
    if node.default is None or scene.text(node.default) != "None":
        return
    name, default = node.name.value, scene.span(node.default)
    for found in walk(scene.function.body):
        if isinstance(found, cst.If) and scene.text(found.test) == f"{name} is None" and len(found.body.body) == 1:
            line = found.body.body[0]
            made = line.body[0] if isinstance(line, cst.SimpleStatementLine) else line
            fresh = scene.text(made.value) if isinstance(made, cst.Assign) else ""
            if fresh in ("[]", "{}", "set()", "dict()", "list()") and found.orelse is None:
                wrong = "that all calls share, so what one call puts into it is still there in the next."
                for start, end, _, why in scene.drop(found, f"The default of `{name}` is one `{fresh}` {wrong}"):
                    yield default[0], end, fresh + scene.code[default[1] : start], why


@operator(cst.ExceptHandler)
def wrong_exception(node: cst.ExceptHandler, scene: Scene) -> Iterator[Splice]:
    """The wrong exception is caught."""
    if isinstance(node.type, cst.Name):
        why = "`$new` is caught where `$old` is raised, so the error gets out instead of being handled."
        yield from scene.partner(node.type, EXCEPTIONS, why)


@operator(cst.Raise)
def wrong_raise(node: cst.Raise, scene: Scene) -> Iterator[Splice]:
    """The wrong exception is raised."""
    raised = node.exc.func if isinstance(node.exc, cst.Call) else node.exc
    if isinstance(raised, cst.Name):
        why = "`$new` is raised where callers expect `$old`, so their handling of it does not work."
        yield from scene.partner(raised, EXCEPTIONS, why)


@operator(cst.Assign)
def wrong_start(node: cst.Assign, scene: Scene) -> Iterator[Splice]:
    """A variable starts with another value."""
    target = node.targets[0].target
    if len(node.targets) == 1 and isinstance(target, cst.Name | cst.Attribute):
        wrong = "starts as `$new` instead of `$old`, so everything built on it is off from the start."
        yield from scene.partner(node.value, STARTS, f"{scene.short(target)} {wrong}")


@operator(cst.Assign)
def shared_assignment(node: cst.Assign, scene: Scene) -> Iterator[Splice]:
    """A value is added to itself instead of assigned: `=` becomes `+=`."""
    target = node.targets[0].target
    if len(node.targets) == 1 and isinstance(target, cst.Name) and target.value in scene.bound_before(node):
        start, end = scene.span(target)[1], scene.span(node.value)[0] - len(node.value.lpar)
        if scene.code[start:end].strip() == "=":
            why = f"`{target.value}` is added to instead of set: what it held before stays in it."
            yield start, end, " += ", why


def _last_of(block: cst.BaseSuite) -> cst.BaseSmallStatement | None:
    """The last small statement of a block; None where the block ends with a compound one."""
    last = block.body[-1] if block.body else None
    return last.body[-1] if isinstance(last, cst.SimpleStatementLine) else None


def _is_elif(node: cst.If, scene: Scene) -> bool:
    parent = scene.parent(node)
    return isinstance(parent, cst.If) and parent.orelse is node
