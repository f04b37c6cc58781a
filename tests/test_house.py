"""Rules of the house: public names are unique, each has a way in, and a function fits on a screen.

A public name is a function or class whose name begins with no underscore, or any other name that another file imports.
It has a way in where another file of the package imports it, where it stands in the facade, where a decorator hands it to
somebody (a plug-in, a route), or where it is the type of something that a public function of its file takes or returns.
"""

from __future__ import annotations

import ast
from collections import defaultdict
from collections.abc import Iterator
from functools import cache

from test_floors import MODULES

import custodes

PROGRAMS = (".inside.", ".migrations.", ".integrations.")
"""Files that run elsewhere, or that other packages load: nothing here imports what they define."""
LONGEST = 70
"""Lines of a function."""
Definition = ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef

TREES = {
    name: ast.parse(path.read_text()) for name, path in MODULES.items() if not any(p in f".{name}." for p in PROGRAMS)
}


def defined(name: str) -> Iterator[tuple[str, ast.stmt]]:
    """Every top-level name of a module, private ones too, with its statement."""
    for node in TREES[name].body:
        if isinstance(node, Definition):
            yield node.name, node
        elif isinstance(node, ast.Assign | ast.AnnAssign):
            for target in node.targets if isinstance(node, ast.Assign) else [node.target]:
                yield from ((part.id, node) for part in ast.walk(target) if isinstance(part, ast.Name))


@cache
def home(module: str, name: str) -> tuple[str, str] | None:
    """(module, name) where a name that is imported from a module is defined, through packages that hand it on."""
    if module not in TREES:
        return None
    if name in dict(defined(module)):
        return module, name
    for node in TREES[module].body:
        if isinstance(node, ast.ImportFrom) and node.module and node.module != module:
            for alias in node.names:
                if (alias.asname or alias.name) == name:
                    return home(node.module, alias.name)
    return None


def users() -> dict[tuple[str, str], set[str]]:
    """(module, name) -> the other files that import it; a package's ``__init__`` only hands on."""
    found: dict[tuple[str, str], set[str]] = defaultdict(set)
    for user, tree in TREES.items():
        aliases: dict[str, str] = {}
        named: list[tuple[str, str]] = []
        for node in ast.walk(tree):
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("custodes"):
                for alias in node.names:
                    whole = f"{node.module}.{alias.name}"
                    if whole in MODULES:
                        aliases[alias.asname or alias.name] = whole
                    named.append((node.module or "", alias.name))
            elif isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id in aliases:
                named.append((aliases[node.value.id], node.attr))
        for module, name in named:
            place = home(module, name)
            if place is not None and place[0] != user and MODULES[user].name != "__init__.py":
                found[place].add(user)
    return found


USERS = users()
FACADE = {place for module, names in custodes.HOMES.items() for name in names if (place := home(module, name))}


def public(module: str) -> list[tuple[str, ast.stmt]]:
    return [
        (name, node)
        for name, node in defined(module)
        if not name.startswith("_") and (isinstance(node, Definition) or USERS[module, name])
    ]


def test_the_tree_is_read() -> None:
    assert "custodes.policy.rollout" in USERS["custodes.policy.advantages", "on_last_action"]
    assert "custodes.loop.quickstart" in USERS["custodes.lm.loading", "load"]  # through custodes.lm
    assert ("custodes.lm.loading", "load") in FACADE


def without_a_way_in() -> set[str]:
    """``module.name``, without the package's own, of every public function and class that nothing reaches."""
    found = set()
    for module in TREES:
        names = {name: node for name, node in public(module) if isinstance(node, Definition)}
        reached = {
            name for name, node in names.items() if USERS[module, name] or (module, name) in FACADE or handed_over(node)
        }
        while more := {t for name in reached for t in types_of(names[name])} & names.keys() - reached:
            reached |= more
        found |= {f"{module.partition('.')[2]}.{name}" for name in names.keys() - reached}
    return found


def handed_over(node: ast.stmt) -> bool:
    """Whether a decorator that is no mere property of the definition gets it."""
    mere = (
        "dataclass",
        "ranged",
        "contextmanager",
        "cache",
        "lru_cache",
        "runtime_checkable",
        "total_ordering",
        "no_grad",
    )
    return any(not any(word in ast.unparse(d) for word in mere) for d in getattr(node, "decorator_list", ()))


def types_of(node: Definition) -> set[str]:
    """Names in the annotations and bases of a definition: of arguments, of what is returned, of fields."""
    notes: list[ast.AST] = list(node.bases) if isinstance(node, ast.ClassDef) else []
    for part in ast.walk(node):
        if isinstance(part, ast.AnnAssign):
            notes.append(part.annotation)
        elif isinstance(part, ast.FunctionDef | ast.AsyncFunctionDef):
            arguments = [
                *part.args.posonlyargs,
                *part.args.args,
                *part.args.kwonlyargs,
                part.args.vararg,
                part.args.kwarg,
            ]
            notes += [a.annotation for a in arguments if a is not None and a.annotation is not None]
            notes += [part.returns] if part.returns is not None else []
    names = {part.id for note in notes for part in ast.walk(note) if isinstance(part, ast.Name)}
    quoted = {part.value for note in notes for part in ast.walk(note) if isinstance(part, ast.Constant)}
    return names | {word for word in quoted if isinstance(word, str)}


def twice() -> dict[str, set[str]]:
    """Public names that several files define, and which files."""
    found: dict[str, set[str]] = defaultdict(set)
    for module in TREES:
        for name, node in public(module):
            if USERS[module, name] or not handed_over(
                node
            ):  # who only is an address or a plug-in is never called by its name
                found[name].add(module)
    return {name: modules for name, modules in found.items() if len(modules) > 1}


def test_every_public_name_has_a_way_in() -> None:
    lost = sorted(without_a_way_in())
    assert not lost, f"nothing reaches {', '.join(lost)}: make it private, delete it, or use it"


def test_public_names_are_unique() -> None:
    shared = twice()
    assert not shared, "\n".join(
        f"{name} is public in {' and '.join(sorted(shared[name]))}: rename one" for name in shared
    )


def test_a_function_fits_on_a_screen() -> None:
    long = {
        f"{module}.{part.name}": lines
        for module, tree in TREES.items()
        for part in ast.walk(tree)
        if isinstance(part, ast.FunctionDef | ast.AsyncFunctionDef)
        and (lines := (part.end_lineno or part.lineno) - part.lineno + 1) > LONGEST
    }
    assert not long, f"longer than {LONGEST} lines, decorators apart: {long}"
