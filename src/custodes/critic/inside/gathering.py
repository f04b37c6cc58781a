"""What a file says of its functions: documentation, examples in it, and calls that are written out."""

from __future__ import annotations

import ast
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


def source_calls(sources: list[str], name: str) -> list[Call]:
    found = []
    for source in sources:
        try:
            found += literal_calls(ast.parse(source), name)
        except (SyntaxError, ValueError, RecursionError, MemoryError):
            continue
    return found
