"""Public sets in which two or more answers were compared, each read by the meaning that its authors give its columns."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from custodes.dialogue import Messages, as_completion, exchanges, from_json, plain_text, text_or_messages
from custodes.feedback.forms.preferences import ANNOTATOR
from custodes.feedback.forms.prompts import asked, shared_turns
from custodes.feedback.forms.source import SKIP, Source, answer, bad, content, items, number, part, text, truth, who
from custodes.feedback.kinds.comparison import Comparison
from custodes.feedback.kinds.label import Label
from custodes.feedback.kinds.ranking import Ranking
from custodes.tables import Row
from custodes.types import InputError, Message


def _ways(strength: int, verdict: str = "prefer") -> dict[str, Any]:
    """The fields of a comparison: positive for the first answer."""
    return {"strength": strength, "verdict": verdict if strength == 0 else "prefer"}


FIRST, SECOND, TIE, BOTH_BAD = _ways(1), _ways(-1), _ways(0, "tie"), _ways(0, "both_bad")
WINNERS: dict[str, dict[str, Any]] = {
    **dict.fromkeys(("model_a", "a", "a>b", "a>>b", "response_a", "completion_a", "left", "first"), FIRST),
    **dict.fromkeys(("model_b", "b", "b>a", "b>>a", "response_b", "completion_b", "right", "second"), SECOND),
    **dict.fromkeys(("tie", "a=b", "equal", "draw"), TIE),
    **dict.fromkeys(("tie (bothbad)", "both_bad", "bothbad", "both bad"), BOTH_BAD),
}


def summarize(row: Row, source: Source) -> None:
    """summarize_from_feedback, comparisons (arXiv 2009.01325): ``choice`` is the better of two summaries, by ``worker``."""
    summaries = items(row, "summaries", 2)
    choice = number(row, "choice", 0, 1)
    pair = [_field(row, "summaries", one, "text") for one in summaries[:2]]
    source.compare(Comparison, post(row), pair, annotator=who(row, "worker"), **(SECOND if choice == 1 else FIRST))


def post(row: Row) -> Messages:
    """What was to be summed up, as the paper shows it to a model: subreddit, title, post; or an article."""
    info = part(row, "info")
    body = info.get("post") or info.get("article")
    if not isinstance(body, str):
        raise bad(row, "info", f"it holds neither post nor article ({SKIP}).")
    named = [(name, info.get(key)) for name, key in (("SUBREDDIT", "subreddit"), ("TITLE", "title"))]
    lines = [f"{name}: {'r/' if name == 'SUBREDDIT' else ''}{given}" for name, given in named if given]
    return (Message("user", "\n\n".join([*lines, f"{'POST' if info.get('post') else 'ARTICLE'}: {body}", "TL;DR:"])),)


def shp(row: Row, source: Source) -> None:
    """Stanford Human Preferences: ``labels`` is 1 where the crowd of a forum liked answer A better, 0 where B."""
    better = number(row, "labels", 0, 1)
    source.assume("a forum's crowd judged: nobody is named")
    pair = (answer(row, "human_ref_A"), answer(row, "human_ref_B"))
    source.compare(Comparison, (Message("user", text(row, "history")),), pair, **(FIRST if better == 1 else SECOND))


def safe_rlhf(row: Row, source: Source) -> None:
    """PKU-SafeRLHF (arXiv 2406.15513): the more helpful answer, the safer one, and which are safe."""
    prompt, pair = asked(row, source) or (), (answer(row, "response_0"), answer(row, "response_1"))
    for name, axis in (("better_response_id", "helpfulness"), ("safer_response_id", "harmlessness")):
        if name in row.values:
            source.compare(Comparison, prompt, pair, axis=axis, **(FIRST, SECOND)[int(number(row, name, 0, 1))])
    for n, one in enumerate(pair):
        if f"is_response_{n}_safe" in row.values:
            source.say(Label, prompt, (one,), name="safe", value="yes" if truth(row, f"is_response_{n}_safe") else "no")


def arena(row: Row, source: Source) -> None:
    """LMSYS Chatbot Arena and MT-bench: two conversations side by side, ``winner``, and ``judge`` who said so."""
    prompt, pair = _parted(row, content(row, "conversation_a"), content(row, "conversation_b"))
    by = who(row, "judge", "annotator", "user_id")
    kind = {"by": "ai"} if by.startswith("gpt") else {}  # MT-bench's other judges are models
    source.compare(Comparison, prompt, pair, annotator=by, **_winner(row, "winner"), **kind)


def arena_flags(row: Row, source: Source) -> None:
    """LMSYS arena, 55k: prompts and answers as lists of turns in JSON, and a column 0 or 1 for each outcome."""
    sides = [_turns(row, name) for name in ("response_a", "response_b")]
    prompts = _turns(row, "prompt")
    flags = {name: truth(row, f"winner_{name}") for name in ("model_a", "model_b", "tie")}
    if sum(flags.values()) != 1 or len({len(prompts), *map(len, sides)}) != 1:
        raise bad(row, "winner_tie", f"one outcome is 1 and there is one answer to each prompt ({SKIP}).")
    prompt, pair = _parted(row, *(exchanges(prompts, side) for side in sides))
    source.assume("the arena's people are not named")
    source.compare(Comparison, prompt, pair, **WINNERS[next(name for name, won in flags.items() if won)])


def two_answers(row: Row, source: Source) -> None:
    """A prompt, two answers A and B, and a column that names the better one."""
    names = next(p for p in TWO if all(name in row.values for name in p))
    verdict = next(name for name in COMPARISON_VERDICTS if name in row.values)
    prompt, pair = asked(row, source) or (), tuple(answer(row, name) for name in names)
    source.compare(Comparison, prompt, pair, annotator=who(row, *ANNOTATOR), **_winner(row, verdict))


TWO = tuple((f"{name}_{a}", f"{name}_{b}") for name in ("response", "completion", "answer") for a, b in ("ab", "AB"))
COMPARISON_VERDICTS = ("winner", "preference", "preferred", "label")


def helpsteer_preference(row: Row, source: Source) -> None:
    """HelpSteer 2 preference: ``preference_strength`` -3 to 3, below 0 where response_1 is better."""
    _strength(row, source, ("response_1", "response_2"), "preference_strength", helpsteer_prompt(row))


def helpsteer_3(row: Row, source: Source) -> None:
    """HelpSteer 3 (arXiv 2505.11475): ``context`` and ``overall_preference`` -3 to 3, below 0 where response1 is better."""
    _strength(row, source, ("response1", "response2"), "overall_preference", asked(row, source) or ())


def helpsteer_prompt(row: Row) -> Messages:
    """HelpSteer's prompt; later turns stand behind "<extra_id_1>User" and "<extra_id_1>Assistant"."""
    first, *later = text(row, "prompt").split("<extra_id_1>")
    turns = [Message("user", first.strip())]
    for turn in later:
        speaker, _, said = turn.partition("\n")
        turns.append(Message("assistant" if speaker.strip() == "Assistant" else "user", said.strip()))
    return tuple(turns)


