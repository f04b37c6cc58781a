"""What code can check of an answer: the gold of the quickstart.

Every check is a pure function ``check(text, **parameters) -> bool`` in :data:`CHECKS`; its parameters are
plain JSON. :func:`is_answer` guards them all: an empty, copied or rambling completion fulfils nothing,
however many checks it happens to pass.
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

# The commonest English function words: prose without them is a list of keywords.
COMMON = (
    "a an the of to in on at by for from with as is are was were be been it its this that these those and or but "
    "so if when how what who which you your we our they their he she his her i my not no can will would has have had "
    "do does there then into over up out all one more"
)
FUNCTION_WORDS = frozenset(COMMON.split())


# ---------------------------------------------------------------- reading a text


def words(text: str) -> list[str]:
    """Lower-case words, any script; "don't" and "well-known" are one word each, marks, bullets and list numbers none."""
    return [w.casefold() for w in WORD.findall(BULLET.sub("", text))]


def _sentences(text: str) -> list[str]:
    """Sentences, each with its end mark; lines end sentences too.

    Full stops inside numbers ("3.14"), after titles ("Dr. Ray"), initials ("J. S. Bach") and list numbers
    do not end one; after "etc." or "a.m." they do before a capital letter or at the end.
    """
    return [s for line in BULLET.sub("", text).splitlines() for s in _split(line.strip()) if words(s)]


def _split(line: str) -> list[str]:
    found, start = [], 0
    for end in SENTENCE_END.finditer(line):
        if not _goes_on(line[start : end.start()], end.group(), line[end.end() :].lstrip()):
            found.append(line[start : end.end()].strip())
            start = end.end()
    return [*found, line[start:].strip()]


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


# ---------------------------------------------------------------- the checks


def _max_words(text: str, n: int) -> bool:
    """At most n words."""
    return len(words(text)) <= n


def _words_between(text: str, low: int, high: int) -> bool:
    """From low to high words, both included."""
    return low <= len(words(text)) <= high


def _exact_sentences(text: str, n: int) -> bool:
    """Exactly n sentences, the last of them finished."""
    return len(_sentences(text)) == n and bool(re.search(SENTENCE_END.pattern + r"\Z", text.strip()))


def _contains_word(text: str, word: str) -> bool:
    """The word itself, in any case, not as a part of another."""
    return word.casefold() in words(text)


def _avoids_word(text: str, word: str) -> bool:
    """Nowhere the word itself."""
    return not _contains_word(text, word)


def _avoids_letter(text: str, letter: str) -> bool:
    """Nowhere the letter, small or capital."""
    return letter.casefold() not in text.casefold()


def _ends_with_question(text: str) -> bool:
    """The last mark is a question mark; a closing quote or bracket may follow."""
    return text.strip().rstrip("\"'”’)]*_").endswith("?")


def _lower_case(text: str) -> bool:
    """Letters, and none of them a capital."""
    return text != text.upper() and text == text.lower()


def _exact_bullets(text: str, n: int) -> bool:
    """Exactly n lines that begin with a bullet ("-", "*", "•" ...) or a list number, whatever else there is."""
    return len(BULLET.findall(text)) == n


def _json_keys(text: str, keys: Sequence[str]) -> bool:
    """A JSON object and nothing else, with exactly these keys and no empty value."""
    value = _json(text)
    return (
        isinstance(value, dict)
        and value.keys() == set(keys)
        and all(v not in ("", None, [], {}) for v in value.values())
    )


def _starts_with(text: str, phrase: str) -> bool:
    """The first words are those of the phrase, whatever the case and the marks between them."""
    opening = words(phrase)
    return words(text)[: len(opening)] == opening


CHECKS: dict[str, Callable[..., bool]] = {
    "max_words": _max_words,
    "words_between": _words_between,
    "exact_sentences": _exact_sentences,
    "contains_word": _contains_word,
    "avoids_word": _avoids_word,
    "avoids_letter": _avoids_letter,
    "ends_with_question": _ends_with_question,
    "lower_case": _lower_case,
    "exact_bullets": _exact_bullets,
    "json_keys": _json_keys,
    "starts_with": _starts_with,
}


# ---------------------------------------------------------------- the guard


def is_answer(text: str, prompt: str, mentions: Sequence[str], allowed: Sequence[str] = ()) -> bool:
    """Whether a completion answers at all, by five signs that code can see.

    It has at least 5 words, 3 in a list or JSON. One of them begins with one of ``mentions``, the topic's own words. At
    least half of the words are different. Some of its word triples are not in ``allowed`` texts (the topic's name, an
    opening that was asked for), and fewer than half of those are copied from the prompt. In prose at least one word in
    eight is a function word.
    """
    value = _json(text)
    if isinstance(value, dict):
        text = "\n".join(f"- {v}" for v in value.values())
    said, prose = words(text), not BULLET.search(text)
    own = [t for t in _triples(said) if not any(t in _triples(words(a)) for a in allowed)]
    asked = set(_triples(words(prompt)))
    return (
        len(said) >= (5 if prose else 3)
        and any(w.startswith(tuple(mentions)) for w in said)
        and len(set(said)) >= len(said) / 2
        and sum(t in asked for t in own) < len(own) / 2
        and (not prose or sum(w in FUNCTION_WORDS for w in said) >= len(said) / 8)
    )


def _triples(said: Sequence[str]) -> list[tuple[str, str, str]]:
    return list(zip(said, said[1:], said[2:], strict=False))


def run_checks(checks: Sequence[Mapping[str, object]], text: str) -> dict[str, bool]:
    """Name -> result of checks given as ``{"name": "max_words", "n": 25}``."""
    return {str(c["name"]): CHECKS[str(c["name"])](text, **{k: v for k, v in c.items() if k != "name"}) for c in checks}
