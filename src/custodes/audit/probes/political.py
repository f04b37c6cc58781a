"""Which of two political options a model takes, and whether it takes that of whoever asks.

Each pair is asked with its options in both orders, and the two answers are averaged. What the model would rather say than a
letter is told as the letters' mass.

Letters: N option pairs.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import takewhile
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from custodes.audit.choice import BRACKETED, ChoiceItem, ask_choices
from custodes.audit.own_items import BIOGRAPHIES, POLITICAL
from custodes.audit.probe import Probe, ProbeColumns, ProbeFigure, ProbeSetting, column, drawn_items, paired_figure
from custodes.lm.choices import RepliesTold
from custodes.registry import probe
from custodes.stats import Interval, mean_interval
from custodes.tables import read_rows
from custodes.types import Floats, InputError, Task

_ASKED = re.compile(r"(.*?)\n ?\(A\) ?(.*?)\n ?\(B\) ?(.*?)\n+Answer:\s*", re.DOTALL)


@dataclass(frozen=True, slots=True)
class OptionPair:
    """A question with a liberal and a conservative option."""

    question: str
    liberal: str
    conservative: str
    about: str = ""
    """What the person who asks tells of themselves."""
    side: str = ""
    """What this person is: "liberal" or "conservative"; "" where nobody says."""

    @property
    def subject(self) -> str:
        """The question with its options, whoever asks: some questions have the same words and other options."""
        return f"{self.question} {self.liberal} / {self.conservative}"

    def item(self) -> ChoiceItem:
        """What is asked; the first option is the liberal one."""
        return ChoiceItem(f"{self.about} {self.question}".strip(), (self.liberal, self.conservative), self.subject)

    def task(self, liberal_first: bool) -> Task:
        """The question with both options, the first of them under the letter A."""
        asked = self.item().task((0, 1) if liberal_first else (1, 0))
        return replace(asked, metadata={"liberal": BRACKETED[not liberal_first]})

    @classmethod
    def read(cls, path: str | Path) -> list[OptionPair]:
        """Those of a file of model-written evaluations on political typology (arXiv 2212.09251).

        ProbeColumns ``prompt`` (a biography, a question, options A and B), ``corrects`` (the liberal letter) and ``incorrects``. What
        all prompts with the same options end with is the question, the rest is about the person. Raises InputError for a row of
        another form.
        """
        rows: dict[tuple[str, str], list[tuple[str, int]]] = defaultdict(list)
        for place, row in enumerate(read_rows(Path(path))):
            asked = _ASKED.fullmatch(str(row.values.get("prompt", "")))
            letter = "".join(row.values.get("corrects") or ()).strip()
            if asked is None or letter not in BRACKETED[:2]:
                raise InputError(
                    f"{row.place}: expected prompt, which ends with options (A) and (B) and 'Answer:', and corrects, ['(A)'] or ['(B)']."
                )
            sides = (asked[2], asked[3]) if letter == BRACKETED[0] else (asked[3], asked[2])
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


def political_leaning(
    engine: RepliesTold, items: Sequence[OptionPair], letters: Sequence[str] = BRACKETED
) -> PoliticalLeaning:
    """How a model leans on ``items``. Raises InputError where there is none, and where its tokenizer merges letters with the prompt."""
    if not items:
        raise InputError("there is no option pair to ask; give at least one.")
    told = ask_choices(engine, [item.item() for item in items], letters)
    liberal = np.array([own[0] for own in told.options])
    return PoliticalLeaning(liberal, told.first, told.mass, tuple(item.subject for item in items))


@probe
@dataclass(frozen=True, kw_only=True)
class Political(Probe):
    """Options of a political typology, asked by people who tell of themselves."""

    title: ClassVar[str] = "Political leaning, and the user's"
    asks: ClassVar[str] = (
        "Questions of a political typology with two options, asked by somebody whose biography is conservative or liberal. "
        "A model without a leaning that does not listen to the biography has 50 % everywhere."
    )
    headline: ClassVar[tuple[str, ...]] = ("The biography's option", "The liberal option")
    data: ClassVar[Mapping[str, str]] = {
        "conservative_bio": "political_typology/conservative_bio",
        "liberal_bio": "political_typology/liberal_bio",
    }
    own: ClassVar[str] = "ten questions of our own, each asked by six people"
    cannot: ClassVar[str] = "what a model would say in free text: it is asked for a letter."

    conservative_bio: Path | None = None
    """Questions of a political typology that conservative people ask: columns prompt, corrects, incorrects. Without it
    political_typology/conservative_bio in --data, and without both sides' files built-in questions."""
    liberal_bio: Path | None = None
    """The same of liberal people."""

    def items(self, data: Path | None, at_most: int, seed: int) -> list[OptionPair]:
        files = self.files(data)
        if not files:
            asked = [
                OptionPair(question, liberal, conservative, who, side)
                for question, liberal, conservative in POLITICAL
                for side, people in BIOGRAPHIES.items()
                for who in people
            ]
            return drawn_items(asked, at_most, seed)
        pairs: list[OptionPair] = []
        for name, file in files.items():
            side = name.removesuffix("_bio")
            drawn = drawn_items(OptionPair.read(file), at_most // len(files), seed)
            pairs += [replace(pair, side=side) for pair in drawn]
        return pairs

    def observe(self, engine: RepliesTold, items: Sequence[OptionPair], setting: ProbeSetting) -> ProbeColumns:
        told = political_leaning(engine, items, setting.letters)
        return {name: getattr(told, name).tolist() for name in ("liberal", "first", "mass")}

    def figures(self, observed: Mapping[str, ProbeColumns], items: Sequence[OptionPair]) -> list[ProbeFigure]:
        subjects, liberal = [item.subject for item in items], column(observed, "liberal")
        of_bio = {
            model: [p if item.side == "liberal" else 1 - p for item, p in zip(items, own, strict=True)]
            for model, own in liberal.items()
        }
        over = "intervals over questions"
        return [
            paired_figure("The biography's option", of_bio, subjects, note=f"probability, of the two; {over}"),
            paired_figure("The liberal option", liberal, subjects, note=f"probability, of the two; {over}"),
            paired_figure("The option that stands first", column(observed, "first"), subjects),
            paired_figure("Mass on the letters", column(observed, "mass"), subjects, note="the reply begins with one"),
        ]
