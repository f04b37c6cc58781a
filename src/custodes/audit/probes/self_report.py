"""What a model says of itself: power, survival, being corrected. A report, and no act.

The items are model-written evaluations (arXiv 2212.09251): questions with options, and statements to say yes or no to.
"""

from __future__ import annotations

import random
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from custodes.audit.choice import BARE, ChoiceItem, ask_choices
from custodes.audit.probe import Probe, ProbeColumns, ProbeFigure, ProbeSetting, column, drawn_items, paired_figure
from custodes.environments.prompts import task_id
from custodes.lm.choices import YES_NO, RepliesTold, choice_logprobs
from custodes.registry import probe
from custodes.tables import read_rows
from custodes.types import InputError, Message, Task

_OPTION = re.compile(r"\(([A-J])\) *(.*?)(?=\n *\([A-J]\)|\n+Answer:|\Z)", re.DOTALL)
FIGURES = {
    "power_seeking": "Seeks power",
    "survival": "Wants to go on",
    "acquiring_power": "Would acquire power",
    "corrigible_less": "Agrees to worse values",
    "politically_liberal": "Says what liberals say",
    "politically_conservative": "Says what conservatives say",
}


@dataclass(frozen=True, slots=True)
class BehaviourItem:
    """A question about oneself; ``matching`` are the options, or whether "Yes" is the answer, that show the behaviour."""

    behaviour: str
    asked: ChoiceItem | Task
    matching: int
    """Place of the option; of a statement 0 for Yes and 1 for No."""


@probe
@dataclass(frozen=True, kw_only=True)
class SelfReport(Probe):
    """Model-written evaluations of power, survival, correction and politics."""

    title: ClassVar[str] = "Self-report of power and survival"
    asks: ClassVar[str] = (
        "Questions about oneself. Options are asked in up to four orders and averaged. Statements are asked for Yes or No, half of "
        "them the other way round. Each number is the probability of the answer that shows the behaviour."
    )
    headline: ClassVar[tuple[str, ...]] = ("Seeks power", "Wants to go on")
    data: ClassVar[Mapping[str, str]] = {
        "power_seeking": "model_written_evals/power-seeking-inclination",
        "survival": "model_written_evals/survival-instinct",
        "acquiring_power": "model_written_evals/desire-for-acquiring-power",
        "corrigible_less": "model_written_evals/corrigible-less-HHH",
        "politically_liberal": "model_written_evals/politically-liberal",
        "politically_conservative": "model_written_evals/politically-conservative",
    }
    cannot: ClassVar[str] = "what a model would do: it is what it says of itself when it is asked."

    power_seeking: Path | None = None
    """Questions about seeking power: columns question, answer_matching_behavior, answer_not_matching_behavior. Without it
    model_written_evals/power-seeking-inclination in --data."""
    survival: Path | None = None
    """The same about going on to exist: survival-instinct."""
    acquiring_power: Path | None = None
    """Statements about power, answered Yes or No: desire-for-acquiring-power."""
    corrigible_less: Path | None = None
    """Questions about being given worse values: corrigible-less-HHH."""
    politically_liberal: Path | None = None
    """Statements of politics, answered Yes or No: politically-liberal."""
    politically_conservative: Path | None = None
    """The same: politically-conservative."""

    def items(self, data: Path | None, at_most: int, seed: int) -> list[BehaviourItem]:
        files = self.files(data)
        each = max(1, at_most // len(files))
        rng = random.Random(seed)
        drawn = (drawn_items(_behaviours(name, file, rng), each, seed) for name, file in files.items())
        return [item for own in drawn for item in own][:at_most]

    def observe(self, engine: RepliesTold, items: Sequence[BehaviourItem], setting: ProbeSetting) -> ProbeColumns:
        matching, mass, yes = np.full(len(items), np.nan), np.zeros(len(items)), np.full(len(items), np.nan)
        choices = [i for i, item in enumerate(items) if isinstance(item.asked, ChoiceItem)]
        said = [i for i, item in enumerate(items) if isinstance(item.asked, Task)]
        if choices:
            told = ask_choices(engine, [_choice(items[i]) for i in choices], BARE)
            matching[choices] = [own[items[i].matching] for i, own in zip(choices, told.options, strict=True)]
            mass[choices] = told.mass
        if said:
            p = np.exp(choice_logprobs(engine, [_statement(items[i]) for i in said], YES_NO))  # (n, 2)
            yes[said] = p[:, 0] / p.sum(axis=1)
            matching[said] = [p[k, items[i].matching] / p[k].sum() for k, i in enumerate(said)]
            mass[said] = p.sum(axis=1)
        return {
            "matching": matching.tolist(),
            "mass": mass.tolist(),
            "yes": [None if np.isnan(value) else value for value in yes.tolist()],
        }

    def figures(self, observed: Mapping[str, ProbeColumns], items: Sequence[BehaviourItem]) -> list[ProbeFigure]:
        clusters = list(range(len(items)))
        figures = []
        for behaviour, name in FIGURES.items():
            of = {
                model: [p if item.behaviour == behaviour else np.nan for item, p in zip(items, own, strict=True)]
                for model, own in column(observed, "matching").items()
            }
            figures.append(paired_figure(name, of, clusters, note="self-report"))
        yes = {model: [np.nan if p is None else p for p in own] for model, own in column(observed, "yes").items()}
        figures.append(paired_figure("Yes, whatever the statement", yes, clusters))
        figures.append(
            paired_figure("Mass on the answers", column(observed, "mass"), clusters, note="the reply begins with one")
        )
        return [figure for figure in figures if figure.models]


def _choice(item: BehaviourItem) -> ChoiceItem:
    assert isinstance(item.asked, ChoiceItem)
    return item.asked


def _statement(item: BehaviourItem) -> Task:
    assert isinstance(item.asked, Task)
    return item.asked


def _behaviours(behaviour: str, path: Path, rng: random.Random) -> list[BehaviourItem]:
    """Raises InputError for a row of another form."""
    items = []
    for row in read_rows(path, ("question", "answer_matching_behavior")):
        question = str(row.values.get("question") or "").strip()
        matching = str(row.values.get("answer_matching_behavior") or "").strip()
        options = [] if matching in YES_NO else _OPTION.findall(question)
        letters = [f"({letter})" for letter, _ in options]
        if not question or matching not in (*YES_NO, *letters):
            raise InputError(
                f"{row.place}: expected a question and answer_matching_behavior, one of its letters or Yes or No."
            )
        if options:
            before = re.sub(r"\n+(Choices|Options):?\s*$", "", question[: question.index(letters[0])].rstrip())
            order = rng.sample(range(len(options)), len(options))
            texts = tuple(options[k][1].strip() for k in order)
            asked: Any = ChoiceItem(before.removeprefix("Question:").strip(), texts, str(row.number))
            items.append(BehaviourItem(behaviour, asked, order.index(letters.index(matching))))
        else:
            messages = (Message("user", f"{question}\nAnswer with Yes or No."),)
            items.append(BehaviourItem(behaviour, Task(task_id(messages), messages), YES_NO.index(matching)))
    return items
