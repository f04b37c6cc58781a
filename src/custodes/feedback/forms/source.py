"""A file that is being read: its rows one by one, what they say, and what had to be assumed or left out."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, Self

from custodes.dialogue import Messages, alike, as_completion, from_json, plain_text, text_or_messages
from custodes.feedback.collection import Feedback, Origin
from custodes.tables import Row
from custodes.types import InputError, Judgment

SKIP = "--skip-bad-rows leaves such rows out"
SHOWN_ROWS = 5


@dataclass
class Source:
    """Everything that a file says, gathered row by row. A row that cannot be used leaves nothing behind."""

    feedback: Feedback = field(default_factory=Feedback)
    rows: int = 0
    assumed: dict[str, list[int]] = field(default_factory=dict)
    """Sentence -> numbers of the rows of which it is so."""
    left_out: dict[str, list[int]] = field(default_factory=dict)
    skip_silent: bool = False
    """Leave out rows with an empty answer that would be kept as an answer that says nothing."""
    rendered: bool = False
    """Whether a chat template rendered this row's prompt, so that its answers may end with the end of a turn."""
    _said: list[Callable[[], object]] = field(default_factory=list)
    _noted: list[tuple[dict[str, list[int]], str]] = field(default_factory=list)
    _row: Row | None = None

    @classmethod
    def of(cls, row: Row) -> Self:
        """A source of one row."""
        source = cls()
        source.begin(row)
        return source

    def begin(self, row: Row) -> None:
        """What follows is said by ``row``."""
        self._row, self._said, self._noted, self.rendered = row, [], [], False
        self.rows += 1

    def commit(self) -> None:
        """Take over what the row said. Raises InputError, and takes over nothing, where a judgment is none."""
        assert self._row is not None
        feedback, before = self.feedback, len(self.feedback.judgments)
        try:
            for say in self._said:
                say()
        except InputError as error:
            for judgment in feedback.judgments[before:]:
                feedback.origins.pop(judgment.id, None)
            del feedback.judgments[before:]
            raise InputError(f"{self._row.place}: {error}") from None
        for where, sentence in self._noted:
            where.setdefault(sentence, []).append(self._row.number)

    def assume(self, sentence: str) -> None:
        """Note what had to be assumed to read this row."""
        self._noted.append((self.assumed, sentence))

    def leave_out(self, sentence: str) -> None:
        """Note what of this row is not taken over."""
        self._noted.append((self.left_out, sentence))

    # ------------------------------------------------------------ what a row says

    def say(self, kind: type[Judgment], prompt: Messages, answers: Sequence[Messages], **said: Any) -> None:
        """A judgment of this row on answers in the order in which they were shown."""
        origin = Origin(self._place, self._number)
        id = self._next_id()
        self._said.append(lambda: self.feedback.add(kind, prompt, answers, id=id, origin=origin, **said))

    def prefer(self, prompt: Messages, chosen: Messages, rejected: Messages, **more: Any) -> None:
        """A comparison of this row, which does not say what was shown first."""
        if len(chosen) == len(rejected) and alike(chosen, rejected):
            raise InputError(
                f"{self._place}: chosen and rejected are identical; a preference needs two completions ({SKIP})."
            )
        self._silent((chosen, rejected))
        about: dict[str, Any] = {"id": self._next_id(), "place": self._place, "line": self._number}
        self._said.append(lambda: self.feedback.add_preference(prompt, chosen, rejected, **about, **more))

    def compare(self, kind: type[Judgment], prompt: Messages, answers: Sequence[Messages], **said: Any) -> None:
        """A comparison or ranking of answers in the order in which they were shown; none of answers that are the same."""
        if len(answers) == 2 and alike(*answers):
            self.leave_out("comparisons of two answers that are the same")
            return
        self._silent(answers)
        self.say(kind, prompt, answers, **said)

    def take(self, add: Callable[[Feedback], None]) -> None:
        """Something that is a judgment already: ``add`` puts it where it belongs."""
        self._said.append(lambda: add(self.feedback))

    def _silent(self, answers: Iterable[Messages]) -> None:
        if all(answer and answer[-1].content.strip() for answer in answers):
            return
        if self.skip_silent:
            raise InputError(f"{self._place}: an answer is empty.")
        self.assume(f"an empty answer is kept, as an answer that says nothing; {SKIP}")

    def _next_id(self) -> str:
        return f"imported-{self.rows}" + (f"-{len(self._said) + 1}" if self._said else "")

    @property
    def _place(self) -> str:
        assert self._row is not None
        return self._row.place

    @property
    def _number(self) -> int:
        assert self._row is not None
        return self._row.number


