"""Where to look: how likely each line of a function is the wrong one, in one pass over the code.

The lower layers of a language model read the code once, a small :class:`~custodes.critic.reader.CodeReader` reads their states
in both directions, and each line's end is asked "is this line wrong?". The lines are judged apart. If at most one
of them is wrong, the odds of line i against "none" are exp(logit i). So the probabilities of the lines and of "none" are a
softmax over the logits and 0: a confidence once it is calibrated.

Letters: L lines of a function, d hidden size, h width of the reader, N tokens.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from importlib import resources
from pathlib import Path
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from custodes.critic.reader import CodeReader
from custodes.files import save_json
from custodes.lm.adapter import ADAPTER_CONFIG, Adapter, AdapterConfig
from custodes.lm.decoder import Decoder, lower
from custodes.lm.loading import DtypeName, LanguageModel, hash_tensors, load
from custodes.lm.packing import PackedBatch, pack, split_by_budget
from custodes.ranges import Count, Positive, ranged
from custodes.types import InputError

BEFORE = "```python\n"
LINE_SETTINGS, READER = "lines.json", "reader.safetensors"
KEPT = ("temperature", "level", "max_tokens", "threshold")
PASS_TOKENS = 4096
"""Tokens of one forward pass when scoring."""
FILL = 512
"""A pass has a multiple of so many tokens: products of few sizes come again, and what the kernels keep for each size stays small."""
SAID = 5
"""Of so many likely lines it is said what may be wrong."""


def shipped_critic() -> Path | None:
    """The folder of the critic that comes with Custodes; None where there is none."""
    folder = Path(str(resources.files("custodes.critic"))) / "shipped"
    return folder if (folder / LINE_SETTINGS).is_file() else None


@dataclass(frozen=True, slots=True, eq=False)
class LineScores:
    """Probabilities that add up to 1, and what may be wrong in the likeliest lines, where the scorer can say."""

    lines: NDArray[np.float64]  # (L,)
    none: float
    messages: Mapping[int, str] = field(default_factory=dict)  # line, from 1 -> a reviewer's words
    kinds: Mapping[int, str] = field(default_factory=dict)  # line, from 1 -> the kind of bug

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
    """Whatever says which lines are suspect. Its logits are divided by ``temperature``; that of "in none" is ``level``."""

    temperature: float
    level: float
    threshold: float

    def scores(self, codes: Sequence[str]) -> list[LineScores]:
        """Probabilities for each function. Lines count as in ``code.split("\\n")``; blank ones have 0."""
        ...

    def fingerprint(self) -> str:
        """Names what decides the scores."""
        ...


@dataclass(frozen=True, slots=True)
@ranged
class LineShape:
    """What a scorer of lines is made of."""

    layers: Count = 12
    """Layers of the language model that read, from the lowest up; what lies above is not computed."""
    tuned: int = 4
    """The upper so many of them get an adapter."""
    rank: Count = 8
    """Rank of adapters."""
    alpha: Positive = 16.0
    """Adapters' updates are scaled by alpha / rank."""
    width: Count = 320
    """Channels of the reader, a multiple of 64."""
    reader_layers: Count = 3
    """Layers of the reader."""

    def __post_init__(self) -> None:
        if not 0 <= self.tuned <= self.layers:
            raise InputError(f"option tuned is {self.tuned}; it must be between 0 and layers ({self.layers}).")
        if self.width % 64:
            raise InputError(f"option width is {self.width}; it must be a multiple of 64.")


@dataclass(frozen=True, slots=True, eq=False)
class Reading:
    """A function as the model reads it: its tokens, and where each line ends among them."""

    tokens: NDArray[np.int32]
    ends: NDArray[np.int64]  # (L,)


