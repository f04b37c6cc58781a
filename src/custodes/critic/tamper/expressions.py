"""Operators on comparisons, conditions, arithmetic, numbers and subscripts."""

from __future__ import annotations

from collections.abc import Iterator

import libcst as cst

from custodes.critic.tamper.scene import Scene, Splice, operator

ARITHMETIC = (cst.BinaryOperation, cst.Name, cst.Attribute, cst.Call, cst.Integer, cst.Subscript)  # may get "+ 1"


@operator(cst.ComparisonTarget)
def comparison_boundary(node: cst.ComparisonTarget, scene: Scene) -> Iterator[Splice]:
    """`<` for `<=` and the like: the case of equality changes sides."""
    sign, whole = scene.text(node.operator), scene.short(scene.parent(node))
    if other := {"<": "<=", "<=": "<", ">": ">=", ">=": ">"}.get(sign):
        effect = "now includes the case where both sides are equal" if "=" in other else "leaves out equality"
        wrong = f"{whole.replace(sign, other, 1)} {effect}, so values exactly at the limit are handled wrongly."
        yield scene.swap(node.operator, other, f"The boundary of this comparison is off by one: {wrong}")


@operator(cst.ComparisonTarget)
def comparison_direction(node: cst.ComparisonTarget, scene: Scene) -> Iterator[Splice]:
    """`<` for `>`: larger and smaller are confused."""
    others = {"<": ">", "<=": ">=", ">": "<", ">=": "<="}
    wrong = "it should be `$old` and not `$new`, so larger and smaller values are confused."
    yield from scene.partner(node.operator, others, f"The comparison points the wrong way: {wrong}")


@operator(cst.ComparisonTarget)
def comparison_inverted(node: cst.ComparisonTarget, scene: Scene) -> Iterator[Splice]:
    """`==` for `!=`, `in` for `not in`, `is` for `is not`: the test says the opposite."""
    others = {"==": "!=", "!=": "==", "in": "not in", "not in": "in", "is": "is not", "is not": "is"}
    asked = f"it should ask `$old` {scene.short(node.comparator)} and not `$new`"
    yield from scene.partner(
        node.operator, others, f"The test is inverted: {asked}, so the code acts in exactly the wrong cases."
    )


@operator(cst.BooleanOperation)
def boolean_connective(node: cst.BooleanOperation, scene: Scene) -> Iterator[Splice]:
    """`and` for `or` and the other way round."""
    is_and = isinstance(node.operator, cst.And)
    right, wrong = ("and", "or") if is_and else ("or", "and")
    effect = "it is enough that one of the two holds" if is_and else "both must hold where one should be enough"
    conditions = f"{scene.short(node.left)} and {scene.short(node.right)}"
    why = f"The conditions {conditions} are joined by `{wrong}` where `{right}` is needed: {effect}."
    yield scene.swap(node.operator, wrong, why)


@operator(cst.BooleanOperation)
def dropped_condition(node: cst.BooleanOperation, scene: Scene) -> Iterator[Splice]:
    """One half of a condition is gone."""
    for kept, lost in ((node.left, node.right), (node.right, node.left)):
        wrong = f"only {scene.short(kept)} decides here and cases that the other half should catch go the wrong way."
        why = f"The check for {scene.short(lost)} is missing, so {wrong}"
        yield scene.swap(node, _with_parentheses(kept, scene), why)


@operator(cst.UnaryOperation)
def dropped_not(node: cst.UnaryOperation, scene: Scene) -> Iterator[Splice]:
    """A `not` is lost."""
    if isinstance(node.operator, cst.Not):
        why = f"A `not` is missing before {scene.short(node.expression)}: the condition holds when it should not."
        yield scene.swap(node, _with_parentheses(node.expression, scene), why)


@operator(cst.If, cst.While, cst.IfExp)
def inserted_not(node: cst.If | cst.While | cst.IfExp, scene: Scene) -> Iterator[Splice]:
    """A condition is negated."""
    if isinstance(node.test, cst.Name | cst.Attribute | cst.Call | cst.Subscript):
        wrong = f"this should run when {scene.short(node.test)} is true, and runs when it is false."
        yield scene.swap(node.test, f"not {scene.text(node.test)}", f"The condition is inverted: {wrong}")


