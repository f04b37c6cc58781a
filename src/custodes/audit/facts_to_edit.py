"""Facts to exchange: from a table, or built-in ones about capitals."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from custodes.audit.own_items import CAPITALS
from custodes.tables import read_rows
from custodes.types import InputError

OWN_FACTS = 20
NEIGHBOURS = 5


class Cloze(NamedTuple):
    """A question, and how its reply begins: an answer is expected there."""

    prompt: str
    begins: str = ""


@dataclass(frozen=True, slots=True)
class Fact:
    """A fact that is exchanged: what is asked of a subject gets the answer ``new``."""

    asked: Cloze
    subject: str
    """As the prompt has it."""
    new: str
    old: str = ""
    """What the model should have said before."""
    paraphrases: tuple[Cloze, ...] = ()
    """The same asked in other words."""
    neighbours: tuple[tuple[Cloze, str], ...] = ()
    """Questions about others with their answers, which should stay."""


def own_facts() -> list[Fact]:
    """20 capitals, exchanged for others'. Each has two paraphrases, and five countries beside it whose capitals should stay."""
    return _capitals(list(CAPITALS)[:OWN_FACTS], list(CAPITALS)[OWN_FACTS:-4])


def facts_to_choose_by() -> list[Fact]:
    """Four more, by which a layer is chosen, so that it is not chosen by the facts that are told of."""
    return _capitals(list(CAPITALS)[-4:], list(CAPITALS)[OWN_FACTS:-4])


def _capitals(countries: Sequence[str], others: Sequence[str]) -> list[Fact]:
    facts, begins = [], "The capital is"
    for place, country in enumerate(countries):
        near = [others[(place * NEIGHBOURS + k) % len(others)] for k in range(NEIGHBOURS)]
        facts.append(
            Fact(
                asked=Cloze(f"What is the capital of {country}?", begins),
                subject=country,
                new=CAPITALS[countries[(place + 1) % len(countries)]],
                old=CAPITALS[country],
                paraphrases=(
                    Cloze(f"Which city is the capital of {country}?", begins),
                    Cloze(
                        f"I am going to {country}. Which city should I see first, if I want to see the capital?", begins
                    ),
                ),
                neighbours=tuple(
                    (Cloze(f"What is the capital of {other}?", begins), CAPITALS[other]) for other in near
                ),
            )
        )
    return facts


def read_exchanges(path: Path | None) -> list[Fact]:
    """The facts of a table; the built-in ones without.

    Columns ``prompt``, ``subject`` and ``new``; where there are ``old``, ``begins``, ``paraphrases``, ``neighbours`` and
    ``neighbour_answers`` (without them the neighbours' answer is ``old``). Raises InputError with the row that is wrong.
    """
    if path is None:
        return own_facts()
    facts = []
    for row in read_rows(path, ("prompt", "subject", "new")):
        prompt, subject, new, old, begins = (
            str(row.values.get(name) or "").strip() for name in ("prompt", "subject", "new", "old", "begins")
        )
        paraphrases, near, answers = map(row.texts, ("paraphrases", "neighbours", "neighbour_answers"))
        answers = answers or [old] * len(near)
        if not (prompt and subject and new):
            raise InputError(f"{row.place}: expected prompt, subject and new, none of them empty.")
        if subject not in prompt:
            raise InputError(
                f"{row.place}: the subject {subject!r} is not in the prompt {prompt!r}; write it as the prompt has it."
            )
        if new == old:
            raise InputError(f"{row.place}: new and old are both {new!r}; the new answer must be another one.")
        if len(answers) != len(near) or not all(answers):
            raise InputError(
                f"{row.place}: {len(near)} neighbours need an answer each, in neighbour_answers, or one in old."
            )
        told = tuple(Cloze(text, begins) for text in paraphrases)
        beside = tuple((Cloze(text, begins), answer) for text, answer in zip(near, answers, strict=True))
        facts.append(Fact(Cloze(prompt, begins), subject, new, old, told, beside))
    if not facts:
        raise InputError(f"{path} holds no fact; give at least one row.")
    if twice := [f.subject for n, f in enumerate(facts) if f.subject in {g.subject for g in facts[:n]}]:
        raise InputError(f"{path}: the subject {twice[0]!r} comes twice; a subject has one key, so give each once.")
    return facts