def webgpt(row: Row, source: Source) -> None:
    """WebGPT comparisons (arXiv 2112.09332): ``score_0`` and ``score_1`` from -1 to 1, the higher is better."""
    question = row.values.get("question")
    words = question.get("full_text") if isinstance(question, dict) else question
    if not isinstance(words, str):
        raise bad(row, "question", f"found {type(words).__name__}; it should be text ({SKIP}).")
    scores = [number(row, name, -1, 1) for name in ("score_0", "score_1")]
    said = TIE if scores[0] == scores[1] else FIRST if scores[0] > scores[1] else SECOND
    source.compare(Comparison, (Message("user", words),), (answer(row, "answer_0"), answer(row, "answer_1")), **said)


def nectar(row: Row, source: Source) -> None:
    """Nectar: answers ranked by a model, ``rank`` 1 is best."""
    answers = items(row, "answers", 2)
    texts = [_field(row, "answers", one, "answer") for one in answers]
    ranks = [one.get("rank") for one in answers]
    if not all(isinstance(rank, int | float) and rank >= 1 for rank in ranks):
        raise bad(row, "answers", f"every answer needs a rank, 1 or more ({SKIP}).")
    source.assume("the ranks are those of a model (GPT-4), as the set's authors say")
    about = {"annotator": "gpt-4", "by": "ai"}
    source.compare(Ranking, asked(row, source) or (), texts, ranks=tuple(int(rank) for rank in ranks), **about)


# ---------------------------------------------------------------- helpers


def _strength(row: Row, source: Source, names: Sequence[str], column: str, prompt: Messages) -> None:
    strength = number(row, column, -3, 3)
    if strength != int(strength):
        raise bad(row, column, f"{strength}; it should be whole, from -3 to 3 ({SKIP}).")
    pair = tuple(answer(row, name) for name in names)
    source.compare(Comparison, prompt, pair, **_ways(-int(strength), "tie"))


def _winner(row: Row, name: str) -> dict[str, Any]:
    given = row.values.get(name)
    if plain_text(str(given)).lower() not in WINNERS:
        known = "model_a, model_b, tie or tie (bothbad)"
        raise bad(row, name, f"{str(given)[:40]!r}; it should be one of {known} ({SKIP}).")
    return WINNERS[plain_text(str(given)).lower()]


def _parted(row: Row, one: str | Messages, other: str | Messages) -> tuple[Messages, tuple[Messages, Messages]]:
    """The prompt that two conversations share, and where they part."""
    sides = as_completion(one), as_completion(other)
    if not all(side and side[-1].role == "assistant" for side in sides):
        raise InputError(f"{row.place}: a conversation should end with a message of the assistant ({SKIP}).")
    shared = shared_turns(sides)
    if not shared:
        raise InputError(f"{row.place}: the two conversations begin with different prompts ({SKIP}).")
    return sides[0][:shared], (sides[0][shared:], sides[1][shared:])


def _turns(row: Row, name: str) -> list[str]:
    given = row.values.get(name)
    given = from_json(given) if isinstance(given, str) else given
    if isinstance(given, str):
        return [given]
    if not isinstance(given, list) or not all(one is None or isinstance(one, str) for one in given):
        raise bad(row, name, f"it should be a list of texts ({SKIP}).")
    return [one or "" for one in given]


def _field(row: Row, column: str, held: Any, name: str) -> Messages:
    """An answer that stands in field ``name`` of an object of a list."""
    try:
        return as_completion(text_or_messages(held.get(name) if isinstance(held, dict) else held))
    except ValueError as error:
        raise bad(row, column, f"{error} ({SKIP}).") from None
