"""What people answered on a platform, as judgments: read by the name of the question and by the form of its value.

Files of platforms hold answers without what was asked, so that names must tell: which response is meant ("rating-response2",
"quality_B"), whether a text is a comment, a correction or an answer of one's own. What could mean two things is refused
by name, with the record and the question.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from custodes.feedback.collection import Feedback
from custodes.feedback.kinds.comment import Comment
from custodes.feedback.kinds.comparison import Comparison, Verdict
from custodes.feedback.kinds.correction import Correction
from custodes.feedback.kinds.demonstration import Demonstration
from custodes.feedback.kinds.label import Label
from custodes.feedback.kinds.ranking import Ranking
from custodes.feedback.kinds.rating import Rating
from custodes.feedback.kinds.span import SpanMark
from custodes.types import Episode, InputError, Judgment, Task

ALIKE: dict[str, Verdict] = {
    **dict.fromkeys(("tie", "equal", "same", "both", "bothgood", "equallygood", "nopreference"), "tie"),
    **dict.fromkeys(("bothbad", "neither", "equallybad", "none"), "both_bad"),
    **dict.fromkeys(("cannotjudge", "cantjudge", "unsure", "dontknow", "skip"), "cannot_judge"),
}
"""What is said of two responses of which none is preferred; letters and digits alone count."""
_PLACE = re.compile(
    r"(?:^|[^a-z])(?:response|answer|completion|generation|output|option|model|text)?[ _-]*([1-9]|[a-d])$"
)
_RESPONSE = re.compile(r"(?:response|answer|completion|generation|output|option|model)?([1-9]|[a-d])")
_WORDS = {"first": 0, "left": 0, "one": 0, "second": 1, "right": 1, "two": 1, "third": 2, "fourth": 3}
_OVERALL = re.compile(
    r"(preference|preferred|which|better|best|winner|choice|comparison|ranking|rank|overall|pw|pairwise)"
)
_COMMENT = re.compile(r"comment|feedback|explanation|reason|rationale|critique|note|why")
_CORRECTION = re.compile(r"correct(ion|ed)|rewrit|rewrote|improved|edit")
_DEMONSTRATION = re.compile(r"demonstration|ideal|own[ _-]?answer|gold[ _-]?answer|expected")


@dataclass
class Answered:
    """One answer. ``form`` is that of its value: "text", "number", "choices", "spans", "ranks", or "pair" for a choice of two."""

    place: str
    """The record, and the question in it, for errors."""
    id: str
    question: str
    form: str
    value: Any
    annotator: str
    about: Mapping[str, Any] = field(default_factory=dict)
    response: int | None = None
    """The response that it is about, from 0, where the platform says so."""

    def bad(self, what: str) -> InputError:
        return InputError(f"{self.place}: {what}")


@dataclass
class Scales:
    """What can be seen of a file's questions in all of their answers."""

    numbers: dict[str, list[float]] = field(default_factory=dict)
    options: dict[str, list[str]] = field(default_factory=dict)
    several: set[str] = field(default_factory=set)
    texts: set[str] = field(default_factory=set)

    def see(self, given: Answered) -> None:
        """Takes an answer into account."""
        if given.form == "number":
            self.numbers.setdefault(given.question, []).append(float(given.value))
        elif given.form == "choices":
            held = self.options.setdefault(given.question, [])
            held += [one for one in given.value if one not in held]
            if len(given.value) != 1:
                self.several.add(given.question)
        elif given.form == "text":
            text = given.value.strip()
            if "\n" in text or len(text.split()) > 5 or text.endswith((".", "!", "?")):
                self.texts.add(given.question)

    def of(self, question: str) -> tuple[float, float]:
        """The lowest and the highest value that a question can have had: of 5, 7, 10 or 100 the first that is enough."""
        seen = self.numbers[question]
        return min(0.0 if min(seen) <= 0 else 1.0, min(seen)), next(
            (n for n in (5.0, 7.0, 10.0, 100.0) if max(seen) <= n), max(seen)
        )


def judgments_from(
    given: Answered, task: Task, shown: Sequence[Episode], feedback: Feedback, scales: Scales
) -> list[Judgment]:
    """The judgments that an answer is. Raises InputError for what can be read in two ways, or in none."""
    about = {**given.about, "id": given.id, "annotator": feedback.annotator(given.annotator), "task": task.id}
    every = tuple(episode.id for episode in shown)
    if given.form == "ranks":
        return _ranking(given, every, about)
    if given.form == "spans":
        return _spans(given, shown, about)
    if given.form == "number":
        lowest, highest = scales.of(given.question)
        axis = _name(given.question, "rating")
        said = {"axis": axis, "value": given.value, "lowest": lowest, "highest": highest}
        return [Rating(**about, episodes=(shown[_about(given, shown)].id,), **said)]
    place = _place(given)
    one = (
        every if place is None else (shown[_about(given, shown)].id,)
    )  # a label that names no response is about them all
    if given.form == "choices" and given.question in scales.several:
        return [
            Label(**{**about, "id": f"{given.id}-{n}"}, episodes=one, name=f"{given.question}: {option}", value=value)
            for n, option in enumerate(scales.options[given.question], 1)
            for value in ("yes" if option in given.value else "no",)
        ]
    text = given.value[0] if given.form == "choices" else str(given.value)
    if (compared := _comparison(given, text, every, about, scales)) is not None:
        return [compared]
    names_text = any(pattern.search(given.question.lower()) for pattern in (_COMMENT, _CORRECTION, _DEMONSTRATION))
    if given.form != "choices" and (names_text or given.question in scales.texts):
        return [_text(given, text, shown, about)]
    return [Label(**about, episodes=one, name=_name(given.question, ""), value=text)]


