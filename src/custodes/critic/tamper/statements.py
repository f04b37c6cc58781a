"""Operators on statements: loops, branches, guards, returns, exceptions, defaults."""

from __future__ import annotations

from collections.abc import Iterator

import libcst as cst

from custodes.critic.tamper.scene import Scene, Splice, operator, walk

EXCEPTIONS = {
    "KeyError": "IndexError",
    "IndexError": "KeyError",
    "ValueError": "TypeError",
    "TypeError": "ValueError",
    "AttributeError": "KeyError",
    "StopIteration": "IndexError",
    "ZeroDivisionError": "ValueError",
    "OSError": "ValueError",
    "FileNotFoundError": "PermissionError",
    "NotImplementedError": "ValueError",
    "RuntimeError": "ValueError",
    "ImportError": "AttributeError",
    "OverflowError": "ValueError",
    "Exception": "ValueError",
}


@operator(cst.SimpleStatementLine)
def dropped_call(node: cst.SimpleStatementLine, scene: Scene) -> Iterator[Splice]:
    """A call that is made for its effect is gone."""
    only = node.body[0] if len(node.body) == 1 else None
    if isinstance(only, cst.Expr) and isinstance(only.value, cst.Call):
        yield from scene.drop(
            node, f"The call {scene.short(only)} is missing, so its effect never happens and the state below is wrong."
        )


@operator(cst.SimpleStatementLine)
def dropped_update(node: cst.SimpleStatementLine, scene: Scene) -> Iterator[Splice]:
    """A variable is not updated."""
    only = node.body[0] if len(node.body) == 1 else None
    if isinstance(only, cst.AugAssign):
        yield from scene.drop(
            node, f"{scene.short(only.target)} is never updated here: {scene.short(only)} is missing."
        )
    elif isinstance(only, cst.Assign) and len(only.targets) == 1:
        target = only.targets[0].target
        again = isinstance(target, cst.Name) and target.value in scene.bound_before(node)
        if again or isinstance(target, cst.Subscript | cst.Attribute):
            yield from scene.drop(
                node, f"The assignment {scene.short(only)} is missing, so {scene.short(target)} keeps its old value."
            )


@operator(cst.If)
def dropped_guard(node: cst.If, scene: Scene) -> Iterator[Splice]:
    """A special case that returns, raises or skips early is not handled."""
    last = node.body.body[-1] if node.body.body else None
    leaves = isinstance(last, cst.SimpleStatementLine) and isinstance(
        last.body[-1], cst.Return | cst.Raise | cst.Continue | cst.Break
    )
    if leaves and node.orelse is None and not _is_elif(node, scene):
        yield from scene.drop(
            node, f"The case {scene.short(node.test)} is not handled any more and falls through to the code below."
        )


@operator(cst.If)
def dropped_else(node: cst.If, scene: Scene) -> Iterator[Splice]:
    """The other branch is gone."""
    other = node.orelse
    if isinstance(other, cst.Else) and isinstance(node.body, cst.IndentedBlock):
        start, end = scene.span(other)
        first = scene.code.rfind("\n", 0, start) + 1
        after = scene.code.find("\n", end - 1)
        yield (
            first,
            after + 1 if after >= 0 else len(scene.code),
            "",
            f"Nothing is done when {scene.short(node.test)} does not hold: the `else` branch is missing.",
        )


@operator(cst.If)
def elif_to_if(node: cst.If, scene: Scene) -> Iterator[Splice]:
    """`elif` becomes `if`, so that two branches can run."""
    if _is_elif(node, scene):
        start = scene.span(node)[0]
        at = scene.code.rfind("elif", 0, start + 4)
        if at >= 0:
            yield (
                at,
                at + 4,
                "if",
                f"`if` instead of `elif`: {scene.short(node.test)} is tested even when an earlier branch has run, so two "
                "branches can run for one case.",
            )


@operator(cst.For, cst.While)
def loop_ends_early(node: cst.For | cst.While, scene: Scene) -> Iterator[Splice]:
    """A loop leaves after its first round."""
    body = node.body.body
    last = body[-1] if body else None
    leaves = isinstance(last, cst.SimpleStatementLine) and isinstance(last.body[-1], cst.Return | cst.Break | cst.Raise)
    if isinstance(node.body, cst.IndentedBlock) and last is not None and not leaves:
        what = f"over {scene.short(node.iter)}" if isinstance(node, cst.For) else f"while {scene.short(node.test)}"
        yield scene.insert_after(
            last,
            "break",
            f"The loop {what} leaves after its first round, so everything after the first is not handled.",
        )


@operator(cst.For)
def return_in_loop(node: cst.For, scene: Scene) -> Iterator[Splice]:
    """The return that belongs behind a loop stands in it."""
    block = scene.parent(node)
    if not isinstance(block, cst.IndentedBlock) or not isinstance(node.body, cst.IndentedBlock) or node.orelse:
        return
    at = list(block.body).index(node)
    after = block.body[at + 1] if at + 1 < len(block.body) else None
    last = node.body.body[-1]
    if isinstance(after, cst.SimpleStatementLine) and isinstance(after.body[0], cst.Return) and after.body[0].value:
        returned = scene.text(after.body[0])
        if "\n" not in returned:
            yield scene.insert_after(
                last,
                returned,
                f"`{returned}` stands inside the loop, so the function returns after the first element.",
            )


@operator(cst.Break, cst.Continue)
def break_continue(node: cst.Break | cst.Continue, scene: Scene) -> Iterator[Splice]:
    """`break` for `continue` and the other way round."""
    is_break = isinstance(node, cst.Break)
    yield scene.swap(
        node,
        "continue" if is_break else "break",
        "The loop goes on here although it should end: `continue` instead of `break`."
        if is_break
        else "The loop ends here although only this element should be skipped: `break` instead of `continue`.",
    )


