"""What a function's code tells beside its result: decorators around it, effects on what others see, reads of what changes."""

from __future__ import annotations

import ast
import random
import types
from collections.abc import Iterator
from typing import Any

import values

RESULTS_STAY = {
    "property", "cached_property", "staticmethod", "classmethod", "lru_cache", "cache", "override", "final", "overload",
    "abstractmethod", "no_type_check", "total_ordering", "njit", "jit", "deprecated",
}  # fmt: skip
"""Decorators after which a function takes and gives what it did before."""
CHANGES = {
    "append", "extend", "insert", "add", "update", "setdefault", "pop", "popitem", "popleft", "appendleft", "remove", "discard",
    "clear", "sort", "reverse", "push", "put", "write", "register", "send", "increment",
}  # fmt: skip
CLOCKS = {
    "now",
    "utcnow",
    "today",
    "fromtimestamp",
    "localtime",
    "gmtime",
    "time",
    "time_ns",
    "perf_counter",
    "monotonic",
}
CHANGING = ("random", "time", "uuid", "secrets")
"""Modules whose functions give something else each time."""


def keeps_results(decorator: ast.expr) -> bool:
    name = decorator.func if isinstance(decorator, ast.Call) else decorator
    return ast.unparse(name).split(".")[-1] in RESULTS_STAY


def has_effects(node: Any, tree: ast.Module, module: dict[str, Any]) -> bool:
    """Whether a function, or one of its file that it calls, changes what outlives the call, or reads what changes by itself."""
    known = {f.name: f for f in tree.body if isinstance(f, (ast.FunctionDef, ast.AsyncFunctionDef))}
    seen, left = set(), [node]
    while left:
        function = left.pop()
        if id(function) in seen:
            continue
        seen.add(id(function))
        own = own_names(function)
        for part in ast.walk(function):
            if isinstance(part, (ast.Global, ast.Nonlocal)) or outside_changed(part, own, module):
                return True
            if isinstance(part, ast.Name) and part.id not in own:
                if changes_by_itself(module.get(part.id)):
                    return True
                if part.id in known:
                    left.append(known[part.id])
            if isinstance(part, ast.Attribute) and part.attr in CLOCKS and root_of(part) not in own:
                return True
    return False


def own_names(function: Any) -> set[str]:
    """Parameters, and names that are bound in the function."""
    given = {a.arg for n in ast.walk(function) if isinstance(n, ast.arguments) for a in all_arguments(n)}
    return given | {n.id for n in ast.walk(function) if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Store)}


def all_arguments(arguments: ast.arguments) -> Iterator[ast.arg]:
    yield from [*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs]
    yield from (a for a in (arguments.vararg, arguments.kwarg) if a is not None)


def outside_changed(part: ast.AST, own: set[str], module: dict[str, Any]) -> bool:
    """Whether a node changes an object that is not the function's own."""
    if isinstance(part, ast.Call) and isinstance(part.func, ast.Attribute) and part.func.attr in CHANGES:
        changed = root_of(part.func.value)
    elif isinstance(part, (ast.Subscript, ast.Attribute)) and isinstance(part.ctx, (ast.Store, ast.Del)):
        changed = root_of(part.value)
    else:
        return False
    return bool(changed) and changed not in own and not isinstance(module.get(changed), types.ModuleType)


def root_of(node: ast.AST) -> str:
    """The name that ``name.attribute[index].more`` begins with; "" for what is no such chain."""
    while isinstance(node, (ast.Attribute, ast.Subscript)):
        node = node.value
    return node.id if isinstance(node, ast.Name) else ""


def changes_by_itself(value: Any) -> bool:
    if isinstance(value, types.ModuleType):
        return value.__name__ in CHANGING
    made_by = getattr(value, "__self__", None)
    home = getattr(value, "__module__", None) if callable(value) else None
    return isinstance(made_by, random.Random) or home in CHANGING or values.is_iterator(value)


def bound_names(tree: ast.Module) -> set[str]:
    """Names that a file binds, or would bind elsewhere, for all of its functions."""
    found = {name for n in ast.walk(tree) if isinstance(n, ast.Global) for name in n.names}
    left: list[ast.AST] = list(tree.body)
    while left:
        node = left.pop()
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
            found.add(node.name)
            continue
        if isinstance(node, (ast.Import, ast.ImportFrom)):
            found |= {(alias.asname or alias.name).split(".")[0] for alias in node.names}
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            found.add(node.id)
        left += ast.iter_child_nodes(node)
    return found