@operator(cst.IfExp)
def swapped_choice(node: cst.IfExp, scene: Scene) -> Iterator[Splice]:
    """The two values of a conditional expression change places."""
    yes, no = _with_parentheses(node.body, scene), _with_parentheses(node.orelse, scene)
    unclear = isinstance(node.body, cst.Lambda) or isinstance(node.orelse, cst.IfExp)
    if "\n" not in scene.text(node) and not unclear:
        wrong = f"{scene.short(node.orelse)} is taken when {scene.short(node.test)} holds"
        why = f"The two branches of this expression are swapped: {wrong}, where {scene.short(node.body)} should be."
        yield scene.swap(node, f"{no} if {scene.text(node.test)} else {yes}", why)


@operator(cst.BinaryOperation)
def arithmetic_operator(node: cst.BinaryOperation, scene: Scene) -> Iterator[Splice]:
    """Plus for minus, times for plus, `//` for `%`, `*` for `**`."""
    others = {"+": "-", "-": "+", "*": "+", "%": "//", "**": "*", "<<": ">>", ">>": "<<", "&": "|", "|": "&", "^": "|"}
    text = isinstance(node.left, cst.SimpleString | cst.ConcatenatedString | cst.FormattedString)
    if not (text and scene.text(node.operator) == "%"):
        sides = f"{scene.short(node.left)} and {scene.short(node.right)}"
        wrong = "are combined with `$new` instead of `$old`, so the computed value is wrong."
        yield from scene.partner(node.operator, others, f"Wrong operator: {sides} {wrong}")


@operator(cst.BinaryOperation)
def division_kind(node: cst.BinaryOperation, scene: Scene) -> Iterator[Splice]:
    """`/` for `//` and the other way round."""
    cut = scene.text(node.operator) == "/"
    effect = "the fraction is cut off" if cut else "the result is a float that is not rounded down"
    why = f"The wrong kind of division by {scene.short(node.right)}: {effect}."
    yield from scene.partner(node.operator, {"/": "//", "//": "/"}, why)


@operator(cst.UnaryOperation)
def dropped_sign(node: cst.UnaryOperation, scene: Scene) -> Iterator[Splice]:
    """A minus sign is lost."""
    if isinstance(node.operator, cst.Minus) and not isinstance(scene.parent(node), cst.Index | cst.Slice):
        why = f"The minus sign before {scene.short(node.expression)} is missing, so the value has the wrong sign."
        yield scene.swap(node, _with_parentheses(node.expression, scene), why)


@operator(cst.AugAssign)
def augmented_operator(node: cst.AugAssign, scene: Scene) -> Iterator[Splice]:
    """`-=` for `+=`, or the old value is overwritten."""
    sign, target = scene.text(node.operator), scene.short(node.target)
    others = {"+=": "-=", "-=": "+=", "*=": "+=", "//=": "/=", "/=": "*=", "|=": "&=", "&=": "|="}
    why = f"{target} is updated with `$new` instead of `$old`, so it moves the wrong way and ends with a wrong value."
    yield from scene.partner(node.operator, others, why)
    why = f"{target} is overwritten here instead of being updated with `{sign}`: what was accumulated before is lost."
    yield scene.swap(node.operator, "=", why)


@operator(cst.Integer)
def number_off_by_one(node: cst.Integer, scene: Scene) -> Iterator[Splice]:
    """A number is one too large or too small."""
    parent = scene.parent(node)
    call = scene.parent(parent) if isinstance(parent, cst.Arg) else None
    counts = isinstance(call, cst.Call) and scene.text(call.func) in ("range", "enumerate")
    if counts or isinstance(parent, cst.Index | cst.Slice | cst.Param | cst.FormattedStringExpression):
        return
    if not node.value.isdigit() or len(node.value) > 6:
        return
    for other in (int(node.value) + 1, int(node.value) - 1):
        if other >= 0:
            wrong = f"it should be `{node.value}`, and everything computed from it is shifted."
            yield scene.swap(node, str(other), f"The constant `{other}` is off by one: {wrong}")


