"""Builds and binds the compiled steps: single passes between matrix products, and attention.

The library is compiled once per machine and source version with the C compiler that is there, and
kept in the cache folder under the hash of its own bytes: a damaged one is built again. Where there is no
compiler, or it fails, :func:`native` says so once and returns None, and torch does the same steps
(``steps.py``, ``decode.py``): the same results up to rounding, only slower.
"""

from __future__ import annotations

import ctypes
import functools
import hashlib
import os
import platform
import shutil
import subprocess
import sys
import tempfile
import warnings
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from custodes.files import move_into_place
from custodes.lm.cache import cache_folder

SOURCES = tuple(Path(__file__).with_name(name) for name in ("kernels.c", "packed_attention.c"))
HEADER = Path(__file__).with_name("elements.h")
# No -ffast-math: linking with it would make the whole process flush subnormal numbers to zero.
FLAGS = (
    "-O3",
    "-shared",
    "-fPIC",
    "-funroll-loops",
    "-fno-math-errno",
    "-fassociative-math",
    "-fno-signed-zeros",
    "-fno-trapping-math",
    "-freciprocal-math",
)

TUNING = ("-march=native",) if platform.machine() == "x86_64" else ()

DEFINES: dict[torch.dtype, tuple[str, ...]] = {torch.bfloat16: (), torch.float32: ("-DELEMENT_FLOAT32",)}
"""Types of tensors that there are compiled steps for, and how ``elements.h`` is told."""

HEAD_MULTIPLE = 32
"""Compiled attention takes head dimensions that are multiples of this: two AVX-512 registers of float32."""


