"""Operators on names, calls and what is passed to them."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise

import libcst as cst

from custodes.critic.tamper.scene import Scene, Splice, operator, walk

METHODS = {
    "append": "extend",
    "extend": "append",
    "add": "discard",
    "discard": "add",
    "update": "difference_update",
    "union": "intersection",
    "intersection": "union",
    "difference": "symmetric_difference",
    "issubset": "issuperset",
    "issuperset": "issubset",
    "split": "rsplit",
    "rsplit": "split",
    "partition": "rpartition",
    "rpartition": "partition",
    "strip": "lstrip",
    "lstrip": "rstrip",
    "rstrip": "lstrip",
    "find": "rfind",
    "rfind": "find",
    "index": "rindex",
    "startswith": "endswith",
    "endswith": "startswith",
    "lower": "upper",
    "upper": "lower",
    "keys": "values",
    "values": "keys",
    "popleft": "pop",
    "appendleft": "append",
    "get": "setdefault",
    "setdefault": "get",
    "remove": "discard",
    "isdigit": "isalnum",
    "isalpha": "isalnum",
    "ljust": "rjust",
    "rjust": "ljust",
    "match": "search",
    "search": "match",
    "fullmatch": "match",
    "heappush": "heappop",
    "predecessors": "successors",
    "successors": "predecessors",
    "in_edges": "out_edges",
    "out_edges": "in_edges",
    "bisect_left": "bisect_right",
    "bisect_right": "bisect_left",
}
BUILTINS = {
    "min": "max",
    "max": "min",
    "any": "all",
    "all": "any",
    "floor": "ceil",
    "ceil": "floor",
    "sorted": "list",
    "takewhile": "dropwhile",
    "dropwhile": "takewhile",
    "sin": "cos",
    "cos": "sin",
    "zip_longest": "zip",
    "bisect_left": "bisect_right",
    "bisect_right": "bisect_left",
    "permutations": "combinations",
    "combinations": "permutations",
    "isinstance": "issubclass",
    "add": "sub",
    "mul": "add",
    "heappush": "heappushpop",
}
COPIES = (
    "list",
    "tuple",
    "set",
    "dict",
    "sorted",
    "reversed",
    "abs",
    "int",
    "str",
    "copy",
    "deepcopy",
    "sympify",
    "iter",
)
CLEANING = (
    "strip",
    "lstrip",
    "rstrip",
    "lower",
    "upper",
    "copy",
    "casefold",
    "expand",
    "simplify",
    "doit",
    "items",
    "keys",
)
SKIPPED = (cst.Attribute, cst.Arg, cst.Param, cst.AssignTarget, cst.ImportAlias, cst.AsName, cst.Global, cst.Nonlocal)


@operator(cst.Name)
def wrong_variable(node: cst.Name, scene: Scene) -> Iterator[Splice]:
    """Another variable of the function is used in the place of the right one."""
    if not _is_read(node, scene):
        return
    names = scene.bound_before(node)
    if node.value not in names:
        return
    position = names.index(node.value)
    for other in (names[position - 1], names[(position + 1) % len(names)])[: len(names) - 1]:
        yield scene.swap(
            node,
            other,
            f"The wrong variable: `{other}` is used where `{node.value}` is meant, so this works on the wrong value.",
        )


@operator(cst.Attribute)
def wrong_attribute(node: cst.Attribute, scene: Scene) -> Iterator[Splice]:
    """Another attribute of the same object is used."""
    own = isinstance(node.value, cst.Name) and node.value.value == "self"
    parent = scene.parent(node)
    if own and node.attr.value in scene.attributes and not isinstance(parent, cst.AssignTarget | cst.Call):
        names = scene.attributes
        other = names[names.index(node.attr.value) - 1]
        if other != node.attr.value:
            yield scene.swap(
                node.attr,
                other,
                f"The wrong attribute: `self.{other}` is read where `self.{node.attr.value}` is meant.",
            )


@operator(cst.Call)
def swapped_arguments(node: cst.Call, scene: Scene) -> Iterator[Splice]:
    """Two arguments of a call change places."""
    plain = [a for a in node.args if not a.star and a.keyword is None]
    for first, second in pairwise(plain):
        start, end = scene.span(first.value)[0], scene.span(second.value)[1]
        between = scene.code[scene.span(first.value)[1] : scene.span(second.value)[0]]
        if first.value.lpar or second.value.lpar or scene.text(first.value) == scene.text(second.value):
            continue
        yield (
            start,
            end,
            scene.text(second.value) + between + scene.text(first.value),
            f"The arguments of {scene.short(node.func)} are in the wrong order: {scene.short(first.value)} and "
            f"{scene.short(second.value)} are swapped.",
        )


@operator(cst.Call)
def dropped_argument(node: cst.Call, scene: Scene) -> Iterator[Splice]:
    """An argument is not passed on, so that a default is used."""
    if len(node.args) < 2 or node.args[-1].star:
        return
    last, before = node.args[-1], node.args[-2]
    start, end = scene.span(before)[1], scene.span(last)[1]
    if before.value.rpar or last.value.rpar:
        return
    yield (
        start,
        end,
        "",
        f"The argument {scene.short(last)} is not passed to {scene.short(node.func)}, which then uses its default or fails.",
    )


@operator(cst.Attribute)
def swapped_method(node: cst.Attribute, scene: Scene) -> Iterator[Splice]:
    """A method of the same family that does something else."""
    name, parent = node.attr.value, scene.parent(node)
    if isinstance(parent, cst.Call) and parent.func is node and (other := METHODS.get(name) or BUILTINS.get(name)):
        yield scene.swap(
            node.attr,
            other,
            f"The wrong method: `{other}` is called where `{name}` is needed, which does something else with "
            f"{scene.short(node.value)}.",
        )


@operator(cst.Call)
def swapped_function(node: cst.Call, scene: Scene) -> Iterator[Splice]:
    """`min` for `max`, `any` for `all`, `floor` for `ceil`."""
    if isinstance(node.func, cst.Name) and (other := BUILTINS.get(node.func.value)):
        yield scene.swap(
            node.func,
            other,
            f"`{other}` is called where `{node.func.value}` is needed, so the wrong result is picked or built.",
        )


@operator(cst.Call)
def dropped_copy(node: cst.Call, scene: Scene) -> Iterator[Splice]:
    """A conversion or copy by a function is left out: `list(x)` becomes `x`."""
    if isinstance(node.func, cst.Name) and node.func.value in COPIES and len(node.args) == 1:
        argument = node.args[0]
        if argument.keyword is None and not argument.star and not isinstance(argument.value, cst.GeneratorExp):
            yield scene.swap(
                node,
                "(" * len(argument.value.lpar) + scene.text(argument.value) + ")" * len(argument.value.rpar),
                f"{scene.short(argument.value)} is used as it is, without `{node.func.value}(...)`: its type, its order or "
                "the caller's own object is not what the code below needs.",
            )


@operator(cst.Call)
def dropped_method(node: cst.Call, scene: Scene) -> Iterator[Splice]:
    """A cleaning step is left out: `x.strip()` becomes `x`."""
    if isinstance(node.func, cst.Attribute) and node.func.attr.value in CLEANING and not node.args:
        yield scene.swap(
            node,
            scene.text(node.func.value),
            f"`.{node.func.attr.value}()` is missing after {scene.short(node.func.value)}, so it is used as it came.",
        )


@operator(cst.Call)
def dropped_fallback(node: cst.Call, scene: Scene) -> Iterator[Splice]:
    """`d.get(key, fallback)` loses its fallback, or falls back on another value."""
    if isinstance(node.func, cst.Attribute) and node.func.attr.value in ("get", "pop") and len(node.args) == 2:
        first, second = node.args
        key = scene.short(first.value)
        yield (
            scene.span(first)[1],
            scene.span(second)[1],
            "",
            f"There is no fallback any more when {key} is missing: {scene.short(second.value)} was it.",
        )
        if scene.text(second.value) in ("0", "1", "None", "True", "False", "[]", "()", "''", '""'):
            other = "1" if scene.text(second.value) != "1" else "0"
            yield scene.swap(
                second.value,
                other,
                f"The fallback for a missing {key} is `{other}` where it should be {scene.short(second.value)}.",
            )


@operator(cst.Call)
def enumerate_start(node: cst.Call, scene: Scene) -> Iterator[Splice]:
    """Counting begins at the wrong number."""
    if scene.text(node.func) != "enumerate" or not node.args:
        return
    first = node.args[0]
    if len(node.args) == 1:
        at = scene.span(node)[1] - 1
        if scene.code[at] == ")" and not first.value.rpar:
            yield at, at, ", 1", "The counter starts at 1 instead of 0, so every index is one too large."
    elif not first.value.rpar:
        yield (
            scene.span(first)[1],
            scene.span(node.args[-1])[1],
            "",
            f"The counter no longer starts at {scene.short(node.args[-1].value)}, so every number is off.",
        )


@operator(cst.SimpleString)
def wrong_key(node: cst.SimpleString, scene: Scene) -> Iterator[Splice]:
    """Another text that the function uses stands in the place of the right one."""
    if not isinstance(scene.parent(node), cst.Index | cst.Arg | cst.ComparisonTarget | cst.DictElement):
        return
    if any(isinstance(above, cst.Raise) for above in scene.above(node)):  # what a message says, no test reads
        return
    texts = sorted({scene.text(n) for n in walk(scene.function.body) if isinstance(n, cst.SimpleString)})
    texts = [t for t in texts if len(t) < 30 and "\n" not in t and t[0] in "\"'"]
    own = scene.text(node)
    if own in texts and len(texts) > 1:
        other = texts[texts.index(own) - 1]
        yield scene.swap(node, other, f"The wrong text: {other} is used where {own} is needed.")


@operator(cst.Tuple)
def swapped_pair(node: cst.Tuple, scene: Scene) -> Iterator[Splice]:
    """Two values, or the two variables that take them, change places."""
    if len(node.elements) != 2 or any(isinstance(e, cst.StarredElement) for e in node.elements):
        return
    first, second = (e.value for e in node.elements)
    if isinstance(scene.parent(node), cst.Index | cst.SubscriptElement) or first.lpar or second.lpar:
        return
    if scene.text(first) == scene.text(second):
        return
    start, end = scene.span(first)[0], scene.span(second)[1]
    between = scene.code[scene.span(first)[1] : scene.span(second)[0]]
    yield (
        start,
        end,
        scene.text(second) + between + scene.text(first),
        f"{scene.short(first)} and {scene.short(second)} have changed places: each ends up where the other belongs.",
    )


@operator(cst.CompFor)
def dropped_filter(node: cst.CompFor, scene: Scene) -> Iterator[Splice]:
    """A comprehension takes all elements: its `if` is gone."""
    if len(node.ifs) == 1:
        test = node.ifs[0]
        start, end = scene.span(test)
        before = len(scene.code[:start].rstrip(" "))
        yield (
            before,
            end + len(test.test.rpar) if scene.code[start:end].count("(") > scene.code[start:end].count(")") else end,
            "",
            f"The filter {scene.short(test.test)} is missing, so elements get in that should be left out.",
        )


def _is_read(node: cst.Name, scene: Scene) -> bool:
    """Whether the name stands for a value that is used, and is neither called nor bound here."""
    parent = scene.parent(node)
    if isinstance(parent, cst.Arg | cst.Attribute):
        return parent.value is node
    if isinstance(parent, (cst.Call, *SKIPPED)):
        return False
    if isinstance(parent, cst.For | cst.CompFor | cst.AugAssign | cst.NamedExpr | cst.AnnAssign):
        return getattr(parent, "target", None) is not node
    if isinstance(parent, cst.Element):  # of a tuple that may be a target
        for above in scene.above(node):
            if isinstance(above, cst.AssignTarget):
                return False
            if isinstance(above, cst.For | cst.CompFor):
                return not _inside(node, above.target)
            if isinstance(above, cst.BaseStatement | cst.BaseSmallStatement):
                break
    return isinstance(
        parent,
        cst.Element
        | cst.BinaryOperation
        | cst.Comparison
        | cst.ComparisonTarget
        | cst.Return
        | cst.Index
        | cst.Slice
        | cst.Subscript
        | cst.Assign
        | cst.BooleanOperation
        | cst.UnaryOperation
        | cst.If
        | cst.While
        | cst.For
        | cst.IfExp
        | cst.AugAssign
        | cst.Yield
        | cst.CompFor,
    )


def _inside(node: cst.CSTNode, tree: cst.CSTNode) -> bool:
    return any(found is node for found in walk(tree))