@operator(cst.SimpleStatementLine)
def dropped_jump(node: cst.SimpleStatementLine, scene: Scene) -> Iterator[Splice]:
    """A `break` or `continue` is gone."""
    if isinstance(node.body[0], cst.Break | cst.Continue):
        word = "break" if isinstance(node.body[0], cst.Break) else "continue"
        effect = "the loop runs on" if word == "break" else "the rest of the loop's body runs for this element too"
        yield from scene.drop(node, f"A `{word}` is missing here, so {effect}.")


@operator(cst.Return)
def dropped_result(node: cst.Return, scene: Scene) -> Iterator[Splice]:
    """Nothing is returned, or a fixed value."""
    if node.value is None or scene.text(node.value) in ("None", "self"):
        return
    value = scene.text(node.value)
    if value in ("True", "False"):
        other = "False" if value == "True" else "True"
        yield scene.swap(node.value, other, f"The wrong answer is returned: `{other}` where it should be `{value}`.")
    else:
        start, end = scene.span(node)
        yield (
            start,
            end,
            "return",
            f"The result {scene.short(node.value)} is computed but not returned: callers get None.",
        )


@operator(cst.Return)
def wrong_result(node: cst.Return, scene: Scene) -> Iterator[Splice]:
    """Another variable is returned."""
    if isinstance(node.value, cst.Name):
        names = [n for n in scene.bound_before(node.value) if n != node.value.value]
        if node.value.value in scene.bound_before(node.value) and names:
            other = names[len(node.value.value) % len(names)]
            yield scene.swap(
                node.value,
                other,
                f"`{other}` is returned instead of `{node.value.value}`, so callers do not get what was computed.",
            )


@operator(cst.Param)
def changed_default(node: cst.Param, scene: Scene) -> Iterator[Splice]:
    """A parameter's default is another."""
    if node.default is None:
        return
    old = scene.text(node.default)
    simple = {"True": "False", "False": "True", "None": "0", "0": "1", "1": "0", "''": "' '", '""': '" "'}
    other = simple.get(old, str(int(old) + 1) if old.isdigit() else "")
    if other:
        yield scene.swap(
            node.default,
            other,
            f"The default of `{node.name.value}` is `{other}` and should be `{old}`: callers who leave it out get the wrong "
            "behaviour.",
        )


@operator(cst.Param)
def mutable_default(node: cst.Param, scene: Scene) -> Iterator[Splice]:
    """A default list or dict that all calls share."""
    if node.default is None or scene.text(node.default) != "None":
        return
    name = node.name.value
    for found in walk(scene.function.body):
        if isinstance(found, cst.If) and scene.text(found.test) == f"{name} is None" and len(found.body.body) == 1:
            line = found.body.body[0]
            made = line.body[0] if isinstance(line, cst.SimpleStatementLine) else line
            fresh = scene.text(made.value) if isinstance(made, cst.Assign) else ""
            if fresh in ("[]", "{}", "set()", "dict()", "list()") and found.orelse is None:
                for start, end, _, _ in scene.drop(found, ""):
                    default = scene.span(node.default)
                    between = scene.code[default[1] : start]
                    yield (
                        default[0],
                        end,
                        fresh + between,
                        f"The default of `{name}` is one `{fresh}` that all calls share, so what one call puts into it is "
                        "still there in the next.",
                    )


@operator(cst.ExceptHandler)
def wrong_exception(node: cst.ExceptHandler, scene: Scene) -> Iterator[Splice]:
    """The wrong exception is caught."""
    kind = node.type
    if isinstance(kind, cst.Name) and (other := EXCEPTIONS.get(kind.value)):
        yield scene.swap(
            kind,
            other,
            f"`{other}` is caught where `{kind.value}` is raised, so the error gets out instead of being handled.",
        )


@operator(cst.Raise)
def wrong_raise(node: cst.Raise, scene: Scene) -> Iterator[Splice]:
    """The wrong exception is raised."""
    raised = node.exc.func if isinstance(node.exc, cst.Call) else node.exc
    if isinstance(raised, cst.Name) and (other := EXCEPTIONS.get(raised.value)):
        yield scene.swap(
            raised,
            other,
            f"`{other}` is raised where callers expect `{raised.value}`, so their handling of it does not work.",
        )


@operator(cst.Assign)
def wrong_start(node: cst.Assign, scene: Scene) -> Iterator[Splice]:
    """A variable starts with another value."""
    old = scene.text(node.value)
    other = {
        "0": "1",
        "1": "0",
        "True": "False",
        "False": "True",
        "[]": "[0]",
        "''": "' '",
        '""': '" "',
        "-1": "0",
    }.get(old)
    if other and len(node.targets) == 1 and isinstance(node.targets[0].target, cst.Name | cst.Attribute):
        yield scene.swap(
            node.value,
            other,
            f"{scene.short(node.targets[0].target)} starts as `{other}` instead of `{old}`, so everything built on it is off "
            "from the start.",
        )


@operator(cst.Assign)
def shared_assignment(node: cst.Assign, scene: Scene) -> Iterator[Splice]:
    """A value is added to itself instead of assigned: `=` becomes `+=`."""
    target = node.targets[0].target
    if len(node.targets) == 1 and isinstance(target, cst.Name) and target.value in scene.bound_before(node):
        start, end = scene.span(target)[1], scene.span(node.value)[0] - len(node.value.lpar)
        if scene.code[start:end].strip() == "=":
            yield (
                start,
                end,
                " += ",
                f"`{target.value}` is added to instead of set: what it held before stays in it.",
            )


def _is_elif(node: cst.If, scene: Scene) -> bool:
    parent = scene.parent(node)
    return isinstance(parent, cst.If) and parent.orelse is node