@operator(cst.Call)
def range_bound(node: cst.Call, scene: Scene) -> Iterator[Splice]:
    """A range ends one early, ends one late, or starts one late."""
    if scene.text(node.func) != "range" or any(a.star or a.keyword for a in node.args):
        return
    end = node.args[0 if len(node.args) == 1 else 1].value
    for sign, effect in (("-", "the last one is never reached"), ("+", "it runs one step too far")):
        if shifted := _shifted(end, sign, scene):
            yield scene.swap(end, shifted, f"The range ends at `{shifted}` instead of {scene.short(end)}: {effect}.")
    start, skipped = node.args[0].value, "so the first one is skipped."
    if len(node.args) == 1 and isinstance(end, ARITHMETIC):
        yield scene.swap(end, f"1, {scene.text(end)}", f"The range starts at 1 instead of 0, {skipped}")
    elif len(node.args) > 1 and (shifted := _shifted(start, "+", scene)):
        why = f"The range starts at `{shifted}` instead of {scene.short(start)}, {skipped}"
        yield scene.swap(start, shifted, why)


@operator(cst.Slice)
def slice_bound(node: cst.Slice, scene: Scene) -> Iterator[Splice]:
    """A slice begins or ends one off, or loses a bound."""
    for bound, name in ((node.lower, "begins"), (node.upper, "ends")):
        if bound is None:
            continue
        old = scene.short(bound)
        for shifted in filter(None, (_shifted(bound, sign, scene) for sign in "+-")):
            why = f"The slice {name} at `{shifted}` instead of {old}: one element too many or too few is taken."
            yield scene.swap(bound, shifted, why)
        why = f"The slice no longer {name} at {old}, so elements are taken that should be left out."
        yield scene.swap(bound, "", why)


@operator(cst.Index)
def index_off_by_one(node: cst.Index, scene: Scene) -> Iterator[Splice]:
    """The element beside the right one is taken."""
    if node.star:
        return
    value, text = node.value, scene.text(node.value)
    known = {"0": ("1", "-1"), "1": ("0", "2"), "-1": ("0", "-2"), "2": ("1",), "-2": ("-1",)}.get(text, ())
    others = known or tuple(s for sign in "+-" if isinstance(value, ARITHMETIC) and (s := _shifted(value, sign, scene)))
    for other in others if not isinstance(value, cst.Call) else ():
        yield scene.swap(value, other, f"The wrong element is read: index `{other}` is used where `{text}` is meant.")


@operator(cst.Name)
def boolean_constant(node: cst.Name, scene: Scene) -> Iterator[Splice]:
    """True for False and the other way round."""
    if not isinstance(scene.parent(node), cst.Param):
        why = "The flag is the wrong way round: `$new` is used where `$old` is needed."
        yield from scene.partner(node, {"True": "False", "False": "True"}, why)


def _shifted(node: cst.BaseExpression, sign: str, scene: Scene) -> str:
    """The expression one more or less, in its simplest form; "" where that would not be clear."""
    text = scene.text(node)
    if isinstance(node, cst.Integer) and text.isdigit():
        other = int(text) + (1 if sign == "+" else -1)
        return str(other) if other >= 0 else ""
    if isinstance(node, cst.BinaryOperation):
        own = scene.text(node.operator)
        if own in "+-" and scene.text(node.right) == "1":
            return scene.text(node.left) if own != sign else ""
        return f"{text} {sign} 1" if own in "+-*" and "\n" not in text else ""
    return f"{text} {sign} 1" if isinstance(node, ARITHMETIC) and "\n" not in text else ""


def _with_parentheses(node: cst.BaseExpression, scene: Scene) -> str:
    """Text of a node with the parentheses it had."""
    return "(" * len(node.lpar) + scene.text(node) + ")" * len(node.rpar)