@dataclass(eq=False)
class LineScorer:
    """The lower layers of ``lm``, an adapter of theirs, and a reader. ``lm`` is the whole model, as it was."""

    lm: LanguageModel
    shape: LineShape
    adapter: Adapter | None  # of the lower layers; None where none of them is tuned
    reader: CodeReader
    kinds: tuple[str, ...] = ()
    """Kinds of bugs, as :data:`custodes.critic.suspicions.SUSPICIONS` names them, that the reader tells apart."""
    messages: Mapping[str, str] = field(default_factory=dict)
    """What is said of a line for each kind."""
    temperature: float = 1.0
    """Logits are divided by it; found on examples that training did not see."""
    level: float = 0.0
    """The logit of "in none", found with the temperature."""
    max_tokens: int = 2048
    """Longest reading; longer functions are scored in pieces of whole lines."""
    threshold: float = 0.5
    """The probability of a bug anywhere from which a function is reported."""

    def scores(self, codes: Sequence[str]) -> list[LineScores]:
        """Probabilities for each function. Lines count as in ``code.split("\\n")``; blank ones have 0."""
        pieces = [(i, piece) for i, code in enumerate(codes) for piece in self._pieces(code)]
        readings = [self.read(piece) for _, piece in pieces]
        logits: list[NDArray[np.float64]] = [np.zeros(0)] * len(readings)
        kinds: list[NDArray[np.int64]] = [np.zeros(0, np.int64)] * len(readings)
        for part in split_by_budget([len(r.tokens) for r in readings], PASS_TOKENS):
            chosen = [readings[i] for i in part]
            with torch.no_grad():
                states = self.states(_filled([r.tokens for r in chosen]), chosen)
                for i, of_lines in zip(part, states, strict=True):
                    logits[i] = self.reader.line(of_lines)[:, 0].double().cpu().numpy() / self.temperature
                    if self.kinds:
                        kinds[i] = self.reader.kind(of_lines).argmax(-1).cpu().numpy()
        found = []
        for i, code in enumerate(codes):
            own = [k for k, (of, _) in enumerate(pieces) if of == i]
            blank = np.array([not line.strip() for line in code.split("\n")])
            lines = np.where(blank, -np.inf, np.concatenate([logits[k] for k in own]))
            scored = probabilities(lines, self.level / self.temperature)
            if self.kinds:
                kind = np.concatenate([kinds[k] for k in own])
                named = {int(line): self.kinds[kind[line - 1]] for line in scored.order()[:SAID]}
                said = {line: words for line, of in named.items() if (words := self.messages.get(of))}
                scored = replace(scored, messages=said, kinds=named)
            found.append(scored)
        return found

    def states(self, batch: PackedBatch, readings: Sequence[Reading]) -> list[Tensor]:
        """(L, h) of each reading: what the reader has at its lines' ends; gradients flow to adapter and reader."""
        decoder = self.lm.decoder
        batch = batch.to(decoder.device)
        fixed = self.shape.layers - self.shape.tuned if self.adapter is not None else self.shape.layers
        with torch.no_grad():
            x = decoder.run(decoder.embed(batch), batch, 0, fixed)
        if self.adapter is not None:
            x = decoder.run(x, batch, fixed, self.shape.layers, self.adapter)
        read = self.reader(x, batch)
        rows = [batch.rows[i, torch.from_numpy(r.ends).to(batch.rows.device)] for i, r in enumerate(readings)]
        return [read[at] for at in rows]

    def parameters(self) -> list[torch.nn.Parameter]:
        """What learns: the adapter's, then the reader's."""
        return [*(self.adapter.parameters() if self.adapter is not None else ()), *self.reader.parameters()]

    def fingerprint(self) -> str:
        """SHA-256 of the model's, the adapter's and the reader's weights."""
        adapter = self.adapter.tensors() if self.adapter is not None else {}
        return hash_tensors({**adapter, **self.reader.state_dict()}, self.lm.fingerprint())

    def read(self, code: str) -> Reading:
        """Tokens. Every line is tokenised by itself, so that each has an end of its own."""
        before, *lines = self.lm.chat.texts([BEFORE, *(f"{line}\n" for line in code.split("\n"))])
        ends = len(before) + np.cumsum([len(line) for line in lines]) - 1
        return Reading(np.asarray([*before, *(token for line in lines for token in line)], np.int32), ends)

    def save(self, folder: Path | str) -> None:
        """Write the adapter (peft's layout), the reader (in half precision) and the settings."""
        folder = Path(folder)
        kinds = {k: self.messages.get(k, "") for k in self.kinds}
        about = {"base": self.lm.name, "shape": asdict(self.shape), "kinds": kinds}
        about |= {name: getattr(self, name) for name in KEPT}
        try:
            folder.mkdir(parents=True, exist_ok=True)
            if self.adapter is not None:
                self.adapter.save(folder, self.lm.name)
            reader = {name: t.detach().half().cpu().contiguous() for name, t in self.reader.state_dict().items()}
            save_file(reader, folder / READER)
            save_json(folder / LINE_SETTINGS, about)
        except OSError as error:
            raise InputError(f"{folder} cannot be written ({error.strerror}); choose another folder.") from None

    @staticmethod
    def load(folder: Path | str, dtype: DtypeName = "auto", device: str = "cpu", base: str = "") -> LineScorer:
        """Read what :meth:`save` wrote; ``base`` in place of the model named there. Raises InputError for a folder that is none."""
        folder = Path(folder)
        try:
            about = json.loads((folder / LINE_SETTINGS).read_text())
            shape, kinds = LineShape(**about["shape"]), about["kinds"]
            tensors = load_file(folder / READER)
            settings = {name: about[name] for name in KEPT}
        except (OSError, ValueError, KeyError, TypeError, SafetensorError) as error:
            raise InputError(
                f"{folder} holds no line scorer that can be read ({error}); train one, or copy it again."
            ) from None
        scorer = new_line_scorer(load(base or about["base"], dtype=dtype, device=device), shape, tuple(kinds))
        try:
            scorer.reader.load_state_dict({name: t.float() for name, t in tensors.items()})
        except RuntimeError:
            raise InputError(f"{folder / READER} was made for a model of another size than {scorer.lm.name}.") from None
        if scorer.adapter is not None:
            if not (folder / ADAPTER_CONFIG).is_file():
                raise InputError(f"{folder} has lost its adapter, {ADAPTER_CONFIG}; copy it again.")
            scorer.adapter = Adapter.load(folder, lower(scorer.lm.decoder, shape.layers)).to(scorer.lm.decoder.device)
        return replace(scorer, messages=kinds, **settings)

    def _pieces(self, code: str) -> list[str]:
        """The code, cut between lines into pieces whose readings fit; a line that is too long alone is cut off."""
        lines = code.split("\n")
        sizes = [len(line) for line in self.lm.chat.texts([f"{line}\n" for line in lines])]
        room, used, pieces = self.max_tokens - 16, 0, [list[str]()]
        for line, size in zip(lines, sizes, strict=True):
            if size > room:
                line, size = line[:room], min(size, room)
            if pieces[-1] and used + size > room:
                pieces.append([])
                used = 0
            pieces[-1].append(line)
            used += size
        return ["\n".join(piece) for piece in pieces]


