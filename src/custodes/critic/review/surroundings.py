"""What reviewed files need in order to be loaded in a sandbox: their package or neighbours, and installed packages."""

from __future__ import annotations

import ast
import os
import re
import sys
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from custodes.critic.review.snippets import parsed_python
from custodes.environments.sandbox.base import HOME

CODE = "code"
"""Folder of the sandbox's home that holds the reviewed files."""
LARGEST_FILE = 1 << 20  # bytes of a file that is no Python
LARGEST_PACKAGE, LARGEST = 60 << 20, 160 << 20  # bytes of one installed package, and of all
TAKEN = (
    ".py",
    ".pyi",
    ".so",
    ".json",
    ".txt",
    ".toml",
    ".yaml",
    ".yml",
    ".cfg",
    ".ini",
    ".csv",
    ".typed",
    ".dat",
    ".tab",
)


@dataclass(frozen=True, slots=True)
class Placed:
    """A reviewed file in the sandbox: ``path`` below :data:`CODE`, its module's ``name``, and the ``root`` to import from.

    ``alone``: it is in no package.
    """

    file: str
    path: str
    name: str
    root: str
    alone: bool

    @property
    def inside(self) -> dict[str, Any]:
        """What a program in the sandbox is told of the module."""
        stem = Path(self.path).stem
        written = stem if self.alone and "." not in stem and self.file != "-" else self.name
        place = {"path": f"{HOME}/{self.path}", "name": self.name, "alone": self.alone, "root": f"{HOME}/{self.root}"}
        return {**place, "import": written}


def place_files(texts: Mapping[str, str]) -> tuple[list[Placed], dict[str, bytes]]:
    """Where each reviewed file stands in the sandbox, and what is put there: contents by path below the home.

    ``texts`` are the reviewed files as they were read, which an editor may hold in another state than the disk, and tests.
    """
    placed: list[Placed] = []
    contents: dict[str, bytes] = {}
    roots: dict[Path, str] = {}
    for file, text in texts.items():
        place, root = _place(file, roots)
        placed.append(place)
        if root is not None and not place.alone:
            top = root / place.name.split(".")[0]
            if f"{place.root}/{top.name}/__init__.py" not in contents:
                contents |= {f"{place.root}/{top.name}/{k}": v for k, v in _contents_of(top)}
        elif root is not None:
            contents |= {f"{place.root}/{k}": v for k, v in _neighbours(root, text, Path(file).name)}
            if (root / "conftest.py").is_file():
                contents[f"{place.root}/conftest.py"] = (root / "conftest.py").read_bytes()
    contents |= {p.path: texts[p.file].encode("utf-8", "surrogateescape") for p in placed}
    own = {p.name.split(".")[0] for p in placed}
    return placed, contents | _installed(_imports(contents), own)


def _place(file: str, roots: dict[Path, str]) -> tuple[Placed, Path | None]:
    if file == "-":
        return Placed(file, f"{CODE}/stdin/reviewed.py", "reviewed", f"{CODE}/stdin", True), None
    path = Path(os.path.realpath(file))
    root = path.parent
    while (root / "__init__.py").is_file() and root != root.parent:
        root = root.parent
    below = roots.setdefault(root, f"{CODE}/{len(roots)}")
    inside = path.relative_to(root)
    parts = [*inside.parts[:-1], inside.stem]
    alone = len(parts) == 1
    name = ".".join(parts[:-1] if parts[-1] == "__init__" and not alone else parts)
    if alone:
        name = re.sub(r"\W|^(?=\d)", "_", name)
    return Placed(file, f"{below}/{inside.as_posix()}", name, below, alone), root


def _contents_of(folder: Path) -> Iterator[tuple[str, bytes]]:
    """The files of a package, without what is hidden, compiled by Python or large."""
    for path in sorted(folder.rglob("*")):
        inside = path.relative_to(folder)
        skipped = any(part.startswith(".") or part == "__pycache__" for part in inside.parts)
        if skipped or not path.is_file() or not (path.suffix in TAKEN or ".so." in path.name):
            continue
        if path.suffix in (".py", ".so") or ".so." in path.name or path.stat().st_size <= LARGEST_FILE:
            try:
                yield inside.as_posix(), path.read_bytes()
            except OSError:
                continue


def _neighbours(folder: Path, text: str, own: str) -> Iterator[tuple[str, bytes]]:
    """Modules and packages beside a file that it imports, and those that they import."""
    seen, left = {own}, [text]
    while left:
        for name in _imported(left.pop()) - sys.stdlib_module_names:
            module, package = folder / f"{name}.py", folder / name
            if module.name not in seen and module.is_file():
                seen.add(module.name)
                content = module.read_bytes()
                left.append(content.decode("utf-8", "replace"))
                yield module.name, content
            elif name not in seen and (package / "__init__.py").is_file():
                seen.add(name)
                yield from ((f"{name}/{inside}", content) for inside, content in _contents_of(package))


def _imports(contents: Mapping[str, bytes]) -> set[str]:
    return {
        n for path, data in contents.items() if path.endswith(".py") for n in _imported(data.decode("utf-8", "replace"))
    }


def _imported(text: str) -> set[str]:
    """Top-level names that a module imports when it is loaded, or in its functions."""
    tree = parsed_python(text.split("\n"))
    found: set[str] = set()
    for node in ast.walk(tree) if isinstance(tree, ast.Module) else ():
        if isinstance(node, ast.Import):
            found |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            found.add(node.module.split(".")[0])
    return found


def _installed(names: Iterable[str], own: set[str]) -> dict[str, bytes]:
    """Installed packages of these names, and those that they need, as far as they are not too large: path in lib -> content."""
    folders = _site_folders()
    found: dict[str, bytes] = {}
    seen, left, total = set(own) | set(sys.stdlib_module_names), sorted(names), 0
    while left:
        name = left.pop(0)
        if name in seen:
            continue
        seen.add(name)
        for folder in folders:
            files = _package_files(folder, name)
            size = sum(len(content) for content in files.values())
            if files and size <= LARGEST_PACKAGE and total + size <= LARGEST:
                total += size
                found |= {f"lib/{path}": content for path, content in files.items()}
                left += sorted(_imports({p: c for p, c in files.items() if p.count("/") <= 1}) - seen)
            if files:
                break
    return found


def _site_folders() -> list[Path]:
    """Where packages are installed: of an active virtual environment, then of this Python."""
    active = os.environ.get("VIRTUAL_ENV")
    theirs = sorted(Path(active).glob("lib/python*/site-packages")) if active else []
    ours = [Path(p) for p in sys.path if p.endswith(("site-packages", "dist-packages"))]
    return list(dict.fromkeys(p for p in [*theirs, *ours] if p.is_dir()))


def _package_files(folder: Path, name: str) -> dict[str, bytes]:
    """The files of an installed module or package, with the libraries that some bring beside them."""
    module = folder / f"{name}.py"
    if module.is_file():
        return {module.name: module.read_bytes()}
    found: dict[str, bytes] = {}
    size = 0
    for part in (folder / name, folder / f"{name}.libs"):
        if part.is_dir():
            for inside, content in _contents_of(part):
                found[f"{part.name}/{inside}"] = content
                size += len(content)
                if size > LARGEST_PACKAGE:
                    return {}
    if not found:
        found = {path.name: path.read_bytes() for path in folder.glob(f"{name}.*.so")}
    return found