def _comparison(
    given: Answered, text: str, every: tuple[str, ...], about: Mapping[str, Any], scales: Scales
) -> Comparison | None:
    """An answer that names one of two responses, or says that they are alike; None for any other."""
    word = re.sub(r"[^a-z0-9]", "", text.lower())
    named = _RESPONSE.fullmatch(word)
    place = _WORDS.get(word, _number(named[1]) if named else None)
    asked = given.form == "pair" or _OVERALL.search(given.question.lower()) is not None
    spelled = named is not None and named[1] != word  # "response2", not "B", which may be a mark
    if len(every) != 2 or given.question in scales.texts or not (asked or spelled):
        return None
    if place is None and word not in ALIKE:
        if given.form == "pair" or given.question.lower().startswith("preference"):
            raise given.bad(f"{text!r} names no response; it should be response1, response2, A, B, tie or both bad.")
        return None
    if place is not None and place > 1:
        raise given.bad(f"{text!r} names a response that the record has not; it has two.")
    strength = 0 if place is None else 1 - 2 * place
    axis = _axis(given.question)
    return Comparison(
        **about, episodes=every, verdict="prefer" if strength else ALIKE[word], strength=strength, axis=axis
    )


def _ranking(given: Answered, every: tuple[str, ...], about: Mapping[str, Any]) -> list[Judgment]:
    """A ranking; of two responses, a comparison. Responses that the record does not hold have no place in it."""
    ranks: dict[int, int] = {}
    for name, rank in given.value:
        word = re.sub(r"[^a-z0-9]", "", str(name).lower())
        named = _RESPONSE.fullmatch(word)
        place = _WORDS.get(word, _number(named[1]) if named else None)
        if place is None or not isinstance(rank, int) or rank < 1:
            raise given.bad(f"{name!r} at rank {rank!r}; it should be a response, response1 say, at a rank from 1.")
        ranks[place] = rank
    places = sorted(place for place in ranks if place < len(every))
    if len(places) < 2:
        raise given.bad("the ranking holds fewer than two of the record's responses.")
    episodes = tuple(every[place] for place in places)
    axis = _axis(given.question)
    if len(ranks) == len(every) == 2:
        way = (ranks[1] > ranks[0]) - (ranks[1] < ranks[0])
        return [Comparison(**about, episodes=episodes, verdict="prefer" if way else "tie", strength=way, axis=axis)]
    return [Ranking(**about, episodes=episodes, ranks=tuple(ranks[place] for place in places), axis=axis)]


def _spans(given: Answered, shown: Sequence[Episode], about: Mapping[str, Any]) -> list[Judgment]:
    """Marked passages. A passage that was written down with its places tells whether these count UTF-16 units."""
    episode = shown[_about(given, shown)]
    text, found = episode.completion, []
    for n, (start, end, category, passage) in enumerate(given.value, 1):
        first, last = start, end
        if passage is not None and text[first:last] != passage:
            units = text.encode("utf-16-le", "surrogatepass")
            first, last = (len(units[: 2 * at].decode("utf-16-le", "replace")) for at in (start, end))
            if text[first:last] != passage:
                raise given.bad(f"the passage {passage[:40]!r} does not stand at {start} to {end} of the response.")
        if not 0 <= first < last <= len(text):
            raise given.bad(
                f"the passage {start} to {end} lies outside the response, which has {len(text):,} characters."
            )
        mark = {**about, "id": f"{given.id}-{n}"}
        found.append(SpanMark(**mark, episodes=(episode.id,), start=first, end=last, category=category))
    return list(found)


def _text(given: Answered, text: str, shown: Sequence[Episode], about: Mapping[str, Any]) -> Judgment:
    """A correction of one response, an answer of one's own, or a comment on what the question names, else on all."""
    name = given.question.lower()
    if _CORRECTION.search(name):
        return Correction(**about, episodes=(shown[_about(given, shown)].id,), text=text)
    if _DEMONSTRATION.search(name):
        return Demonstration(**about, episodes=(), text=text)
    place = _place(given)
    return Comment(**about, episodes=tuple(e.id for n, e in enumerate(shown) if place in (None, n)), text=text)


def _about(given: Answered, shown: Sequence[Episode]) -> int:
    """The response that an answer is about: what the platform or the question's name says, else the only one."""
    place = _place(given)
    if place is None and len(shown) == 1:
        return 0
    if place is None:
        raise given.bad(
            f"it does not say which of {len(shown)} responses it is about; name the question {given.question}-response1, say."
        )
    if place >= len(shown):
        raise given.bad(f"it is about response {place + 1}, and the record has {len(shown)}.")
    return place


def _place(given: Answered) -> int | None:
    if given.response is not None:
        return given.response
    named = _PLACE.search(given.question.lower())
    return _number(named[1]) if named else None


def _number(sign: str) -> int:
    return int(sign) - 1 if sign.isdigit() else "abcd".index(sign)


def _name(question: str, kind: str) -> str:
    """What is asked, without the kind and without the response: "rating-truthful-response2" asks for "truthful"."""
    bare = _PLACE.sub("", question) or question
    bare = bare.removeprefix(kind).strip("-_ ") if kind else bare
    return bare or "overall"


def _axis(question: str) -> str:
    bare = _OVERALL.sub("", question.lower(), count=1).strip("-_ ")
    return bare if question.lower().startswith(("preference-", "ranking-")) and bare else "overall"
