"""Operators on names, calls and what is passed to them."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise

import libcst as cst

from custodes.critic.tamper.scene import Scene, Splice, operator, walk


def _partners(pairs: str) -> dict[str, str]:
    """``"min>max"`` -> what stands in whose place; ``"min/max"`` goes both ways."""
    ways = [pair.partition("/") if "/" in pair else pair.partition(">") for pair in pairs.split()]
    return {old: new for old, _, new in ways} | {new: old for old, both, new in ways if both == "/"}


METHODS = _partners(
    "append/extend add/discard update>difference_update union/intersection difference>symmetric_difference "
    "issubset/issuperset split/rsplit partition/rpartition strip>lstrip lstrip/rstrip find/rfind index>rindex "
    "startswith/endswith lower/upper keys/values popleft>pop appendleft>append get/setdefault remove>discard "
    "isdigit>isalnum isalpha>isalnum ljust/rjust match/search fullmatch>match heappush>heappop "
    "predecessors/successors in_edges/out_edges bisect_left/bisect_right"
)
BUILTINS = _partners(
    "min/max any/all floor/ceil sorted>list takewhile/dropwhile sin/cos zip_longest>zip bisect_left/bisect_right "
    "permutations/combinations isinstance>issubclass add>sub mul>add heappush>heappushpop"
)
COPIES = (
    "list", "tuple", "set", "dict", "sorted", "reversed", "abs", "int", "str", "copy", "deepcopy", "sympify", "iter",
)  # fmt: skip
CLEANING = (
    "strip", "lstrip", "rstrip", "lower", "upper", "copy", "casefold", "expand", "simplify", "doit", "items", "keys",
)  # fmt: skip
PLAIN_FALLBACKS = ("0", "1", "None", "True", "False", "[]", "()", "''", '""')
SKIPPED = (cst.Attribute, cst.Arg, cst.Param, cst.AssignTarget, cst.ImportAlias, cst.AsName, cst.Global, cst.Nonlocal)
READING = (
    cst.Element, cst.BinaryOperation, cst.Comparison, cst.ComparisonTarget, cst.Return, cst.Index, cst.Slice,
    cst.Subscript, cst.Assign, cst.BooleanOperation, cst.UnaryOperation, cst.If, cst.While, cst.For, cst.IfExp,
    cst.AugAssign, cst.Yield, cst.CompFor,
)  # fmt: skip


@operator(cst.Name)
def wrong_variable(node: cst.Name, scene: Scene) -> Iterator[Splice]:
    """Another variable of the function is used in the place of the right one."""
    names = scene.bound_before(node) if _is_read(node, scene) else []
    if node.value not in names:
        return
    position = names.index(node.value)
    for other in (names[position - 1], names[(position + 1) % len(names)])[: len(names) - 1]:
        wrong = f"`{other}` is used where `{node.value}` is meant, so this works on the wrong value."
        yield scene.swap(node, other, f"The wrong variable: {wrong}")


@operator(cst.Attribute)
def wrong_attribute(node: cst.Attribute, scene: Scene) -> Iterator[Splice]:
    """Another attribute of the same object is used."""
    own, names = isinstance(node.value, cst.Name) and node.value.value == "self", scene.attributes
    name, parent = node.attr.value, scene.parent(node)
    if own and name in names and len(names) > 1 and not isinstance(parent, cst.AssignTarget | cst.Call):
        other = names[names.index(name) - 1]
        yield scene.swap(node.attr, other, f"The wrong attribute: `self.{other}` is read where `self.{name}` is meant.")


@operator(cst.Call)
def swapped_arguments(node: cst.Call, scene: Scene) -> Iterator[Splice]:
    """Two arguments of a call change places."""
    plain = [a.value for a in node.args if not a.star and a.keyword is None]
    for first, second in pairwise(plain):
        wrong = f"{scene.short(first)} and {scene.short(second)} are swapped."
        why = f"The arguments of {scene.short(node.func)} are in the wrong order: {wrong}"
        yield from scene.change_places(first, second, why)


@operator(cst.Call)
def dropped_argument(node: cst.Call, scene: Scene) -> Iterator[Splice]:
    """An argument is not passed on, so that a default is used."""
    if len(node.args) < 2 or node.args[-1].star:
        return
    before, last = node.args[-2:]
    if not before.value.rpar and not last.value.rpar:
        wrong = f"is not passed to {scene.short(node.func)}, which then uses its default or fails."
        yield scene.span(before)[1], scene.span(last)[1], "", f"The argument {scene.short(last)} {wrong}"


@operator(cst.Attribute)
def swapped_method(node: cst.Attribute, scene: Scene) -> Iterator[Splice]:
    """A method of the same family that does something else."""
    parent = scene.parent(node)
    if isinstance(parent, cst.Call) and parent.func is node:
        effect = f"which does something else with {scene.short(node.value)}."
        why = f"The wrong method: `$new` is called where `$old` is needed, {effect}"
        yield from scene.partner(node.attr, BUILTINS | METHODS, why)


@operator(cst.Call)
def swapped_function(node: cst.Call, scene: Scene) -> Iterator[Splice]:
    """`min` for `max`, `any` for `all`, `floor` for `ceil`."""
    if isinstance(node.func, cst.Name):
        why = "`$new` is called where `$old` is needed, so the wrong result is picked or built."
        yield from scene.partner(node.func, BUILTINS, why)


@operator(cst.Call)
def dropped_copy(node: cst.Call, scene: Scene) -> Iterator[Splice]:
    """A conversion or copy by a function is left out: `list(x)` becomes `x`."""
    if not isinstance(node.func, cst.Name) or node.func.value not in COPIES or len(node.args) != 1:
        return
    (argument,) = node.args
    if argument.keyword is None and not argument.star and not isinstance(argument.value, cst.GeneratorExp):
        text = "(" * len(argument.value.lpar) + scene.text(argument.value) + ")" * len(argument.value.rpar)
        wrong = "its type, its order or the caller's own object is not what the code below needs."
        why = f"{scene.short(argument.value)} is used as it is, without `{node.func.value}(...)`: {wrong}"
        yield scene.swap(node, text, why)


@operator(cst.Call)
def dropped_method(node: cst.Call, scene: Scene) -> Iterator[Splice]:
    """A cleaning step is left out: `x.strip()` becomes `x`."""
    if isinstance(node.func, cst.Attribute) and node.func.attr.value in CLEANING and not node.args:
        value, name = node.func.value, node.func.attr.value
        why = f"`.{name}()` is missing after {scene.short(value)}, so it is used as it came."
        yield scene.swap(node, scene.text(value), why)


@operator(cst.Call)
def dropped_fallback(node: cst.Call, scene: Scene) -> Iterator[Splice]:
    """`d.get(key, fallback)` loses its fallback, or falls back on another value."""
    if not isinstance(node.func, cst.Attribute) or node.func.attr.value not in ("get", "pop") or len(node.args) != 2:
        return
    first, second = node.args
    key, fallback = scene.short(first.value), scene.short(second.value)
    why = f"There is no fallback any more when {key} is missing: {fallback} was it."
    yield scene.span(first)[1], scene.span(second)[1], "", why
    if (text := scene.text(second.value)) in PLAIN_FALLBACKS:
        other = "1" if text != "1" else "0"
        why = f"The fallback for a missing {key} is `{other}` where it should be {fallback}."
        yield scene.swap(second.value, other, why)


@operator(cst.Call)
def enumerate_start(node: cst.Call, scene: Scene) -> Iterator[Splice]:
    """Counting begins at the wrong number."""
    if scene.text(node.func) != "enumerate" or not node.args or node.args[0].value.rpar:
        return
    first, last = node.args[0], node.args[-1]
    if last is not first:
        why = f"The counter no longer starts at {scene.short(last.value)}, so every number is off."
        yield scene.span(first)[1], scene.span(last)[1], "", why
    elif scene.code[at := scene.span(node)[1] - 1] == ")":
        yield at, at, ", 1", "The counter starts at 1 instead of 0, so every index is one too large."


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
    if not isinstance(scene.parent(node), cst.Index | cst.SubscriptElement):
        first, second = (e.value for e in node.elements)
        wrong = "have changed places: each ends up where the other belongs."
        yield from scene.change_places(first, second, f"{scene.short(first)} and {scene.short(second)} {wrong}")


@operator(cst.CompFor)
def dropped_filter(node: cst.CompFor, scene: Scene) -> Iterator[Splice]:
    """A comprehension takes all elements: its `if` is gone."""
    if len(node.ifs) == 1:
        (test,) = node.ifs
        start, end = scene.span(test)
        before, text = len(scene.code[:start].rstrip(" ")), scene.code[start:end]
        end += len(test.test.rpar) if text.count("(") > text.count(")") else 0
        why = f"The filter {scene.short(test.test)} is missing, so elements get in that should be left out."
        yield before, end, "", why


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
                return all(inside is not node for inside in walk(above.target))
            if isinstance(above, cst.BaseStatement | cst.BaseSmallStatement):
                break
    return isinstance(parent, READING)
