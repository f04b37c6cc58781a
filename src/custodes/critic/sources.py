"""Where the corpus comes from: source packages of the package index, fetched by pip, and the standard library.

Each package is laid out as a folder of texts from which its tests run: the import package and its tests, nothing else.
"""

from __future__ import annotations

import hashlib
import re
import subprocess
import sys
import sysconfig
import tarfile
import zipfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from email.parser import HeaderParser
from importlib import metadata
from pathlib import Path

from custodes.lm.cache import cache_folder
from custodes.types import InputError

LICENCE_FILE = re.compile(r"[^/]+/(LICEN[CS]E|COPYING)[^/]*|[^/]+\.dist-info/(licenses/)?LICENSE[^/]*", re.IGNORECASE)
TESTS = re.compile(r"(^|/)(test_[^/]+|[^/]+_test)\.py$")
STDLIB = "python-stdlib"
TEST_TOOLS = ("pytest", "pluggy", "iniconfig", "packaging", "pygments", "coverage")
"""What tests are run with: pytest, coverage and what they need."""
NOT_LIBRARY = ("test", "idlelib", "lib2to3", "site-packages", "dist-packages", "tkinter", "turtledemo", "ensurepip")


@dataclass(frozen=True, slots=True)
class _Source:
    """A package of the index. ``top`` lists the folders that are kept of it; ``share`` of its test files is run."""

    version: str
    top: tuple[str, ...]
    wheel: bool = False
    share: float = 1.0
    needs: tuple[str, ...] = ()


SOURCES: dict[str, _Source] = {
    "algorithms": _Source("1.0.1", ("algorithms", "tests")),
    "more-itertools": _Source("11.2.1", ("more_itertools", "tests")),
    "toolz": _Source("1.0.0", ("toolz", "tlz")),
    "boltons": _Source("26.2.0", ("boltons", "tests")),
    "networkx": _Source("3.6.1", ("networkx",)),
    "sympy": _Source("1.14.0", ("sympy",), share=0.15, needs=("mpmath",)),
}
NEEDED: dict[str, _Source] = {"mpmath": _Source("1.3.0", ("mpmath",), wheel=True)}
PACKAGES = (*SOURCES, STDLIB)


@dataclass(frozen=True, slots=True)
class Package:
    """The texts of a package: ``files``, path -> content, are put into a sandbox as its tests expect them."""

    name: str
    version: str
    licence: str
    licence_text: str
    origin: str
    files: dict[str, bytes] = field(repr=False)
    sources: dict[str, bytes] = field(repr=False)  # below ``root``: what functions are taken from
    root: str = "/home/user/src"
    imports: tuple[str, ...] = ()
    extra: dict[str, bytes] = field(default_factory=dict, repr=False)  # what it needs, beside it

    @property
    def tests(self) -> list[str]:
        return sorted(path for path in self.files if TESTS.search(path))


def open_package(name: str, version: str = "") -> Package:
    """A package of :data:`PACKAGES` but the standard library. Raises InputError where it cannot be fetched.

    Another ``version`` comes from its wheel, which has no tests and need not be built.
    """
    if name not in SOURCES:
        raise InputError(f"no package {name!r} in the corpus; there are {', '.join(PACKAGES)}.")
    source = replace(SOURCES[name], version=version, wheel=True) if version else SOURCES[name]
    archive = _fetch(name, source)
    licence, text = _licence(archive)
    extra: dict[str, bytes] = {}
    for needed in source.needs:
        extra |= _python_of(_fetch(needed, NEEDED[needed]), NEEDED[needed].top)
    files = _python_of(archive, source.top)
    about = (name, source.version, licence, text, _origin(archive))
    return Package(*about, files, _sources_of(files), imports=(source.top[0],), extra=extra)


def _fetch(name: str, source: _Source) -> Path:
    """The archive in the cache, downloaded by pip where it is not there yet. Raises InputError."""
    folder = cache_folder() / "corpus" / f"{name}-{source.version}"
    if found := [*folder.glob("*.whl"), *folder.glob("*.tar.gz")]:
        return found[0]
    folder.mkdir(parents=True, exist_ok=True)
    kind = f"--only-binary={name}" if source.wheel else f"--no-binary={name}"
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--disable-pip-version-check", kind]
    done = subprocess.run([*command, f"--dest={folder}", f"{name}=={source.version}"], capture_output=True, text=True)
    if done.returncode or not (found := [*folder.glob("*.whl"), *folder.glob("*.tar.gz")]):
        errors = [line for line in done.stderr.splitlines() if line.startswith("ERROR")] or ["pip said nothing"]
        why = f"could not be fetched from the package index ({errors[-1].removeprefix('ERROR: ')})"
        do = "connect this machine to one, or leave the package out with --packages"
        raise InputError(f"{name} {source.version} {why}; {do}.")
    return found[0]


