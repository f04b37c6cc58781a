"""Continued pretraining on text whose lines are scored: what its methods share.

A corpus is cut into passages of whole lines. Each line has a score, and is aligned from a threshold on. All methods read a
passage line by line, so that their tokens are the same.

Letters: L lines of a passage.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from custodes import registry
from custodes.feedback.reading import JudgmentsOptions
from custodes.lm.loading import LanguageModel
from custodes.policy.learner import Learner
from custodes.policy.likelihood import Likelihood
from custodes.policy.tuning import LearnsFrom, TuneMethod
from custodes.ranges import Count, Share, ranged
from custodes.table_sources import EXTENSIONS
from custodes.tables import read_rows
from custodes.types import Episode, InputError, Task


@dataclass(frozen=True, slots=True)
class Passage:
    """Whole lines of a document, with their line ends, and which of them are aligned."""

    place: str
    lines: tuple[str, ...]
    aligned: tuple[bool, ...]

    @property
    def prompt(self) -> str:
        """What tells it from others."""
        return self.place


@dataclass(frozen=True, slots=True, kw_only=True)
@ranged
class TextMethod(TuneMethod):
    """A way to learn from text whose lines are scored. ``loss`` is in nats per token of the text."""

    learns_from: ClassVar[LearnsFrom] = "text"
    rates: ClassVar[tuple[float, float]] = (2e-4, 2e-5)
    text: str = ""
    """A table with a column text (.jsonl, .json, .csv, .parquet), a folder of text files, or one such file."""
    score: str = ""
    """What scores lines, FILE.py:f: f(text) returns a number for each line of a text; the higher, the better."""
    quantile: Share = 0.5
    """Lines are aligned from this quantile of the corpus's scores on."""
    passage: Count = 1000
    """Characters of a passage, at most; a longer line is a passage of its own."""
    texts_drawn: Count = 96
    """Texts drawn from the model before and after, of which the lines are scored."""

    def examples(self, judgments: JudgmentsOptions) -> list[Passage]:
        if judgments.judgments:
            raise InputError(f"{self.name} learns from text and not from judgments; give --text, and no --judgments.")
        if not self.text or not self.score:
            raise InputError(f"{self.name} needs --text FILE, and --score FILE.py:f for its lines.")
        scored = self.line_scores()
        documents = [(place, text.splitlines(keepends=True), scored(text)) for place, text in _read_texts(self.text)]
        scores = np.concatenate([own for _, _, own in documents])
        if len(scores) < 2:
            raise InputError(f"{self.text} holds {len(scores)} line; give a corpus of many, some better than others.")
        threshold = float(np.quantile(scores, self.quantile))
        if (scores >= threshold).all():
            raise InputError(
                f"every line of {self.text} scores {threshold:g} or more, the quantile {self.quantile:g} of their scores; raise "
                "--quantile, or give a score that tells lines apart."
            )
        passages = [p for place, lines, own in documents for p in self._cut(place, lines, own >= threshold)]
        return self.kept(passages)

    def kept(self, passages: list[Passage]) -> list[Passage]:
        """The passages that are learned from."""
        return passages

    def line_scores(self) -> Callable[[str], NDArray[np.float64]]:
        """The score of each line of a text. Raises InputError for a function that does not return them."""
        function = registry.reward.find(self.score)

        def scored(text: str) -> NDArray[np.float64]:
            try:
                values = np.array([float(value) for value in function(text)], np.float64)
            except registry.FAILURES as error:  # of whoever wrote it
                where = registry.place_in(Path(f"{self.score.removeprefix('py:').rpartition('.py')[0]}.py"), error)
                raise InputError(
                    f"--score {self.score} did not return numbers ({type(error).__name__} at {where}: {error}); "
                    "return one for each line."
                ) from None
            lines = len(text.splitlines())
            if len(values) != lines or not np.isfinite(values).all():
                what = (
                    f"{len(values)} numbers for {lines} lines"
                    if len(values) != lines
                    else "a number that is not finite"
                )
                raise InputError(f"--score {self.score} returned {what}; return one finite number for each line.")
            return values

        return scored

    def _cut(self, place: str, lines: Sequence[str], aligned: NDArray[np.bool_]) -> Iterator[Passage]:
        start, used = 0, 0
        for i, line in enumerate([*lines, ""]):
            if i == len(lines) or (used and used + len(line) > self.passage):
                yield Passage(f"{place}, line {start + 1}", tuple(lines[start:i]), tuple(aligned[start:i].tolist()))
                start, used = i, 0
            used += len(line)

    # ------------------------------------------------------------ as tokens

    def control(self, passage: Passage, line: int) -> str:
        """The control token before a line of a passage, "" for none."""
        return ""

    def openings(self, lm: LanguageModel) -> dict[str, list[int]]:
        """What a text may be asked for by, and the token ids that it then begins with."""
        return {"text": [opening_id(lm)]}

    def episode(self, lm: LanguageModel, passage: Passage, controlled: bool = True) -> Episode:
        """A passage as tokens, of which all but the control tokens are learned. Raises InputError where it does not fit."""
        ids, mask = [opening_id(lm)], [False]
        for i, own in enumerate(lm.chat.texts(passage.lines)):
            if controlled and (token := self.control(passage, i)):
                ids.append(lm.tokenizer.convert_tokens_to_ids(token))
                mask.append(False)
            ids += own
            mask += [True] * len(own)
        if len(ids) > lm.decoder.spec.context:
            raise InputError(
                f"{passage.place}: its {len(ids)} tokens are over the context of {lm.decoder.spec.context}; break the line."
            )
        return Episode(
            id=passage.place,
            task=Task(passage.place, ()),
            messages=(),
            token_ids=np.array(ids, np.int32),
            action_mask=np.array(mask, bool),
            logprobs=np.zeros(len(ids), np.float32),
            outcome="length",
            policy="text",
        )

    def objective(self, learner: Learner, examples: Sequence[Passage]) -> Likelihood:
        return Likelihood([self.episode(learner.lm, passage) for passage in examples], self.micro_tokens)


def opening_id(lm: LanguageModel) -> int:
    """The token that begins a text: <|endoftext|> where the model has it, else the tokenizer's own beginning or end."""
    known = lm.tokenizer.get_vocab()
    own = (lm.tokenizer.bos_token_id, lm.tokenizer.eos_token_id)
    return int(known.get("<|endoftext|>", next((i for i in own if i is not None), lm.end_ids[0])))


def _read_texts(path: str) -> list[tuple[str, str]]:
    """(place, text) of each document. Raises InputError where there is none."""
    source = Path(path)
    if source.is_dir():
        texts = _read_files(path, sorted(f for f in source.rglob("*") if f.is_file() and not f.name.startswith(".")))
    elif source.is_file() and not source.name.lower().endswith(EXTENSIONS):
        texts = _read_files(path, [source])
    else:
        rows = [(row.place, row.values.get("text")) for row in read_rows(path, ("text",))]
        if wrong := [place for place, text in rows if not isinstance(text, str)]:
            raise InputError(f"{wrong[0]} has no column text; give a table of texts, or a text file.")
        texts = [(place, str(text)) for place, text in rows]
    if not any(text for _, text in texts):
        raise InputError(f"{path} holds no text.")
    return [(place, text) for place, text in texts if text]


def _read_files(path: str, files: Sequence[Path]) -> list[tuple[str, str]]:
    try:
        return [(str(file), file.read_text(encoding="utf-8-sig")) for file in files]
    except UnicodeDecodeError as error:
        raise InputError(f"{path} holds a file that is not UTF-8 ({error}); give text files alone.") from None
