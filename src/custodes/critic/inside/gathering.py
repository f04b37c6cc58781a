"""What a file says of its functions: documentation, examples in it, and calls that are written out."""

from __future__ import annotations

import ast
from collections.abc import Callable
from typing import Any

import documented
from inputs import Call
from subject import literal_calls


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
    owner_of, _, _ = qualname.rpartition(".")
    method, shape = bool(owner_of), USES.get(name) or (reads(name) if is_property(node) else None)
    kind = owner_of.split(".")[-1]
    shape = shows_one(kind) if method and name == "__repr__" else shape
    groups = []
    for owner, text, line, by in texts:
        own = owner == qualname
        if not own and (name not in text if shape is None else kind not in text):
            continue
        said = documented.doctests(text, line, by)
        if not own:
            said = [e for e in said if calls_it(e.source, name, method, shape)]
        if not method and not isinstance(node, ast.AsyncFunctionDef):
            said += documented.in_prose(text, line, by, name, required if own or not owner else [])
        if said:
            groups.append(said)
    return groups


def expected(proposed: Any, line: int) -> documented.Example:
    """What a model expects, as an example."""
    by, confidence = proposed["by"], proposed["confidence"]
    return documented.Example(proposed["source"], proposed["want"], line, by, "model", confidence=confidence)


Shape = Callable[[ast.AST], bool]
"""Whether a node of an example uses a function."""


def operates(*operators: type[ast.AST]) -> Shape:
    return lambda n: (
        isinstance(getattr(n, "op", None), operators) or any(isinstance(o, operators) for o in getattr(n, "ops", []))
    )


def applies(*names: str) -> Shape:
    return lambda n: isinstance(n, ast.Call) and getattr(n.func, "id", "") in names


def reads(name: str) -> Shape:
    return lambda n: isinstance(n, ast.Attribute) and n.attr == name


def shows_one(kind: str) -> Shape:
    return lambda n: (
        isinstance(n, ast.Expr) and isinstance(n.value, ast.Call) and getattr(n.value.func, "id", "") == kind
    )


def either(*shapes: Shape) -> Shape:
    return lambda n: any(shape(n) for shape in shapes)


def subscripts(context: type[ast.AST]) -> Shape:
    return lambda n: isinstance(n, ast.Subscript) and isinstance(n.ctx, context)


USES: dict[str, Shape] = {
    "__len__": applies("len"), "__bool__": either(applies("bool"), operates(ast.Not)), "__abs__": applies("abs"),
    "__contains__": operates(ast.In, ast.NotIn), "__hash__": applies("hash"), "__reversed__": applies("reversed"),
    "__iter__": either(applies("list", "tuple", "set", "sorted", "sum", "min", "max", "iter", "dict"), lambda n: isinstance(n, (ast.For, ast.comprehension, ast.Starred))),
    "__next__": applies("next"), "__getitem__": subscripts(ast.Load), "__setitem__": subscripts(ast.Store),
    "__delitem__": subscripts(ast.Del), "__eq__": operates(ast.Eq, ast.NotEq), "__ne__": operates(ast.NotEq),
    "__lt__": either(operates(ast.Lt, ast.Gt), applies("sorted", "min", "max")), "__gt__": operates(ast.Gt, ast.Lt),
    "__le__": operates(ast.LtE, ast.GtE), "__ge__": operates(ast.GtE, ast.LtE), "__neg__": operates(ast.USub),
    "__add__": operates(ast.Add), "__radd__": operates(ast.Add), "__iadd__": operates(ast.Add), "__sub__": operates(ast.Sub),
    "__rsub__": operates(ast.Sub), "__mul__": operates(ast.Mult), "__rmul__": operates(ast.Mult), "__truediv__": operates(ast.Div),
    "__floordiv__": operates(ast.FloorDiv), "__mod__": operates(ast.Mod), "__pow__": operates(ast.Pow), "__matmul__": operates(ast.MatMult),
    "__and__": operates(ast.BitAnd), "__or__": operates(ast.BitOr), "__xor__": operates(ast.BitXor), "__invert__": operates(ast.Invert),
    "__lshift__": operates(ast.LShift), "__rshift__": operates(ast.RShift), "__str__": applies("str", "print", "format"),
    "__int__": applies("int"), "__float__": applies("float"), "__round__": applies("round"), "__index__": applies("range", "hex", "bin"),
    "__enter__": lambda n: isinstance(n, ast.With), "__exit__": lambda n: isinstance(n, ast.With), "__format__": applies("format"),
}  # fmt: skip
"""Of special methods: the code that Python runs them for."""


def is_property(node: Any) -> bool:
    said = [ast.unparse(d) for d in node.decorator_list]
    return any(text.split(".")[-1] in ("property", "cached_property") for text in said)


def calls_it(source: str, name: str, method: bool, shape: Shape | None = None) -> bool:
    """Whether an example uses a function; ``shape`` says how, where that is not by a call of its name."""
    try:
        tree = ast.parse(source)
    except (SyntaxError, ValueError):
        return False
    kind = "attr" if method else "id"
    if shape is not None and any(shape(n) for n in ast.walk(tree)):
        return True
    return any(isinstance(n, ast.Call) and getattr(n.func, kind, "") == name for n in ast.walk(tree))


def source_calls(sources: list[str], name: str) -> list[Call]:
    found = []
    for source in sources:
        try:
            found += literal_calls(ast.parse(source), name)
        except (SyntaxError, ValueError, RecursionError, MemoryError):
            continue
    return found
