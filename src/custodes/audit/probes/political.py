"""Which of two political options a model takes: the probability of the options' letters, in both orders.

Models lean to a letter or to what stands first, whatever it says. So each pair is asked twice, with the options in both orders,
and the two answers are averaged. What the model would rather say than a letter is told as the letters' mass.

Letters: N option pairs.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import takewhile
from pathlib import Path
from typing import Any

import numpy as np
from scipy.special import expit

from custodes.environments.prompts import task_id
from custodes.lm.choices import reply_logprobs
from custodes.lm.engine import TorchEngine
from custodes.registry import probe
from custodes.stats import Interval, mean_interval
from custodes.tables import read_rows
from custodes.types import Floats, InputError, Message, Task

LETTERS = ("(A)", "(B)")
_ASKED = re.compile(r"(.*?)\n ?\(A\) ?(.*?)\n ?\(B\) ?(.*?)\n+Answer:\s*", re.DOTALL)


@dataclass(frozen=True, slots=True)
class OptionPair:
    """A question with a liberal and a conservative option."""

    question: str
    liberal: str
    conservative: str
    about: str = ""
    """What the person who asks tells of themselves."""

    @property
    def subject(self) -> str:
        """The question with its options, whoever asks: some questions have the same words and other options."""
        return f"{self.question} {self.liberal} / {self.conservative}"

    def task(self, liberal_first: bool) -> Task:
        """The question with both options, the first of them under the letter A."""
        first, second = (self.liberal, self.conservative) if liberal_first else (self.conservative, self.liberal)
        asked = f"{self.about} {self.question}".strip()
        messages = (Message("user", f"{asked}\n {LETTERS[0]} {first}\n {LETTERS[1]} {second}\n\nAnswer:"),)
        return Task(task_id(messages), messages, metadata={"liberal": LETTERS[not liberal_first]})

    @classmethod
    def read(cls, path: str | Path) -> list[OptionPair]:
        """Those of a file of model-written evaluations on political typology (arXiv 2212.09251).

        Columns ``prompt`` (a biography, a question, options A and B), ``corrects`` (the liberal letter) and ``incorrects``. What
        all prompts with the same options end with is the question, the rest is about the person. Raises InputError for a row of
        another form.
        """
        rows: dict[tuple[str, str], list[tuple[str, int]]] = defaultdict(list)
        for place, row in enumerate(read_rows(Path(path))):
            asked = _ASKED.fullmatch(str(row.values.get("prompt", "")))
            letter = "".join(row.values.get("corrects") or ()).strip()
            if asked is None or letter not in LETTERS:
                raise InputError(
                    f"{row.place}: expected prompt, which ends with options (A) and (B) and 'Answer:', and corrects, ['(A)'] or ['(B)']."
                )
            sides = (asked[2], asked[3]) if letter == LETTERS[0] else (asked[3], asked[2])
            rows[sides].append((asked[1].strip(), place))
        pairs: list[tuple[int, OptionPair]] = []
        for (liberal, conservative), texts in rows.items():
            endings = zip(*(reversed(text) for text, _ in texts), strict=False)
            common = "".join(letters[0] for letters in takewhile(lambda letters: len(set(letters)) == 1, endings))[::-1]
            question = common if len(texts) == 1 or len(common) == len(texts[0][0]) else common.lstrip(" .!")
            for text, place in texts:
                about = text.removesuffix(question).strip()
                pairs.append((place, cls(question.strip(), liberal, conservative, about)))
        return [pair for _, pair in sorted(pairs, key=lambda placed: placed[0])]


@dataclass(frozen=True, slots=True, eq=False)
class PoliticalLeaning:
    """What a model answers to N option pairs, each a mean of both orders."""

    liberal: Floats
    """(N,) probability of the liberal option, of the two."""
    first: Floats
    """(N,) probability of the option that stands first; 0.5 where the model leans to no letter."""
    mass: Floats
    """(N,) probability that the reply begins with one of the letters."""
    subject: tuple[str, ...]
    """(N,) questions with their options, which intervals count as one."""

    @property
    def leaning(self) -> Interval:
        """Mean probability of the liberal option, with an interval over questions."""
        return mean_interval(self.liberal, self.subject)

    def to_dict(self) -> dict[str, Any]:
        """The three means as intervals over questions, and the number of questions."""
        means = {name: mean_interval(getattr(self, name), self.subject).to_dict() for name in ("first", "mass")}
        return {"liberal": self.leaning.to_dict(), **means, "questions": len(set(self.subject))}


@probe
def political_leaning(engine: TorchEngine, items: Sequence[OptionPair]) -> PoliticalLeaning:
    """How a model leans on ``items``. Raises InputError where there is none, and where its tokenizer merges letters with the prompt."""
    if not items:
        raise InputError("there is no option pair to ask; give at least one.")
    tasks = [item.task(liberal_first) for item in items for liberal_first in (True, False)]
    nats = reply_logprobs(engine, tasks, LETTERS).reshape(len(items), 2, 2)  # pair, order, letter
    first = expit(nats[..., 0] - nats[..., 1])  # (N, 2)
    liberal = (first[:, 0] + 1 - first[:, 1]) / 2
    return PoliticalLeaning(liberal, first.mean(1), np.exp(nats).sum(2).mean(1), tuple(item.subject for item in items))
