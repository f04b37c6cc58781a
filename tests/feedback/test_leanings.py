"""A judge's leaning to length and to its own style is found, and what people like too is none."""

from __future__ import annotations

from collections import Counter

import numpy as np
from scipy.special import expit

from custodes.feedback.kinds.comparison import Comparison
from custodes.feedback.leanings import judge_leanings
from custodes.types import Episode, Message, Task

LENGTH, STYLE = 1.5, 2.0


def drawn(
    seed: int, length: float, style: float, quality: float = 2.0
) -> tuple[dict[str, Episode], list[Comparison], list[Comparison], dict[str, float]]:
    """Episodes of which the longer is somewhat better, a judge, three people a pair, and the judge's likelihoods."""
    rng = np.random.default_rng(seed)
    episodes: dict[str, Episode] = {}
    judge, people, own = [], [], {}
    for n in range(200):
        task = Task(f"t{n}", (Message("user", f"prompt {n}"),))
        both = []
        for side in "ab":
            words = int(rng.integers(5, 60))
            episode = Episode.written(f"{n}{side}", task, (*task.messages, Message("assistant", "word " * words)), "p")
            episodes[episode.id] = episode
            own[episode.id] = float(rng.normal(-2, 0.5))
            both.append((episode, 0.5 * np.log(words) + rng.normal(0, 0.5), np.log1p(len(episode.completion))))
        (a, better_a, long_a), (b, better_b, long_b) = both
        seen = quality * (better_a - better_b)
        prefers = seen + length * (long_a - long_b) + style * (own[a.id] - own[b.id])
        judge.append(said(f"j{n}", "judge", a, b, rng.random() < expit(prefers)))
        people += [said(f"p{n}{k}", f"person{k}", a, b, rng.random() < expit(seen)) for k in range(3)]
    return episodes, judge, people, own


def said(id: str, who: str, a: Episode, b: Episode, first: bool) -> Comparison:
    return Comparison(
        id=id,
        annotator=who,
        task=a.task.id,
        episodes=(a.id, b.id),
        shown="",
        verdict="prefer",
        strength=1 if first else -1,
    )


def test_leanings_are_found_where_they_are_and_not_where_they_are_not() -> None:
    caught: Counter[str] = Counter()
    for seed in range(40):
        for length, style in ((LENGTH, STYLE), (0.0, 0.0)):
            episodes, judge, people, own = drawn(seed, length, style)
            for name, found in judge_leanings("judge", judge + people, episodes, own).items():
                caught[f"{name} {'caught' if length else 'false'}"] += found.low > 0 or found.high < 0
    print(caught)
    assert caught["length caught"] > 30
    assert caught["own style caught"] > 36
    assert caught["length false"] <= 5
    assert caught["own style false"] <= 5


def test_alone_a_judge_has_no_leaning_that_can_be_told() -> None:
    episodes, judge, people, own = drawn(0, LENGTH, STYLE)
    assert judge_leanings("judge", judge, episodes, own) == {}
    assert judge_leanings("judge", people, episodes, own) == {}
    assert list(judge_leanings("judge", judge + people, episodes)) == ["length"]
