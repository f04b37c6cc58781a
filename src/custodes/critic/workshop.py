"""A sandbox in which a package's tests run: the package, the programs that drive them, and what those need."""

from __future__ import annotations

import json
import platform
import sysconfig
from collections.abc import Mapping, Sequence
from functools import partial
from importlib import resources
from pathlib import Path
from typing import Any, Self

from custodes.critic.sources import (
    STDLIB,
    TEST_TOOLS,
    Package,
    is_library,
    library_of_host,
    open_package,
    tests_of_standard_library,
)
from custodes.environments.sandbox import Kind, Limits, Sandbox, SandboxFailure, open_sandbox
from custodes.types import InputError

LIMITS = Limits(
    seconds=600, memory_mb=4096, disk_mb=512, file_mb=64, output_bytes=1 << 26, processes=64, open_files=512
)
PIECE = 1 << 19  # bytes of a job that one command can carry
READ_LIBRARY = """
import json, os, platform, sysconfig
root, found = sysconfig.get_paths()['stdlib'], {}
for folder, _, names in os.walk(root):
    for name in names:
        path = os.path.join(folder, name)
        if name.endswith('.py') and os.path.isfile(path):
            found[os.path.relpath(path, root)] = open(path, encoding='utf-8', errors='replace').read()
print(json.dumps([root, platform.python_version(), found]))
"""


class Workshop:
    """A sandbox with a package in it; a context manager. Start one for many jobs: the first compiles the package."""

    def __init__(
        self,
        package: Package,
        files: Mapping[str, bytes | str] | None = None,
        kind: Kind = "auto",
        tools: Sequence[str] = TEST_TOOLS,
        limits: Limits = LIMITS,
    ) -> None:
        """``files`` are put into the home besides, and ``tools``, packages as they are installed here, into its library.

        Raises InputError where no sandbox works, or where a tool is not installed.
        """
        self.package = package
        inside = resources.files("custodes.critic") / "inside"
        programs = {f"inside/{p.name}": p.read_bytes() for p in inside.iterdir() if p.name.endswith(".py")}
        contents: dict[str, bytes | str] = {f"src/{path}": content for path, content in package.files.items()}
        contents |= {f"lib/{path}": content for path, content in package.extra.items()}
        contents |= {**library_of_host(tools), **programs, **(files or {}), "pytest.ini": b"[pytest]\n"}
        self._open = partial(open_sandbox, contents, limits=limits, kind=kind)
        self._sandbox: Sandbox | None = self._started()

    def do(self, program: str, job: Any, seconds: float = 600.0) -> Any:
        """What ``inside/PROGRAM.py`` answers. Raises SandboxFailure where it does not; the next job gets a new sandbox."""
        sandbox = self._sandbox = self._sandbox or self._started()
        text = json.dumps(job)
        try:
            for at in range(0, len(text), PIECE):
                arrow = ">>" if at else ">"
                piece = text[at : at + PIECE]  # one line, whose end the shell adds and head takes away
                sandbox.run(f"head -c -1 {arrow} ~/job.json <<'END OF THE JOB'\n{piece}\nEND OF THE JOB")
            done = sandbox.run(f"python3 ~/inside/{program}.py ~/job.json < /dev/null", seconds)
            return json.loads(done.stdout)
        except ValueError:
            self.close()
            said = (done.stderr.strip().splitlines() or [f"exit code {done.returncode}"])[-1]
            raise SandboxFailure(f"running {self.package.name} failed: {said[:300]}") from None
        except SandboxFailure:
            self.close()
            raise

    def _started(self) -> Sandbox:
        sandbox = self._open()
        sandbox.run("unset PYTHONDONTWRITEBYTECODE; export PYTHONHASHSEED=0 OMP_NUM_THREADS=1 PYTHONPATH=~/lib")
        return sandbox

    def close(self) -> None:
        if self._sandbox is not None:
            self._sandbox.close()
            self._sandbox = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()


def package_named(name: str, kind: Kind = "auto") -> Package:
    """Any package of the corpus; of the standard library the sandbox's own, with the tests of the Python that runs here.

    Raises InputError where the package cannot be fetched. Of the standard library also where the two Pythons are of
    different versions (3.x), or where this Python came without its tests.
    """
    if name != STDLIB:
        return open_package(name)
    with open_sandbox({"read.py": READ_LIBRARY}, limits=LIMITS, kind=kind) as sandbox:
        root, version, texts = json.loads(sandbox.run("python3 read.py").stdout)
    tests, folder = tests_of_standard_library(), Path(sysconfig.get_paths()["stdlib"])
    same = version.split(".")[:2] == platform.python_version().split(".")[:2]
    if not same or not tests:
        why = f"{folder}/test is not there" if same else f"the sandbox's is {version}"
        need = f"{STDLIB} needs the test suite of the sandbox's own version of Python"
        raise InputError(f"{need}, and {why}; leave it out.")
    licence = folder / "LICENSE.txt"
    text = licence.read_text() if licence.exists() else "https://docs.python.org/3/license.html"
    sources = {path: content.encode() for path, content in texts.items() if is_library(path)}
    about = (STDLIB, version, "PSF-2.0", text, f"CPython {version}")
    return Package(*about, files=tests, sources=sources, root=root, imports=("test.support",))