class Native:
    """The compiled steps on CPU tensors of one type; see the C sources for what each does."""

    def __init__(self, library: ctypes.CDLL, dtype: torch.dtype) -> None:
        self._library, self.dtype = library, dtype

    def add_norm(self, x: Tensor, delta: Tensor | None, weight: Tensor, out: Tensor, eps: float) -> None:
        B, d = x.shape
        self._library.add_norm(_p(x), _p(delta), _p(weight), _p(out), _i(B), _i(d), _f(eps), torch.get_num_threads())

    def norm(self, x: Tensor, weight: Tensor, out: Tensor, scale: Tensor, eps: float) -> None:
        sizes = (_i(x.shape[0]), _i(x.shape[1]), _i(x.stride(0)))
        self._library.norm(_p(x), _p(weight), _p(out), _p(scale), *sizes, _f(eps), torch.get_num_threads())

    def norm_backward(self, d_out: Tensor, x: Tensor, weight: Tensor, scale: Tensor, d_x: Tensor) -> None:
        pointers = [_p(t) for t in (d_out, x, weight, scale, d_x)]
        sizes = (_i(x.shape[0]), _i(x.shape[1]), _i(x.stride(0)))
        self._library.norm_backward(*pointers, *sizes, torch.get_num_threads())

    def rotate(self, x: Tensor, cos: Tensor, sin: Tensor, out: Tensor, sign: float) -> None:
        pointers, sizes = [_p(t) for t in (x, cos, sin, out)], [_i(n) for n in (*x.shape, x.stride(0))]
        self._library.rotate(*pointers, *sizes, _f(sign), torch.get_num_threads())

    def swiglu(self, gate_up: Tensor, out: Tensor) -> None:
        B, inner = out.shape
        self._library.swiglu(_p(gate_up), _p(out), _i(B), _i(inner), torch.get_num_threads())

    def swiglu_backward(self, d_out: Tensor, gate_up: Tensor, d_gate_up: Tensor) -> None:
        B, inner = d_out.shape
        pointers = (_p(d_out), _p(gate_up), _p(d_gate_up))
        self._library.swiglu_backward(*pointers, _i(B), _i(inner), torch.get_num_threads())

    def rotate_attend(
        self, qkv: Tensor, cos: Tensor, sin: Tensor, norms: tuple[Tensor | None, Tensor | None], eps: float,
        caches: tuple[Tensor, Tensor, Tensor, Tensor], places: tuple[Tensor, Tensor, Tensor], out: Tensor, heads: int,
    ) -> None:  # fmt: skip
        """``caches``: prompt keys, prompt values, keys, values; ``places``: groups, prompt lengths, positions."""
        B, (P, (_, G, T, D)) = len(qkv), (caches[1].shape[2], caches[3].shape)
        inputs = [_p(t) for t in (qkv, cos, sin, *norms)]
        outputs = [_p(t) for t in (*caches, *places, out)]
        sizes = [_i(n) for n in (B, heads, G, D, P, T)]
        self._library.rotate_attend(*inputs, _f(eps), *outputs, *sizes, _f(D**-0.5), torch.get_num_threads())

    def paged_attend(
        self, qkv: Tensor, cos: Tensor, sin: Tensor, norms: tuple[Tensor | None, Tensor | None], eps: float,
        pages: tuple[Tensor, Tensor], places: tuple[Tensor, Tensor, Tensor], out: Tensor, heads: int,
    ) -> None:  # fmt: skip
        """``pages``: a layer's keys and values; ``places``: tables of pages, row of each token, its position."""
        N, M, (_, G, _, D) = len(qkv), places[0].shape[1], pages[1].shape
        inputs = [_p(t) for t in (qkv, cos, sin, *norms)]
        outputs = [_p(t) for t in (*pages, *places, out)]
        sizes = [_i(n) for n in (N, heads, G, D, M)]
        self._library.paged_attend(*inputs, _f(eps), *outputs, *sizes, _f(D**-0.5), torch.get_num_threads())

    def packed_attend(self, q: Tensor, k: Tensor, v: Tensor, starts: Tensor, groups: Tensor) -> tuple[Tensor, Tensor]:
        """Mixed values (N, H, D) and the normaliser (N, H) float32 that the backward pass takes. Raises ``MemoryError``."""
        out, normaliser = q.new_empty(q.shape), torch.empty(q.shape[:2])
        pointers = [_p(t) for t in (q, k, v, out, normaliser, starts, groups)]
        self._whole(self._library.packed_attend(*pointers, *self._packed_sizes(q, k, v, groups)))
        return out, normaliser

    def packed_attend_backward(
        self, d_out: Tensor, q: Tensor, k: Tensor, v: Tensor, out: Tensor, normaliser: Tensor, starts: Tensor, groups: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:  # fmt: skip
        """Gradients of q, k and v, all contiguous. Raises ``MemoryError``."""
        grads = q.new_empty(q.shape), k.new_empty(k.shape), v.new_empty(v.shape)
        pointers = [_p(t) for t in (d_out, q, k, v, out, normaliser, *grads, starts, groups)]
        self._whole(self._library.packed_attend_backward(*pointers, *self._packed_sizes(q, k, v, groups)))
        return grads

    @staticmethod
    def _packed_sizes(q: Tensor, k: Tensor, v: Tensor, groups: Tensor) -> tuple[Any, ...]:
        (_, H, D), G = q.shape, k.shape[1]
        sizes = (len(groups) - 1, q.stride(0), k.stride(0), v.stride(0), H, G, D)
        return *map(_i, sizes), _f(D**-0.5), torch.get_num_threads()

    @staticmethod
    def _whole(failed: int) -> None:
        if failed:
            raise MemoryError("attention over packed rows found no memory to work in.")

    def draw(self, logits: Tensor, uniform: Tensor, temperature: float, tokens: Tensor, logprobs: Tensor) -> None:
        B, V = logits.shape
        pointers = (_p(tokens), _p(logprobs))
        self._library.draw(_p(logits), _p(uniform), _f(temperature), *pointers, _i(B), _i(V), torch.get_num_threads())

    def logprobs(
        self, logits: Tensor, targets: Tensor, temperature: float, normaliser: Tensor, logprobs: Tensor,
        entropies: Tensor | None,
    ) -> None:  # fmt: skip
        M, V = logits.shape
        outputs = [_p(t) for t in (normaliser, logprobs, entropies)]
        self._library.logprobs(
            _p(logits), _p(targets), _f(temperature), *outputs, _i(M), _i(V), torch.get_num_threads()
        )

    def logprobs_backward(
        self, logits: Tensor, targets: Tensor, temperature: float, normaliser: Tensor, entropies: Tensor | None,
        d_logprobs: Tensor, d_entropies: Tensor | None,
    ) -> None:  # fmt: skip
        M, V = logits.shape
        given = [_p(t) for t in (normaliser, entropies, d_logprobs, d_entropies)]
        sizes = (_i(M), _i(V), torch.get_num_threads())
        self._library.logprobs_backward(_p(logits), _p(targets), _f(temperature), *given, *sizes)


_i, _f = ctypes.c_int64, ctypes.c_float


def _p(tensor: Tensor | None) -> ctypes.c_void_p:
    return ctypes.c_void_p(0 if tensor is None else tensor.data_ptr())


@functools.cache
def native(dtype: torch.dtype) -> Native | None:
    """The compiled steps for tensors of ``dtype``, or None where they cannot be had, which is said once in a warning.

    ``CUSTODES_NATIVE=0`` turns them off.
    """
    if os.environ.get("CUSTODES_NATIVE") == "0" or dtype not in DEFINES:
        return None
    compiler = _compiler()
    if compiler is None:
        return None
    common, why = (*FLAGS, *DEFINES[dtype], *TUNING), ""
    for flags in ((*common, "-fopenmp"), common):  # Apple's clang has no OpenMP
        try:
            return Native(ctypes.CDLL(str(_built(compiler, flags))), dtype)
        except subprocess.CalledProcessError as error:
            why = (error.stderr.decode(errors="replace").strip().splitlines() or [f"exit code {error.returncode}"])[0]
        except (OSError, subprocess.TimeoutExpired) as error:
            why = str(error)
    _say_slow(f"{compiler} could not build the compiled steps ({why})")
    return None


@functools.cache
def _compiler() -> str | None:
    """A C compiler; None, said once, where there is none."""
    found = shutil.which(os.environ.get("CC", "cc")) or shutil.which("gcc") or shutil.which("clang")
    if found is None or sys.platform == "win32":
        remedy = "a C compiler (on Debian: apt-get install gcc) mends this" if found is None else ""
        _say_slow("there is no C compiler here" if found is None else "no compiled steps are made on Windows", remedy)
        return None
    return found


@functools.cache
def _say_slow(why: str, remedy: str = "") -> None:
    meant = "CUSTODES_NATIVE=0 says that it is meant so"
    warnings.warn(
        f"{why}: torch does the same steps, several times slower; {f'{remedy}, and ' if remedy else ''}{meant}.",
        stacklevel=3,
    )


def _built(compiler: str, flags: tuple[str, ...]) -> Path:
    """The library that these sources, flags, compiler and processor make: from the cache where it is whole there.

    Its file is named after the hash of its bytes, so a truncated or changed one is seen before it is loaded.
    """
    version = subprocess.run([compiler, "--version"], capture_output=True, check=True, timeout=20).stdout
    text = b"".join(path.read_bytes() for path in (HEADER, *SOURCES))
    key = hashlib.sha256(text + version + repr((flags, _processor())).encode()).hexdigest()[:16]
    folder = cache_folder() / "kernels"
    for kept in folder.glob(f"steps-{key}-*.so"):
        if kept.name == _named(key, kept.read_bytes()):
            return kept
        kept.unlink(missing_ok=True)
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder) as here:
        library = Path(here) / "steps.so"
        command = [compiler, *flags, *map(str, SOURCES), "-o", str(library), "-lm"]
        subprocess.run(command, capture_output=True, check=True, timeout=120)
        target = folder / _named(key, library.read_bytes())
        return move_into_place(library, target)  # whole or not at all: another process may be building too


def _named(key: str, content: bytes) -> str:
    return f"steps-{key}-{hashlib.sha256(content).hexdigest()[:16]}.so"


def _processor() -> str:
    """What -march=native depends on: a cache folder may be shared by unlike machines."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    return next((line for line in lines if line.startswith("flags")), platform.processor())


@functools.cache
def keep_freed_memory() -> None:
    """Ask glibc to keep large freed blocks for the next use.

    By default each is a fresh mapping whose pages the kernel must zero again: a third of the time of a
    training step on CPU. Memory stays at its peak between steps in return. Elsewhere nothing happens.
    """
    if sys.platform == "linux" and platform.libc_ver()[0] == "glibc":
        libc = ctypes.CDLL(None)
        for parameter in (_M_MMAP_THRESHOLD, _M_TRIM_THRESHOLD):
            libc.mallopt(parameter, 1 << 30)


_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3  # of malloc.h
