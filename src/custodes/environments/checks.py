"""What code can check of an answer: the gold of the quickstart.

Every check is a pure function ``check(text, **parameters) -> bool`` in :data:`CHECKS`; its parameters are plain JSON.
:func:`is_answer` guards them all: an empty, copied or rambling completion fulfils nothing, however many checks hold.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence

WORD = re.compile(r"[^\W_]+(?:['’\-][^\W_]+)*")
BULLET = re.compile(r"^[ \t]*(?:[-*+•–‣◦]|\d{1,2}[.)])[ \t]+(?=.*\w)", re.MULTILINE)
FENCE = re.compile(r"\A```(?:json)?\s*\n(.*?)\n?```\Z", re.DOTALL)
SENTENCE_END = re.compile(r"[.!?…]+[\"'”’)\]*_]*(?=\s|\Z)")
TITLES = {"dr", "mr", "mrs", "ms", "prof", "st", "mt", "no", "vs", "e.g", "i.e", "fig", "jr", "sr", "capt", "gen"}
ABBREVIATION = re.compile(r"(?:etc|approx|a\.m|p\.m|b\.c|a\.d|u\.s|u\.k|ca|inc|ltd|co)\Z", re.IGNORECASE)
COMMON = (
    "a an the of to in on at by for from with as is are was were be been it its this that these those and or but so if when "
    "how what who which you your we our they their he she his her i my not no can will would has have had do does there then "
    "into over up out all one more"
)
FUNCTION_WORDS = frozenset(COMMON.split())
"""The commonest English function words: prose without them is a list of keywords."""


def words(text: str) -> list[str]:
    """Lower-case words, any script; "don't" and "well-known" are one word each, marks, bullets and list numbers none."""
    return [w.casefold() for w in WORD.findall(BULLET.sub("", text))]


def _sentences(text: str) -> list[str]:
    """Sentences, each with its end mark; lines end sentences too.

    Full stops inside numbers ("3.14"), after titles ("Dr. Ray"), initials ("J. S. Bach") and list numbers do not end a
    sentence. After "etc." or "a.m." they do before a capital letter or at the end.
    """
    found = []
    for line in map(str.strip, BULLET.sub("", text).splitlines()):
        start = 0
        for end in SENTENCE_END.finditer(line):
            if not _goes_on(line[start : end.start()], end.group(), line[end.end() :].lstrip()):
                found.append(line[start : end.end()].strip())
                start = end.end()
        found.append(line[start:].strip())
    return [sentence for sentence in found if words(sentence)]


def _goes_on(before: str, mark: str, after: str) -> bool:
    """Whether the sentence ``before`` continues with ``after`` in spite of the ``mark`` between them."""
    if mark != "." or not after:
        return False
    *earlier, last = before.split() or [""]
    last = last.lstrip("(\"'“‘[")
    initial = len(last) == 1 and last.isupper() and last != "I" and (not earlier or earlier[-1][0].isupper())
    return last.casefold() in TITLES or initial or (bool(ABBREVIATION.fullmatch(last)) and not after[0].isupper())


def _json(text: str) -> object:
    """The value of a text that is JSON and nothing else, a code fence allowed; None where it is not."""
    text = text.strip()
    fenced = FENCE.match(text)
    try:
        return json.loads(fenced.group(1) if fenced else text)
    except (json.JSONDecodeError, RecursionError):
        return None


def _exact_sentences(text: str, n: int) -> bool:
    """Exactly n sentences, the last of them finished."""
    return len(_sentences(text)) == n and bool(re.search(SENTENCE_END.pattern + r"\Z", text.strip()))


def _json_keys(text: str, keys: Sequence[str]) -> bool:
    """A JSON object and nothing else, with exactly these keys and no empty value."""
    value = _json(text)
    full = isinstance(value, dict) and all(v not in ("", None, [], {}) for v in value.values())
    return full and value.keys() == set(keys)  # type: ignore[attr-defined]


CHECKS: dict[str, Callable[..., bool]] = {
    "max_words": lambda text, n: len(words(text)) <= n,
    "words_between": lambda text, low, high: low <= len(words(text)) <= high,
    "exact_sentences": _exact_sentences,
    # the word itself, in any case, not as a part of another
    "contains_word": lambda text, word: word.casefold() in words(text),
    "avoids_word": lambda text, word: word.casefold() not in words(text),
    "avoids_letter": lambda text, letter: letter.casefold() not in text.casefold(),
    # a closing quote or bracket may follow the question mark
    "ends_with_question": lambda text: text.strip().rstrip("\"'”’)]*_").endswith("?"),
    "lower_case": lambda text: text != text.upper() and text == text.lower(),  # letters, and none of them a capital
    # lines that begin with a bullet ("-", "*", "•" ...) or a list number, whatever else there is
    "exact_bullets": lambda text, n: len(BULLET.findall(text)) == n,
    "json_keys": _json_keys,
    # whatever the case and the marks between the words
    "starts_with": lambda text, phrase: words(text)[: len(words(phrase))] == words(phrase),
}


def is_answer(text: str, prompt: str, mentions: Sequence[str], allowed: Sequence[str] = ()) -> bool:
    """Whether a completion answers at all, by five signs that code can see.

    It has at least 5 words (3 in a list or JSON). One word begins with one of ``mentions``, the topic's own words. At least
    half of its words are different. Of its word triples that are not in ``allowed`` texts (the topic's name, an opening
    that was asked for) fewer than half are copied from the prompt, and there are some. In prose at least one word in eight
    is a function word.
    """
    value = _json(text)
    if isinstance(value, dict):
        text = "\n".join(f"- {v}" for v in value.values())
    spoken, prose = words(text), not BULLET.search(text)
    excused = {triple for a in allowed for triple in _triples(words(a))}
    own = [triple for triple in _triples(spoken) if triple not in excused]
    asked = set(_triples(words(prompt)))
    return (
        len(spoken) >= (5 if prose else 3)
        and any(w.startswith(tuple(mentions)) for w in spoken)
        and len(set(spoken)) >= len(spoken) / 2
        and sum(t in asked for t in own) < len(own) / 2
        and (not prose or sum(w in FUNCTION_WORDS for w in spoken) >= len(spoken) / 8)
    )


def _triples(spoken: Sequence[str]) -> list[tuple[str, str, str]]:
    return list(zip(spoken, spoken[1:], spoken[2:], strict=False))


def run_checks(checks: Sequence[Mapping[str, object]], text: str) -> dict[str, bool]:
    """Name -> result of checks given as ``{"name": "max_words", "n": 25}``."""
    return {str(c["name"]): CHECKS[str(c["name"])](text, **{k: v for k, v in c.items() if k != "name"}) for c in checks}
