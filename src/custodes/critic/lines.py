"""Where to look: how likely each line of a function is the wrong one, in one forward pass.

The code is read twice, and the second time each line's end is asked "is the bug in this line?": a model that reads from
left to right knows the whole function only then. One more answer, "in none", stands at the end. Over a function's lines
and that answer the scores are probabilities (a softmax), so that they are a confidence once they are calibrated.

Letters: L lines of a function, d hidden size.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from custodes.lm import LanguageModel, PackedBatch, load, pack, split_by_budget
from custodes.lm.loading import DtypeName, save_json
from custodes.types import InputError

BEFORE = "Read this code.\n\n"
BETWEEN = "\nIn which line is it wrong?\n\n"
SETTINGS, HEAD = "lines.json", "head.safetensors"
PASS_TOKENS = 4096
"""Tokens of one forward pass when scoring."""


@dataclass(frozen=True, slots=True, eq=False)
class LineScores:
    """Probabilities that add up to 1, and what may be wrong in the likeliest lines, where the scorer can say."""

    lines: NDArray[np.float64]  # (L,)
    none: float
    messages: Mapping[int, str] = field(default_factory=dict)  # line, from 1 -> a reviewer's words

    def message(self, line: int) -> str:
        """What to say of a line, from 1."""
        return self.messages.get(line, "This line is suspicious.")

    def order(self) -> NDArray[np.int64]:
        """Line numbers from 1, the likeliest first."""
        return np.argsort(-self.lines, kind="stable") + 1

    def found(self, threshold: float, most: int = 3) -> list[int]:
        """Line numbers to report, the likeliest first: none where the probability of a bug anywhere is below
        ``threshold``, else the likeliest and those at least half as likely."""
        if 1 - self.none < threshold or not self.lines.any():
            return []
        return [int(line) for line in self.order()[:most] if self.lines[line - 1] >= self.lines.max() / 2]


class ScoresLines(Protocol):
    """Whatever says which lines are suspect."""

    temperature: float
    threshold: float

    def scores(self, codes: Sequence[str]) -> list[LineScores]:
        """Probabilities for each function. Lines count as in ``code.split("\\n")``; blank ones have 0."""
        ...


@dataclass(frozen=True, slots=True, eq=False)
class Reading:
    """A function as the model reads it: its tokens, and where the answers stand among them."""

    tokens: NDArray[np.int32]
    ends: NDArray[np.int64]  # (L + 1,): the end of each line in the second reading, and the end of all


@dataclass(eq=False)
class LineScorer:
    """A language model with an adapter and two directions: one for "in this line", one for "in none"."""

    lm: LanguageModel
    head: nn.Parameter  # (2, d) float32
    temperature: float = 1.0
    """Logits are divided by it; found on examples that training did not see."""
    max_tokens: int = 2048
    """Longest reading; longer functions are scored in pieces of whole lines."""
    threshold: float = 0.5
    """The probability of a bug anywhere from which a function is reported."""

    def scores(self, codes: Sequence[str]) -> list[LineScores]:
        """Probabilities for each function. Lines count as in ``code.split("\\n")``; blank ones have 0."""
        pieces = [(i, piece) for i, code in enumerate(codes) for piece in self._pieces(code)]
        readings = [self.read(piece) for _, piece in pieces]
        logits: list[NDArray[np.float64]] = [np.zeros(0)] * len(readings)
        for part in split_by_budget([len(r.tokens) for r in readings], PASS_TOKENS):
            chosen = [readings[i] for i in part]
            with torch.no_grad():
                values = self.logits(pack([r.tokens for r in chosen]), chosen)
            for i, row in zip(part, values, strict=True):
                logits[i] = row.double().cpu().numpy() / self.temperature
        found = []
        for i, code in enumerate(codes):
            own = [k for k, (of, _) in enumerate(pieces) if of == i]
            lines = np.concatenate([logits[k][:-1] for k in own])
            blank = np.array([not line.strip() for line in code.split("\n")])
            found.append(probabilities(np.where(blank, -np.inf, lines), float(np.mean([logits[k][-1] for k in own]))))
        return found

    def logits(self, batch: PackedBatch, readings: Sequence[Reading]) -> list[Tensor]:
        """(L + 1,) of each reading, the last one "in none"; gradients flow to adapter and head."""
        batch = batch.to(self.lm.decoder.device)
        hidden = self.lm.decoder.hidden(batch, self.lm.adapter)
        found = []
        for row, reading in enumerate(readings):
            at = batch.rows[row, torch.from_numpy(reading.ends).to(batch.rows.device)]
            states = hidden[at].float()
            found.append(torch.cat([states[:-1] @ self.head[0], states[-1:] @ self.head[1]]))
        return found

    def read(self, code: str) -> Reading:
        """Tokens of the two readings. Every line is tokenised by itself, so that each has an end of its own."""
        encode = self.lm.tokenizer
        lines = [encode(f"{line}\n", add_special_tokens=False)["input_ids"] for line in code.split("\n")]
        before, between = (encode(text, add_special_tokens=False)["input_ids"] for text in (BEFORE, BETWEEN))
        flat = [token for line in lines for token in line]
        ends = len(before) + len(flat) + len(between) + np.cumsum([len(line) for line in lines]) - 1
        last = len(before) + 2 * len(flat) + len(between)
        tokens = [*before, *flat, *between, *flat, *encode("\n", add_special_tokens=False)["input_ids"][:1]]
        return Reading(np.asarray(tokens, np.int32), np.append(ends, last))

    def save(self, folder: Path | str) -> None:
        """Write the adapter (peft's layout), the head and the settings."""
        folder = Path(folder)
        assert self.lm.adapter is not None
        try:
            self.lm.adapter.save(folder, self.lm.name)
            save_file({"head": self.head.detach().cpu().contiguous()}, folder / HEAD)
            about = {"base": self.lm.name, "temperature": self.temperature, "max_tokens": self.max_tokens}
            about |= {"threshold": self.threshold}
            save_json(folder / SETTINGS, about)
        except OSError as error:
            raise InputError(f"{folder} cannot be written ({error.strerror}); choose another folder.") from None

    @staticmethod
    def load(folder: Path | str, dtype: DtypeName = "auto", device: str = "cpu", base: str = "") -> LineScorer:
        """Read what :meth:`save` wrote; ``base`` in place of the model named there. Raises InputError for a folder that is none."""
        folder = Path(folder)
        try:
            about = json.loads((folder / SETTINGS).read_text())
            head = load_file(folder / HEAD)["head"]
            lm = load(base or about["base"], adapter=folder, dtype=dtype, device=device)
            if head.shape != (2, lm.decoder.spec.hidden):
                raise InputError(f"{folder / HEAD} was made for a model of another size than {lm.name}.")
            settings = {name: about[name] for name in ("temperature", "max_tokens", "threshold")}
            return LineScorer(lm, nn.Parameter(head.float().to(device)), **settings)
        except (OSError, ValueError, KeyError, SafetensorError) as error:
            raise InputError(
                f"{folder} holds no line scorer that can be read ({error}); train one, or copy it again."
            ) from None

    def _pieces(self, code: str) -> list[str]:
        """The code, cut between lines into pieces whose readings fit; a line that is too long alone is cut off."""
        sizes = [
            len(self.lm.tokenizer(f"{line}\n", add_special_tokens=False)["input_ids"]) for line in code.split("\n")
        ]
        room = (self.max_tokens - 64) // 2
        pieces: list[list[str]] = [[]]
        used = 0
        for line, size in zip(code.split("\n"), sizes, strict=True):
            if size > room:
                line, size = line[:room], min(size, room)
            if pieces[-1] and used + size > room:
                pieces.append([])
                used = 0
            pieces[-1].append(line)
            used += size
        return ["\n".join(piece) for piece in pieces]


def new_line_scorer(lm: LanguageModel, seed: int = 0, max_tokens: int = 2048) -> LineScorer:
    """A scorer that knows nothing yet: every line is as likely as the next. ``lm`` carries the adapter that will learn."""
    if lm.adapter is None:
        raise InputError("a line scorer learns an adapter; load the model with one.")
    generator = torch.Generator().manual_seed(seed)
    head = torch.randn(2, lm.decoder.spec.hidden, generator=generator) * 1e-3
    context = min(max_tokens, lm.decoder.spec.context)
    return LineScorer(lm, nn.Parameter(head.to(lm.decoder.device)), max_tokens=context)


def probabilities(lines: NDArray[np.float64], none: float) -> LineScores:
    """Softmax over lines and "in none"."""
    top = max(float(lines.max(initial=-np.inf)), none)
    weights, rest = np.exp(lines - top), np.exp(none - top)
    total = weights.sum() + rest
    return LineScores(weights / total, float(rest / total))
