"""Instructions whose fulfilment code can check: the quickstart's tasks and their gold.

Each is an ordinary short request about a written topic with one to three demands ("at most 25 words",
"end with a question"). The demands are in the metadata, so a task read back from the ledger is all that
:func:`gold` needs. Gold is for simulated annotators and for the audit. No reward and no policy sees it.
"""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Mapping, Sequence
from importlib import resources
from typing import Any

import numpy as np

from custodes.environments.checks import CHECKS, is_answer, run_checks, words
from custodes.environments.prompts import task_id
from custodes.environments.topics import TOPICS, Topic
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

LETTERS = "zxjqvkb"
DATA = json.loads((resources.files("custodes.environments") / "wordings.json").read_text(encoding="utf-8"))
"""Words, phrases and keys that checks ask for; openings of requests; ways to ask for each check, inside the request or apart."""
PARAMETERS: dict[str, Callable[[Topic, random.Random], dict[str, Any]]] = {
    "max_words": lambda topic, rng: {"n": rng.randrange(20, 46)},
    "words_between": lambda topic, rng: {"low": (low := rng.randrange(6, 16)), "high": low + rng.randrange(12, 26)},
    "exact_sentences": lambda topic, rng: {"n": rng.choice((1, 2, 2, 3))},
    "contains_word": lambda topic, rng: {"word": rng.choice((topic.mentions[0], rng.choice(DATA["contained"])))},
    "avoids_word": lambda topic, rng: {"word": rng.choice((topic.mentions[0], rng.choice(DATA["avoided"])))},
    "avoids_letter": lambda topic, rng: {"letter": rng.choice(LETTERS)},
    "ends_with_question": lambda topic, rng: {},
    "lower_case": lambda topic, rng: {},
    "exact_bullets": lambda topic, rng: {"n": rng.choice((2, 3, 3, 4))},
    "json_keys": lambda topic, rng: {"keys": list(rng.choice(DATA["keys"][topic.kind]))},
    "starts_with": lambda topic, rng: {"phrase": rng.choice(DATA["phrases"][topic.kind])},
}


# ---------------------------------------------------------------- wording


NUMERALS = {1: "one", 2: "two", 3: "three", 4: "four"}


def _word(topic: Topic, checks: Sequence[Check], rng: random.Random) -> str:
    """The request in words: an opening, perhaps with one demand inside it, the others before or after."""
    opening = rng.choice(DATA["openings"][topic.kind]).format(topic=topic.text)
    order = rng.sample(checks, len(checks))
    if rng.random() < 0.5:
        inside = order.pop()
        opening += " " + rng.choice(DATA["wordings"][inside["name"]]["inside"]).format(**_fields(inside, checks, rng))
    demands = [rng.choice(DATA["wordings"][c["name"]]["apart"]).format(**_fields(c, checks, rng)) for c in order]
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