def library_of_host(tools: Sequence[str]) -> dict[str, bytes]:
    """Packages as they are installed here: they run inside beside the code.

    Where Python is of the same version inside, it finds them compiled. Raises InputError for one that is not installed.
    """
    files: dict[str, bytes] = {}
    for name in tools:
        try:
            for path in metadata.files(name) or []:
                if path.suffix in (".py", ".so", ".pyc") and not str(path).startswith(".."):
                    content = Path(str(path.locate())).read_bytes()
                    if path.suffix == ".pyc":  # to be taken as it is, whatever the time of its source file (PEP 552)
                        content = content[:4] + (1).to_bytes(4, "little") + bytes(8) + content[16:]
                    files[f"lib/{path}"] = content
        except metadata.PackageNotFoundError:
            install = "which is not installed: pip install 'custodes[critic]'"
            raise InputError(f"running code in a sandbox needs {name}, {install}.") from None
    return files


def tests_of_standard_library() -> dict[str, bytes]:
    """The test suite of this Python's standard library. Empty where the installation has none."""
    folder = Path(sysconfig.get_paths()["stdlib"]) / "test"
    files = {}
    for path in sorted(folder.rglob("*")) if (folder / "test_heapq.py").exists() else []:
        inside = path.relative_to(folder.parent).as_posix()
        if path.is_file() and "__pycache__" not in inside and path.stat().st_size < 1 << 20:
            files[inside] = path.read_bytes()
    return files


def _sources_of(files: dict[str, bytes]) -> dict[str, bytes]:
    """The Python files that are no tests."""
    own = (path for path in files if path.endswith(".py") and not path.startswith("tlz/") and not TESTS.search(path))
    return {path: files[path] for path in own if not {"tests", "conftest.py"} & set(path.split("/"))}


def is_library(path: str) -> bool:
    """Whether a path below the standard library's folder is part of what the corpus takes."""
    parts = path.split("/")
    return path.endswith(".py") and parts[0] not in NOT_LIBRARY and "tests" not in parts[:-1]


def module_of(path: str) -> str:
    """``networkx/utils/misc.py`` -> ``networkx.utils.misc``."""
    return path.removesuffix(".py").removesuffix("/__init__").replace("/", ".")


# ---------------------------------------------------------------- archives


def _members(archive: Path) -> Iterator[tuple[str, Callable[[], bytes]]]:
    """Names without the folder that a source archive begins with, and their contents."""
    if archive.suffix == ".whl":
        with zipfile.ZipFile(archive) as wheel:
            for name in wheel.namelist():
                yield name, lambda name=name: wheel.read(name)  # type: ignore[misc]
        return
    with tarfile.open(archive) as tar:
        for member in tar:
            handle = tar.extractfile(member) if member.isfile() else None
            if handle is not None:
                yield member.name.split("/", 1)[-1], handle.read


def _python_of(archive: Path, top: tuple[str, ...]) -> dict[str, bytes]:
    """Everything below the folders ``top`` that is neither compiled nor large."""
    found = {}
    for name, read in _members(archive):
        if name.split("/")[0] in top and not name.endswith((".pyc", ".so", "/")):
            content = read()
            if len(content) < 1 << 20 or name.endswith(".py"):
                found[name] = content
    return found


def _licence(archive: Path) -> tuple[str, str]:
    """Its name as the metadata give it, and its text."""
    named, text = "", ""
    for name, read in _members(archive):
        if name.endswith(("PKG-INFO", ".dist-info/METADATA")) and not named:
            headers = HeaderParser().parsestr(read().decode("utf-8", "replace"))
            classified = [c.split(" :: ")[-1] for c in headers.get_all("Classifier", []) if c.startswith("License")]
            named = headers.get("License-Expression") or (classified or [headers.get("License", "")])[0]
            named = named.strip().splitlines()[0] if named.strip() else ""
        if LICENCE_FILE.fullmatch(f"x/{name}") and not text:
            text = read().decode("utf-8", "replace")
    return named or "see the text", text


def _origin(archive: Path) -> str:
    return f"{archive.name} sha256:{hashlib.sha256(archive.read_bytes()).hexdigest()}"