def new_line_scorer(
    lm: LanguageModel, shape: LineShape | None = None, kinds: Sequence[str] = (), seed: int = 0, max_tokens: int = 2048
) -> LineScorer:
    """A scorer that knows nothing yet: every line is as likely as the next.

    Of a model with fewer layers than ``shape`` has, all are used; of one without a fast path, all, and no adapter.
    """
    shape, depth = shape or LineShape(), lm.decoder.spec.layers
    known = isinstance(lm.decoder, Decoder)
    layers = min(shape.layers, depth) if known else depth
    shape = replace(shape, layers=layers, tuned=min(shape.tuned, layers) if known else 0)
    adapter = None
    if shape.tuned:
        config = AdapterConfig(shape.rank, shape.alpha, first_layer=layers - shape.tuned)
        adapter = Adapter(lower(lm.decoder, layers), config, seed).to(lm.decoder.device)
    reader = CodeReader(lm.decoder.spec.hidden, shape.width, shape.reader_layers, max(1, len(kinds)), seed)
    context = min(max_tokens, lm.decoder.spec.context)
    bare = replace(lm, adapter=None)
    return LineScorer(bare, shape, adapter, reader.to(lm.decoder.device), tuple(kinds), max_tokens=context)


def _filled(sequences: list[NDArray[np.int32]]) -> PackedBatch:
    """The sequences, and others of zeros behind them, none longer than the longest, up to a multiple of :data:`FILL` tokens."""
    longest, spare = max(map(len, sequences)), -sum(map(len, sequences)) % FILL
    filling = [np.zeros(min(longest, spare - at), np.int32) for at in range(0, spare, longest)]
    return pack([*sequences, *filling])


def probabilities(lines: NDArray[np.float64], none: float) -> LineScores:
    """Softmax over lines and "in none"."""
    top = max(float(lines.max(initial=-np.inf)), none)
    weights, rest = np.exp(lines - top), np.exp(none - top)
    total = weights.sum() + rest
    return LineScores(weights / total, float(rest / total))
