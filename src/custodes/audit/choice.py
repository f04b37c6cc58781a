"""Multiple-choice items, asked in several orders: models lean to a letter, and to what stands first, whatever it says.

Letters: N items, K options of an item, R orders in which it is asked.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.special import logsumexp

from custodes.environments.prompts import task_id
from custodes.lm.choices import RepliesTold
from custodes.types import Floats, InputError, Message, Task

BRACKETED = tuple(f"({letter})" for letter in "ABCDEFGHIJ")
"""What names the options, where an engine tells of replies of several tokens."""
BARE = tuple("ABCDEFGHIJ")
"""The same where it only tells of a reply's first token."""
MOST_ORDERS = 4


@dataclass(frozen=True, slots=True)
class ChoiceItem:
    """A question with its options. ``cluster`` names what counts as one in intervals."""

    question: str
    options: tuple[str, ...]
    cluster: str

    def __post_init__(self) -> None:
        if not 2 <= len(self.options) <= len(BRACKETED):
            raise InputError(
                f"question {self.question[:60]!r} has {len(self.options)} options; give 2 to {len(BRACKETED)}."
            )

    def task(self, order: Sequence[int], letters: Sequence[str] = BRACKETED) -> Task:
        """The question, its options in this order and under these letters.

        With brackets it has the form of model-written evaluations (arXiv 2212.09251). With bare letters the model is told to
        answer with one, which small models do more often.
        """
        bare = letters[0] == BARE[0]
        form, end = (
            ("\n{}. {}", "\nAnswer with the letter of one option alone.") if bare else ("\n {} {}", "\n\nAnswer:")
        )
        lines = "".join(form.format(letter, self.options[k]) for letter, k in zip(letters, order, strict=False))
        messages = (Message("user", f"{self.question}{lines}{end}"),)
        return Task(task_id(messages), messages)

    def orders(self) -> list[tuple[int, ...]]:
        """The R rotations in which it is asked: all, or four that are spread evenly."""
        K = len(self.options)
        R = min(K, MOST_ORDERS)
        return [tuple((place + turn * K // R) % K for place in range(K)) for turn in range(R)]


@dataclass(frozen=True, slots=True, eq=False)
class ChoiceAnswers:
    """What a model answers to N items."""

    options: list[Floats]
    """(K,) each: probability of each option among the options, averaged over the orders."""
    mass: Floats
    """(N,) probability that the reply begins with one of the letters, averaged over the orders."""
    first: Floats
    """(N,) probability of the option that stands first, among the options: 1 / K where the model leans to no place."""

    def columns(self) -> dict[str, list[Any]]:
        """As a probe records them."""
        return {
            "options": [own.tolist() for own in self.options],
            "mass": self.mass.tolist(),
            "first": self.first.tolist(),
        }


def ask_choices(engine: RepliesTold, items: Sequence[ChoiceItem], letters: Sequence[str] = BRACKETED) -> ChoiceAnswers:
    """Ask every item in its orders. Raises :class:`~custodes.lm.given.CannotTell` where the engine cannot tell."""
    asked = [(item, order, item.task(order, letters)) for item in items for order in item.orders()]
    tasks = [task for item, _, task in asked for _ in item.options]
    replies = [letter for item, _, _ in asked for letter in letters[: len(item.options)]]
    nats = engine.reply_logprobs(tasks, replies)
    options: list[Floats] = []
    mass, first, at = [], [], 0
    for item in items:
        K, orders = len(item.options), item.orders()
        told = nats[at : at + K * len(orders)].reshape(len(orders), K)  # (R, K) in the order of the letters
        at += told.size
        whole = logsumexp(told, axis=1)
        shares = np.exp(told - whole[:, None])
        own = np.zeros(K)
        for order, share in zip(orders, shares, strict=True):
            own[list(order)] += share / len(orders)
        options.append(own)
        mass.append(float(np.exp(whole).mean()))
        first.append(float(shares[:, 0].mean()))
    return ChoiceAnswers(options, np.array(mass), np.array(first))
