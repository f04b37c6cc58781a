"""A living function, what is known of it, and inputs for it: also of methods, on instances from their class's constructor."""

from __future__ import annotations

import ast
import functools
import inspect
import sys
import typing
from dataclasses import dataclass
from typing import Any

import calls
import effects
import inputs
import values
from gathering import source_calls
from hypothesis import strategies as st
from inputs import Call, NoInputs
from judging import Verdict
from subject import Instance, Invoker, Subject, literal_calls


@dataclass
class Found:
    """A function as it lives in its module. ``raw`` is what stands in its class (or module), ``owner`` the class or None."""

    body: Any
    raw: Any
    owner: Any


def living(module: Any, qualname: str) -> Found | None:
    """None where it is not there after loading, or is no function any more."""
    *path, name = qualname.split(".")
    owner: Any = module
    for part in path:
        owner = vars(owner).get(part) if hasattr(owner, "__dict__") else None
        if owner is None:
            return None
    raw = vars(owner).get(name)
    inner = getattr(raw, "__func__", None) or getattr(raw, "fget", None) or getattr(raw, "func", None) or raw
    return Found(inner, raw, None if owner is module else owner) if callable(inner) else None


PYTHONS_OWN = {
    "__init__", "__new__", "__del__", "__post_init__", "__init_subclass__", "__class_getitem__", "__set_name__", "__prepare__",
    "__getattr__", "__getattribute__", "__setattr__", "__delattr__", "__dir__", "__get__", "__set__", "__delete__", "__enter__",
    "__exit__", "__aenter__", "__aexit__", "__await__", "__reduce__", "__reduce_ex__", "__getstate__", "__setstate__", "__copy__",
    "__deepcopy__", "__sizeof__", "__instancecheck__", "__subclasscheck__", "__subclasshook__", "__call__",
}  # fmt: skip
"""Special methods whose call by name says little of how they are used."""


def why_not(found: Found, node: Any) -> str:
    """Why a function cannot be called with inputs that are made up; "" where it can."""
    name = node.name
    if all(
        isinstance(s, ast.Pass) or (isinstance(s, ast.Expr) and isinstance(s.value, ast.Constant)) for s in node.body
    ):
        return "it has no body: others write it"
    if inspect.isasyncgenfunction(found.body):
        return "it is an asynchronous generator, and no example runs it"
    if found.owner is None or isinstance(found.raw, staticmethod):
        return ""
    if name in PYTHONS_OWN:
        return "it is a special method that Python calls in its own ways, and no example shows it"
    if len(node.args.args) == 0:
        return "it takes no object"
    if inspect.isabstract(found.owner):
        return "its class is abstract"
    return ""


def subject_of(
    found: Found,
    qualname: str,
    node: Any,
    text: str,
    tree: ast.Module,
    watch: calls.Watch,
    file: Any,
    verdicts: list[Verdict],
) -> Subject | None:
    """None where its signature cannot be told."""
    instance = found.owner is not None and not isinstance(found.raw, (staticmethod, classmethod))
    body = getattr(found.owner, node.name) if isinstance(found.raw, classmethod) else found.body
    try:
        signature = inspect.signature(body)
    except (TypeError, ValueError):
        return None
    if instance:
        signature = signature.replace(parameters=list(signature.parameters.values())[1:])
    source = "\n".join(text.split("\n")[node.lineno - 1 : node.end_lineno])
    module = vars(sys.modules[file["name"]])
    return Subject(
        name=node.name,
        doc=ast.get_docstring(node) or "",
        source=without_docstring(source, node),
        signature=signature,
        hints=hints_of(body),
        invoke=Invoker(on_instance(body) if instance else body, watch, file["path"]),
        first=node.lineno,
        called=node.name if instance or found.owner is None else qualname,
        method=found.owner is not None,
        instances=instance,
        attribute=isinstance(found.raw, (property, functools.cached_property)),
        awaited=isinstance(node, ast.AsyncFunctionDef),
        changed=not all(effects.keeps_results(d) for d in node.decorator_list),
        effects=effects.has_effects(node, tree, module),
        bound=effects.bound_names(tree),
        documented=documented_values(node.name, verdicts),
        neighbours={k: v for k, v in module.items() if callable(v)} if found.owner is None else {},
    )


def hints_of(body: Any) -> dict[str, Any]:
    try:
        return typing.get_type_hints(body)
    except Exception:
        return {}


def on_instance(body: Any) -> Any:
    return lambda instance, *args, **kwargs: body(instance.make(), *args, **kwargs)


def documented_values(name: str, verdicts: list[Verdict]) -> list[tuple[Call, Any]]:
    """Calls of which examples say what they give."""
    return [
        (call, v.value)
        for v in verdicts
        if v.value is not values.Unreadable and v.example.source.strip().startswith(f"{name}(")
        for call in source_calls([v.example.source], name)[:1]
    ]


def without_docstring(source: str, node: Any) -> str:
    """The source with the lines of its docstring blanked."""
    first, rows = node.body[0], source.split("\n")
    if ast.get_docstring(node) is not None:
        for n in range(first.lineno - node.lineno, (first.end_lineno or first.lineno) - node.lineno + 1):
            rows[n] = "" if n else rows[n]
    return "\n".join(rows)


def inputs_for(
    subject: Subject, found: Found, qualname: str, sources: list[str], trees: list[ast.Module]
) -> tuple[Any, bool]:
    """A strategy for calls, and whether it is like calls that were seen. Raises NoInputs."""
    strategy, origin = inputs.calls_like(subject.signature, subject.hints, seen_calls(subject.name, sources, trees))
    if found.owner is None or isinstance(found.raw, (staticmethod, classmethod)):
        return strategy, origin == "calls"
    kind, name = found.owner, qualname.rpartition(".")[0]
    try:
        signature = inspect.signature(kind)
    except (TypeError, ValueError):
        raise NoInputs(f"nothing says how a {name} is made") from None
    made = seen_calls(name.split(".")[-1], sources, trees)
    constructor, _ = inputs.calls_like(signature, hints_of(kind.__init__), made)
    both = st.tuples(constructor, strategy)
    return both.map(
        lambda pair: ((Instance(kind, name, pair[0]), *pair[1][0]), pair[1][1])
    ), origin == "calls" and bool(made)


def seen_calls(name: str, sources: list[str], trees: list[ast.Module]) -> list[Call]:
    """Calls in examples, in the file itself and in tests."""
    return [*source_calls(sources, name), *(call for tree in trees for call in literal_calls(tree, name))]