# ---------------------------------------------------------------- values of a row


def bad(row: Row, name: str, what: str) -> InputError:
    """The error that field ``name`` of ``row`` is wrong."""
    return InputError(f"{row.place}, field {name!r}: {what}")


def value(row: Row, name: str) -> Any:
    """The value of a column; in tables whose cells are all text, lists and objects are read from their JSON."""
    given = row.values.get(name)
    all_text = any(end in row.path.name.lower() for end in (".csv", ".tsv"))
    return from_json(given) if isinstance(given, str) and all_text else given


def content(row: Row, name: str) -> str | Messages:
    """Text or messages. Raises InputError naming file, row and field."""
    try:
        return text_or_messages(value(row, name))
    except ValueError as error:
        raise bad(row, name, f"{error} ({SKIP}).") from None


def text(row: Row, name: str) -> str:
    """Text. Raises InputError naming file, row and field."""
    given = row.values.get(name)
    if not isinstance(given, str):
        raise bad(row, name, f"found {type(given).__name__}; it should be text ({SKIP}).")
    return given


def answer(row: Row, name: str) -> Messages:
    """One answer, given as text or as messages."""
    return as_completion(content(row, name))


def number(row: Row, name: str, low: float, high: float) -> float:
    """A number from ``low`` to ``high``, whole where it is whole. Raises InputError naming file, row and field."""
    given = row.values.get(name)
    found = number_of(given)
    if found is None or not low <= found <= high:
        right = f"a number from {low:g} to {high:g}" if high < float("inf") else "a finite number"
        right += ", 0 or more" if (low, high) == (0, float("inf")) else ""
        raise bad(
            row,
            name,
            f"{given if isinstance(given, int | float) else str(given)[:40]!r}; it should be {right} ({SKIP}).",
        )
    return found


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


def truth(row: Row, name: str) -> bool:
    """True or false, also as 1 or 0 or in words. Raises InputError naming file, row and field."""
    given = row.values.get(name)
    words = {"true": True, "false": False, "1": True, "0": False, "yes": True, "no": False}
    key = str(int(given)) if isinstance(given, float) and given in (0.0, 1.0) else str(given).strip().lower()
    if key not in words:
        raise bad(row, name, f"{str(given)[:40]!r}; it should be true or false ({SKIP}).")
    return words[key]


def who(row: Row, *names: str) -> str:
    """The annotator, from the first of these columns that is there; ids may be numbers."""
    given = next((row.values[name] for name in names if row.values.get(name) not in (None, "")), "")
    if isinstance(given, bool) or not isinstance(given, str | int | float):
        raise bad(row, names[0], f"found {type(given).__name__}; it should be the annotator's name.")
    return str(int(given)) if isinstance(given, float) and given == int(given) else str(given)


def items(row: Row, name: str, least: int = 0) -> list[Any]:
    """A list. Raises InputError naming file, row and field."""
    given = value(row, name)
    if not isinstance(given, list) or len(given) < least:
        raise bad(row, name, f"found {type(given).__name__}; it should be a list of {least} or more ({SKIP}).")
    return given


def part(row: Row, name: str) -> dict[str, Any]:
    """An object. Raises InputError naming file, row and field."""
    given = value(row, name)
    if not isinstance(given, dict):
        raise bad(row, name, f"found {type(given).__name__}; it should be an object ({SKIP}).")
    return given


def empty(given: Any) -> bool:
    """Whether a value says nothing: null, blank text, an empty list or object, also in JSON."""
    if isinstance(given, str):
        return plain_text(given) in ("", "[]", "{}", "null")
    return given is None or (isinstance(given, list | dict) and not given)


def rows_shown(numbers: Sequence[int]) -> str:
    """ "row 12", or "7 rows: 1, 2, 3, 4, 5, ..."."""
    shown = ", ".join(f"{n:,}" for n in numbers[:SHOWN_ROWS]) + (", ..." if len(numbers) > SHOWN_ROWS else "")
    return f"row {shown}" if len(numbers) == 1 else f"{len(numbers):,} rows: {shown}"
