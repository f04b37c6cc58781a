"""Instructions whose fulfilment code can check: the quickstart's tasks and their gold.

Each is an ordinary short request about a written topic with one to three demands ("at most 25 words",
"end with a question"). The demands are in the metadata, so a task read back from the ledger is all that
:func:`gold` needs. Gold is for simulated annotators and for the audit. No reward and no policy sees it.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from custodes.environments.checks import CHECKS, is_answer, run_checks, words
from custodes.environments.prompts import task_id
from custodes.environments.topics import TOPICS, Topic, TopicKind
from custodes.types import Episode, InputError, Message, Scores, Task

Check = dict[str, Any]  # {"name": one of CHECKS, **its parameters}


def instruction_tasks(n: int = 2400, seed: int = 0) -> list[Task]:
    """``n`` distinct instructions, the same for the same seed; fewer are the beginning of more.

    ``metadata``: ``checks`` (list of ``{"name": ..., **parameters}``), ``topic``, ``mentions`` (beginnings of
    words that show the topic) and ``split``, "train" or "held_out". About 20 % are held out. A topic belongs
    to one split, whatever the seed, so training on one seed never touches the held-out topics of another.
    """
    if n < 1:
        raise InputError(f"instruction_tasks: n is {n}; ask for 1 or more.")
    tasks: dict[str, Task] = {}
    rng = random.Random(seed)
    while True:  # every topic once before any comes again
        for topic in rng.sample(TOPICS, len(TOPICS)):
            checks = _draw_checks(topic, rng)
            messages = (Message("user", _word(topic, checks, rng)),)
            split = "held_out" if topic.held_out else "train"
            metadata = {"checks": checks, "topic": topic.text, "mentions": list(topic.mentions), "split": split}
            task = Task(task_id(messages), messages, metadata=metadata)
            tasks.setdefault(task.id, task)
            if len(tasks) == n:
                return list(tasks.values())


def gold(task: Task, completion: str) -> float:
    """How far a completion fulfils its task, in 0..1: the share of its checks that hold.

    It is 0 where the completion is no answer at all (:func:`~custodes.environments.checks.is_answer`).
    """
    results = check_results(task, completion)
    answer = results.pop("is_answer")
    return sum(results.values()) / len(results) if answer else 0.0


def check_results(task: Task, completion: str) -> dict[str, bool]:
    """Every check of the task by name, and ``is_answer``. Raises InputError where the task has no known checks."""
    checks = task.metadata.get("checks")
    if not checks or any(c.get("name") not in CHECKS for c in checks):
        raise InputError(f"task {task.id} has no checks to compute gold from; known ones are {', '.join(CHECKS)}.")
    allowed = [str(task.metadata.get("topic", "")), *(str(c["phrase"]) for c in checks if "phrase" in c)]
    prompt = "\n".join(m.content for m in task.messages)
    answer = is_answer(completion, prompt, task.metadata.get("mentions", ("",)), allowed)
    return run_checks(checks, completion) | {"is_answer": answer}


class GoldReward:
    """Gold as a reward, for the audit and for simulated annotators only.

    Training against it would be training against the truth that a simulation knows and a real project does not have.
    """

    def score(self, episodes: Sequence[Episode]) -> Scores:
        """``value`` (B,) is gold; ``parts["is_answer"]`` (B,) is 0 where the guard refused the completion."""
        results = [check_results(e.task, e.completion) for e in episodes]
        value = [gold(e.task, e.completion) for e in episodes]
        return Scores(np.array(value, float), parts={"is_answer": np.array([r["is_answer"] for r in results], float)})


# ---------------------------------------------------------------- drawing an instruction


COUNTS = (1, 2, 3)
COUNT_WEIGHTS = (0.4, 0.45, 0.15)
WEIGHTS = {
    "max_words": 5.0, "words_between": 1.5, "exact_sentences": 3.5, "contains_word": 4.0, "avoids_word": 3.0,
    "avoids_letter": 2.5, "ends_with_question": 1.0, "lower_case": 0.4, "exact_bullets": 1.0, "json_keys": 0.3,
    "starts_with": 0.6,
}  # fmt: skip
"""How often each check is drawn; those that a small model rarely passes by itself are rarer."""
CONFLICTS = {
    frozenset(pair)
    for one, others in {
        "json_keys": WEIGHTS.keys() - {"json_keys", "contains_word", "avoids_word", "lower_case"},
        "exact_bullets": {"words_between", "exact_sentences", "ends_with_question", "starts_with"},
        "max_words": {"words_between"},
        "avoids_word": {"avoids_letter"},
    }.items()
    for pair in ((one, other) for other in others)
}


def _draw_checks(topic: Topic, rng: random.Random) -> list[Check]:
    """One to three checks that one text can fulfil together."""
    wanted = rng.choices(COUNTS, COUNT_WEIGHTS)[0]
    checks: list[Check] = []
    while len(checks) < wanted:
        name = rng.choices(list(WEIGHTS), list(WEIGHTS.values()))[0]
        check = {"name": name, **PARAMETERS[name](topic, rng)}
        if _compatible([*checks, check], topic):
            checks.append(check)
    return checks


def _compatible(checks: Sequence[Check], topic: Topic) -> bool:
    """Whether one text about the topic can pass all checks: no two kinds that exclude each other, room for the
    sentences, and nothing asked for (word, phrase, keys, the topic itself) that is forbidden."""
    names = [c["name"] for c in checks]
    if len(set(names)) < len(names) or any(pair <= set(names) for pair in CONFLICTS):
        return False
    given = {k: v for c in checks for k, v in c.items()}
    if "exact_sentences" in names:
        n = next(c["n"] for c in checks if c["name"] == "exact_sentences")
        room = next((c.get("n", c.get("high")) for c in checks if c["name"] in ("max_words", "words_between")), 99)
        if room < 8 * n:
            return False
    asked = [*words(given.get("phrase", "")), *given.get("keys", ())]
    asked += [c["word"] for c in checks if c["name"] == "contains_word"]
    ways = list(topic.mentions)
    for c in checks:
        if c["name"] == "avoids_word":
            asked_again = c["word"] in asked
            ways = [m for m in ways if m != c["word"]]
        elif c["name"] == "avoids_letter":
            asked_again = any(c["letter"] in a for a in asked)
            ways = [m for m in ways if c["letter"] not in m]
        else:
            continue
        if asked_again or len(ways) < 3:
            return False
    return True


# ---------------------------------------------------------------- parameters

CONTAINED = (
    "because always time people world small light new great good best day first life simple together change often "
    "never learn remember bright warm quiet early sound surprise begin enough every old help find work"
)
AVOIDED = ("the", "and", "is", "it", "very", "important", "you", "can", "that", "good", "people", "first", "always")
LETTERS = "zxjqvkb"
PHRASES: dict[TopicKind, tuple[str, ...]] = {
    "explain": (
        "In short", "Put simply", "Most people know that", "Few people notice that", "At first glance", "Imagine that",
        "Did you know", "It all begins with", "Long ago", "Here is", "Let us", "Without a doubt",
    ),
    "scene": (
        "That day", "At first", "I remember", "Nobody expected", "It was", "Suddenly", "Once upon a time", "There was",
        "All at once", "Listen", "We never", "Somewhere",
    ),
    "advice": (
        "First", "Before you begin", "My advice is", "Start by", "Always", "Never", "The trick is", "Take your time", "Here is",
        "It helps to", "Just", "Remember to",
    ),
}  # fmt: skip
KEYS: dict[TopicKind, tuple[tuple[str, ...], ...]] = {
    "explain": (("topic", "fact"), ("name", "summary"), ("question", "answer"), ("title", "detail"), ("what", "why")),
    "scene": (("place", "mood"), ("title", "opening"), ("who", "what"), ("hero", "wish"), ("sight", "sound")),
    "advice": (("step", "reason"), ("goal", "tip"), ("do", "avoid"), ("first", "then"), ("tip", "warning")),
}


PARAMETERS: dict[str, Callable[[Topic, random.Random], dict[str, Any]]] = {
    "max_words": lambda topic, rng: {"n": rng.randrange(20, 46)},
    "words_between": lambda topic, rng: {"low": (low := rng.randrange(6, 16)), "high": low + rng.randrange(12, 26)},
    "exact_sentences": lambda topic, rng: {"n": rng.choice((1, 2, 2, 3))},
    "contains_word": lambda topic, rng: {"word": rng.choice((topic.mentions[0], rng.choice(CONTAINED.split())))},
    "avoids_word": lambda topic, rng: {"word": rng.choice((topic.mentions[0], rng.choice(AVOIDED)))},
    "avoids_letter": lambda topic, rng: {"letter": rng.choice(LETTERS)},
    "ends_with_question": lambda topic, rng: {},
    "lower_case": lambda topic, rng: {},
    "exact_bullets": lambda topic, rng: {"n": rng.choice((2, 3, 3, 4))},
    "json_keys": lambda topic, rng: {"keys": list(rng.choice(KEYS[topic.kind]))},
    "starts_with": lambda topic, rng: {"phrase": rng.choice(PHRASES[topic.kind])},
}


# ---------------------------------------------------------------- wording


OPENINGS: dict[TopicKind, tuple[str, ...]] = {
    "explain": (
        "Briefly explain {topic}", "Write a short text about {topic}", "Tell me a little about {topic}",
        "Write a brief note about {topic}", "I would like a short explanation of {topic}", "Say something brief about {topic}",
        "Give a quick summary of {topic}", "A child asks about {topic}. Reply briefly", "Write something short about {topic}",
    ),
    "scene": (
        "Write a tiny story about {topic}", "Briefly describe {topic}", "Write a short text about {topic}",
        "Sketch a short scene about {topic}", "Write the beginning of a very short story about {topic}",
        "Tell me a short story about {topic}", "Say something brief about {topic}", "Write a short diary entry about {topic}",
    ),
    "advice": (
        "Give short advice on {topic}", "Briefly tell me {topic}", "Explain in short {topic}", "Write a short note on {topic}",
        "A friend wants to know {topic}. Reply briefly", "I need a quick tip on {topic}", "Write a short text about {topic}",
        "Tell a beginner in brief {topic}",
    ),
}  # fmt: skip
WORDINGS: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "max_words": (
        ("in at most {n} words", "using no more than {n} words", "in {n} words or fewer"),
        ("Use at most {n} words.", "Keep it to {n} words or less.", "Do not go over {n} words.", "The limit is {n} words."),
    ),
    "words_between": (
        ("in {low} to {high} words", "using between {low} and {high} words"),
        ("Write between {low} and {high} words.", "The length should be {low} to {high} words."),
    ),
    "exact_sentences": (
        ("in exactly {n} {sentence}", "in {n} {sentence}", "using exactly {n} {sentence}"),
        ("Write exactly {n} {sentence}.", "Your answer must have exactly {n} {sentence}.", "Use {n} {sentence}, no more."),
    ),
    "contains_word": (
        ('using the word "{word}"', 'and include the word "{word}"', 'with the word "{word}" in it'),
        ('Use the word "{word}".', 'The word "{word}" must appear.', 'Make sure to include the word "{word}".'),
    ),
    "avoids_word": (
        ('without the word "{word}"', 'without using the word "{word}"'),
        ('Do not use the word "{word}".', 'Avoid the word "{word}".', 'The word "{word}" is not allowed.'),
    ),
    "avoids_letter": (
        ('without the letter "{letter}"', 'without ever using the letter "{letter}"'),
        ('Do not use the letter "{letter}".', 'Avoid the letter "{letter}" in every word.'),
    ),
    "ends_with_question": (
        ("and end with a question", "and finish with a question"),
        ("End with a question.", "Your last sentence must be a question.", "Finish by asking a question."),
    ),
    "lower_case": (
        ("in lower case only", "using only lower-case letters", "without any capital letters"),
        ("Use lower case only.", "Do not use capital letters.", "Write everything in lower-case letters."),
    ),
    "exact_bullets": (
        ("in exactly {n} bullet points", "as a list of {n} bullet points", "as {n} short bullet points"),
        ("Answer with exactly {n} bullet points.", "Make it a bullet list with {n} items.", "Use {n} short bullets."),
    ),
    "json_keys": (
        ("as a JSON object with the keys {keys}", "in JSON with the keys {keys}"),
        ("Answer only with a JSON object with the keys {keys}.", "Reply in JSON and use the keys {keys}."),
    ),
    "starts_with": (
        ('starting with the words "{phrase}"', 'and begin with "{phrase}"'),
        ('Start with "{phrase}".', 'The first words must be "{phrase}".', 'Begin your answer with the words "{phrase}".'),
    ),
}  # fmt: skip
"""Check -> ways to ask for it inside the request, and ways to ask for it in a sentence of its own."""
NUMERALS = {1: "one", 2: "two", 3: "three", 4: "four"}


def _word(topic: Topic, checks: Sequence[Check], rng: random.Random) -> str:
    """The request in words: an opening, perhaps with one demand inside it, the others before or after."""
    opening = rng.choice(OPENINGS[topic.kind]).format(topic=topic.text)
    order = rng.sample(checks, len(checks))
    if rng.random() < 0.5:
        inside = order.pop()
        opening += " " + rng.choice(WORDINGS[inside["name"]][0]).format(**_fields(inside, checks, rng))
    demands = [rng.choice(WORDINGS[c["name"]][1]).format(**_fields(c, checks, rng)) for c in order]
    return " ".join([*demands, opening + "."] if rng.random() < 0.2 else [opening + ".", *demands])


def _fields(check: Mapping[str, Any], checks: Sequence[Check], rng: random.Random) -> dict[str, Any]:
    """A check's parameters as they are written: numerals as words or digits, quoted keys, a phrase in lower
    case where the whole text is to be."""
    fields = dict(check)
    if check["name"] in ("exact_sentences", "exact_bullets"):
        fields["sentence"] = "sentence" if check["n"] == 1 else "sentences"
        fields["n"] = rng.choice((check["n"], NUMERALS[check["n"]]))
    if "keys" in check:
        fields["keys"] = " and ".join(f'"{k}"' for k in check["keys"])
    if "phrase" in check and any(c["name"] == "lower_case" for c in checks):
        fields["phrase"] = check["phrase"].lower()
    return fields
