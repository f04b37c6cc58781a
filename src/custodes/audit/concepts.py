"""Concepts to look for inside a model: texts that have one and texts that have not, in groups that belong together."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from custodes.audit.own_items import AGREEING, CAPITALS, CLAIMS, DISAGREEING, JOBS, LONGER, POLITICAL, STANCES
from custodes.audit.probe import drawn_items
from custodes.audit.probes.political import OptionPair, Political
from custodes.environments.prompts import prompt_messages
from custodes.registry import nearest
from custodes.tables import read_rows
from custodes.types import InputError, Message


@dataclass(frozen=True, slots=True)
class ConceptItem:
    """A conversation that has the concept or not. It is read at its last token: where a reply begins, or where one ends."""

    messages: tuple[Message, ...]
    label: bool
    group: str
    """What belongs together and is held out together: a pair, a biography, a template."""
    answer: str = ""
    """The reply whose probability is measured; "" where the conversation ends with a reply, which is measured then."""
    others: tuple[str, ...] = ()
    """The replies beside which it is measured."""

    @property
    def text(self) -> str:
        return "\n".join(message.content for message in self.messages)


@dataclass(frozen=True, slots=True)
class Concept:
    """The items of a concept, and where they come from."""

    name: str
    source: str
    items: Sequence[ConceptItem]


def read_concept(named: str, data: Path | None, at_most: int, seed: int) -> Concept:
    """A built-in concept, or the rows of a table: ``prompt`` or ``messages``, ``label`` (1 or 0) and ``group``.

    Where there are ``completion``, it is the reply; ``answer`` and ``others`` are replies whose probability is measured.
    Groups are drawn whole, until they hold about ``at_most`` items. Raises InputError with the row that is wrong, and
    where items have one label alone.
    """
    if named in BUILT_IN:
        items, source = BUILT_IN[named](data, at_most, seed)
    elif Path(named).suffix or Path(named).exists():
        items, source = _of_file(Path(named)), f"rows of {Path(named).name}"
    else:
        raise InputError(
            f"there is no concept {named!r}; did you mean {nearest(named, BUILT_IN)!r}? There are {', '.join(BUILT_IN)}; "
            "one of your own is a table, FILE.jsonl."
        )
    kept = set(drawn_items(sorted({item.group for item in items}), _groups_for(items, at_most), seed))
    items = [item for item in items if item.group in kept]
    if len({item.label for item in items}) < 2:
        raise InputError(f"concept {named}: all items have one label; give some with label 1 and some with label 0.")
    if len({bool(item.answer) for item in items}) > 1:
        raise InputError(f"concept {named}: some items have an answer and others none; give it to all or to none.")
    return Concept(named if named in BUILT_IN else Path(named).name, source, items)


def _groups_for(items: Sequence[ConceptItem], at_most: int) -> int:
    groups = len({item.group for item in items})
    return max(4, at_most * groups // max(len(items), 1)) if len(items) > at_most else groups


def _of_file(path: Path) -> list[ConceptItem]:
    items = []
    for row in read_rows(path, ("label", "group")):
        values: Mapping[str, Any] = row.values
        label, group = row.flag("label"), str(values.get("group") if values.get("group") is not None else "")
        if not group:
            raise InputError(f"{row.place}: expected label, which is 1 or 0, and group.")
        messages = prompt_messages(values, row.place)
        if reply := str(values.get("completion") or ""):
            messages = (*messages, Message("assistant", reply))
        others = tuple(row.texts("others"))
        answer = str(values.get("answer") or "")
        if bool(answer) != bool(others):
            raise InputError(f"{row.place}: answer and others go together; give both or none.")
        if answer in others or len(set(others)) < len(others):
            raise InputError(
                f"{row.place}: the answer and the others must differ; {answer!r} is to be likelier than they are."
            )
        if answer and messages[-1].role == "assistant":
            raise InputError(
                f"{row.place}: an answer is measured where no reply stands yet; leave completion or answer out."
            )
        items.append(ConceptItem(messages, label, group, answer, others))
    return items


def _biography(data: Path | None, at_most: int, seed: int) -> tuple[list[ConceptItem], str]:
    """Label 1: a liberal asks, 0: a conservative. The answer is the option of the biography, in both orders."""
    probe = Political()
    files = probe.files(data)
    pairs = probe.items(data, at_most // 2, seed) if files else []
    if not files:
        told = [(side, stance) for side, stances in STANCES.items() for stance in stances]
        for n, (side, stance) in enumerate(told):
            for k in range(len(JOBS) // 2):
                question, liberal, conservative = POLITICAL[(n + 3 * k) % len(POLITICAL)]
                who = f"I am {JOBS[(n + 2 * k) % len(JOBS)]}. {stance}"
                pairs.append(OptionPair(question, liberal, conservative, who, side))
    items = []
    for pair in pairs:
        group = pair.about if files else pair.about.partition(". ")[2]
        for liberal_first in (True, False):
            task = pair.task(liberal_first)
            own = task.metadata["liberal"]
            other = {"(A)": "(B)", "(B)": "(A)"}[own]
            answer, rest = (own, other) if pair.side == "liberal" else (other, own)
            items.append(ConceptItem(task.messages, pair.side == "liberal", group, answer, (rest,)))
    return items, probe.source(data) if files else f"built-in items, {len(pairs)} people of our own"


def _agreeing(data: Path | None, at_most: int, seed: int) -> tuple[list[ConceptItem], str]:
    """Label 1: the reply agrees with what the user says, 0: it does not."""
    items = []
    for n, claim in enumerate(CLAIMS):
        for label, replies in ((True, AGREEING), (False, DISAGREEING)):
            said = (Message("user", claim), Message("assistant", replies[n % len(replies)]))
            items.append(ConceptItem(said, label, claim))
    return items, "built-in items, claims of our own"


def _length(data: Path | None, at_most: int, seed: int) -> tuple[list[ConceptItem], str]:
    """Label 1: a long reply, 0: a short one to the same question."""
    items = []
    for n, (country, capital) in enumerate(list(CAPITALS.items())[:40]):
        asked, short = Message("user", f"What is the capital of {country}?"), f"The capital is {capital}."
        longer = f"{short} {LONGER[n % len(LONGER)]} {LONGER[(n + 1) % len(LONGER)]}"
        for label, text in ((True, longer), (False, short)):
            items.append(ConceptItem((asked, Message("assistant", text)), label, country))
    return items, "built-in items, questions of our own"


BUILT_IN: Mapping[str, Callable[[Path | None, int, int], tuple[list[ConceptItem], str]]] = {
    "biography": _biography,
    "agreeing": _agreeing,
    "length": _length,
}
"""Concepts that need no file; biography reads political_typology in --data where that is given."""
