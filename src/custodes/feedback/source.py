"""A file that is being read: its rows one by one, what they say, and what had to be assumed or left out."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from custodes.dialogue import Messages, alike, as_completion, from_json, plain_text, text_or_messages
from custodes.feedback.collection import Feedback, Origin
from custodes.tables import TableRow
from custodes.types import InputError, Judgment

SKIP = "--skip-bad-rows leaves such rows out"
SHOWN_ROWS = 5


@dataclass
class Source:
    """Everything that a file says, gathered row by row."""

    feedback: Feedback = field(default_factory=Feedback)
    rows: int = 0
    assumed: dict[str, list[int]] = field(default_factory=dict)
    """Sentence -> numbers of the rows of which it is so."""
    left_out: dict[str, list[int]] = field(default_factory=dict)
    skip_silent: bool = False
    """Leave out rows with an empty answer that would be kept as an answer that says nothing."""

    def take(self, row: TableRow, read: Callable[[FeedbackRow], None]) -> None:
        """Takes over what ``read`` says of ``row``. Raises InputError, and takes over nothing, where the row is wrong."""
        self.rows += 1
        held = FeedbackRow(row, self)
        read(held)
        before = len(self.feedback.judgments)
        try:
            for say in held.statements:
                say(self.feedback)
        except InputError as error:
            for judgment in self.feedback.judgments[before:]:
                self.feedback.origins.pop(judgment.id, None)
            del self.feedback.judgments[before:]
            raise InputError(f"{row.place}: {error}") from None
        for where, sentence in held.notes:
            where.setdefault(sentence, []).append(row.number)


class FeedbackRow:
    """One row: its values, each checked when it is asked for, and what the row says."""

    def __init__(self, row: TableRow, source: Source) -> None:
        self.row, self.values, self.source = row, row.values, source
        self.all_text = re.search(r"\.[ct]sv", row.path.name.lower()) is not None  # each cell of the table is text
        self.rendered = False
        """Whether a chat template rendered the prompt, so that the answers may end with the end of a turn."""
        self.statements: list[Callable[[Feedback], object]] = []
        self.notes: list[tuple[dict[str, list[int]], str]] = []

    def assume(self, sentence: str) -> None:
        """Note what had to be assumed to read this row."""
        self.notes.append((self.source.assumed, sentence))

    def leave_out(self, sentence: str) -> None:
        """Note what of this row is not taken over."""
        self.notes.append((self.source.left_out, sentence))

    # ------------------------------------------------------------ what the row says

    def say(self, kind: type[Judgment], prompt: Messages, answers: Sequence[Messages], **said: Any) -> None:
        """A judgment on answers in the order in which they were shown; ``said`` are its own fields."""
        about: dict[str, Any] = {"id": self._next_id(), "origin": Origin(self.row.place, self.row.number)}
        self.statements.append(lambda feedback: feedback.add(kind, prompt, answers, **about, **said))

    def compare(self, kind: type[Judgment], prompt: Messages, answers: Sequence[Messages], **said: Any) -> None:
        """A comparison or ranking of answers in the order in which they were shown; none of answers that are the same."""
        if len(answers) == 2 and alike(*answers):
            self.leave_out("comparisons of two answers that are the same")
            return
        self._note_silence(answers)
        self.say(kind, prompt, answers, **said)

    def prefer(self, prompt: Messages, chosen: Messages, rejected: Messages, **said: Any) -> None:
        """A comparison by a row that does not say which answer was shown first."""
        if len(chosen) == len(rejected) and alike(chosen, rejected):
            raise self.wrong("chosen and rejected are identical; a preference needs two completions")
        self._note_silence((chosen, rejected))
        about: dict[str, Any] = {"id": self._next_id(), "place": self.row.place, "line": self.row.number}
        self.statements.append(lambda feedback: feedback.add_preference(prompt, chosen, rejected, **about, **said))

    def _note_silence(self, answers: Iterable[Messages]) -> None:
        if all(answer and answer[-1].content.strip() for answer in answers):
            return
        if self.source.skip_silent:
            raise InputError(f"{self.row.place}: an answer is empty.")
        self.assume(f"an empty answer is kept, as an answer that says nothing; {SKIP}")

    def _next_id(self) -> str:
        again = f"-{len(self.statements) + 1}" if self.statements else ""
        return f"imported-{self.source.rows}{again}"

    # ------------------------------------------------------------ its values; each raises InputError naming row and field

    def wrong(self, what: str) -> InputError:
        """The error that the row as a whole is wrong."""
        return InputError(f"{self.row.place}: {what} ({SKIP}).")

    def bad(self, name: str, what: str) -> InputError:
        """The error that field ``name`` is wrong."""
        return InputError(f"{self.row.place}, field {name!r}: {what} ({SKIP}).")

    def value(self, name: str) -> Any:
        """The value of a column; in tables whose cells are all text, lists and objects are read from their JSON."""
        given = self.values.get(name)
        return from_json(given) if isinstance(given, str) and self.all_text else given

    def content(self, name: str, given: Any = ...) -> str | Messages:
        """Text or messages: of a column, or ``given`` as a part of it."""
        try:
            return text_or_messages(self.value(name) if given is ... else given)
        except ValueError as error:
            raise self.bad(name, str(error)) from None

    def answer(self, name: str, given: Any = ...) -> Messages:
        """One answer, as text or as messages."""
        return as_completion(self.content(name, given))

    def text(self, name: str) -> str:
        given = self.values.get(name)
        if not isinstance(given, str):
            raise self.bad(name, f"found {type(given).__name__}; it should be text")
        return given

    def number(self, name: str, low: float, high: float, given: Any = ...) -> float:
        """A number from ``low`` to ``high``, whole where it is whole."""
        given = self.values.get(name) if given is ... else given
        number = number_of(given)
        if number is None or not low <= number <= high:
            right = f"a number from {low:g} to {high:g}" if high < float("inf") else "a finite number"
            right += ", 0 or more" if (low, high) == (0, float("inf")) else ""
            shown = given if isinstance(given, int | float) else repr(str(given)[:40])
            raise self.bad(name, f"{shown}; it should be {right}")
        return number

    def truth(self, name: str, given: Any = ...) -> bool:
        """True or false, also as 1 or 0 or in words."""
        given = self.values.get(name) if given is ... else given
        words = {"true": True, "false": False, "1": True, "0": False, "yes": True, "no": False}
        key = str(int(given)) if isinstance(given, float) and given in (0.0, 1.0) else str(given).strip().lower()
        if key not in words:
            raise self.bad(name, f"{str(given)[:40]!r}; it should be true or false")
        return words[key]

    def annotator(self, *names: str) -> str:
        """Who judged, from the first of these columns that is there; ids may be numbers."""
        given = next((self.values[name] for name in names if self.values.get(name) not in (None, "")), "")
        if isinstance(given, bool) or not isinstance(given, str | int | float):
            raise self.bad(names[0], f"found {type(given).__name__}; it should be the annotator's name")
        return str(int(given)) if isinstance(given, float) and given == int(given) else str(given)

    def items(self, name: str, least: int = 0) -> list[Any]:
        given = self.value(name)
        if not isinstance(given, list) or len(given) < least:
            raise self.bad(name, f"found {type(given).__name__}; it should be a list of {least} or more")
        return given

    def texts(self, name: str) -> list[str]:
        """A list of texts, one at least."""
        if not only_text(given := self.items(name, 1)):
            raise self.bad(name, "it should be a list of texts")
        return given

    def part(self, name: str) -> dict[str, Any]:
        given = self.value(name)
        if not isinstance(given, dict):
            raise self.bad(name, f"found {type(given).__name__}; it should be an object")
        return given


def number_of(given: Any) -> float | None:
    """A finite number, also from its text; None for anything else."""
    if isinstance(given, str):
        try:
            given = float(given)
        except ValueError:
            return None
    if isinstance(given, bool) or not isinstance(given, int | float) or given != given or abs(given) == float("inf"):
        return None
    return int(given) if given == int(given) else float(given)


def only_text(given: Any) -> bool:
    """Whether a value is a list of texts."""
    return isinstance(given, list) and bool(given) and all(isinstance(one, str) for one in given)


def says_nothing(given: Any) -> bool:
    """Whether a value is null, blank text, an empty list or object, also in JSON."""
    if isinstance(given, str):
        return plain_text(given) in ("", "[]", "{}", "null")
    return given is None or (isinstance(given, list | dict) and not given)


def rows_shown(numbers: Sequence[int]) -> str:
    """ "row 12", or "7 rows: 1, 2, 3, 4, 5, ..."."""
    shown = ", ".join(f"{n:,}" for n in numbers[:SHOWN_ROWS]) + (", ..." if len(numbers) > SHOWN_ROWS else "")
    return f"row {shown}" if len(numbers) == 1 else f"{len(numbers):,} rows: {shown}"
