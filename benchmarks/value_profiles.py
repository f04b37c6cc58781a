"""What a second value profile among the demo's judges does to labels, and which groups of judges are found.

    python benchmarks/value_profiles.py runs/quickstart/ledger.db

Takes the replies that a recorded `custodes quickstart` had judged, lets simulated judges compare them again, once all valuing
the checks and once with four who value brevity more, and prints how often labels order two replies as gold does. The last
line of the output is one JSON object.
"""

from __future__ import annotations

import argparse
import random
import time
from collections import Counter, defaultdict
from itertools import combinations
from typing import Any

import numpy as np
from result import print_result

from custodes.environments import gold
from custodes.feedback.annotator_model import fit_annotators
from custodes.feedback.inversion import suspect_inversions
from custodes.feedback.kinds.comparison import Comparison
from custodes.feedback.simulated import simulated_annotators
from custodes.ledger import Ledger
from custodes.loop.judging import UNDECIDED
from custodes.loop.quickstart import JUDGES
from custodes.reward.group_choice import choose_groups
from custodes.reward.named_groups import NamedGroups
from custodes.reward.plain_features import plain_pairs
from custodes.types import Episode


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("ledger", help="of a run of quickstart")
    parser.add_argument("--seed", type=int, default=0, help="of the judges")
    chosen = parser.parse_args()
    with Ledger.open(chosen.ledger, read_only=True) as ledger:
        run = ledger.runs()[0].id
        sampled = [e for e in ledger.evaluations(run, "sampled") if e.subject.startswith("tasks to judge")]
        wanted = {id for e in sampled for id in e.metrics["episode"]}
        episodes = [episode for episode in ledger.episodes(run) if episode.id in wanted]
    alike: Counter[str] = Counter()
    for name, count in JUDGES.items():
        alike[name.partition(":")[0]] += count
    found = {
        name: study(name, dict(counts), episodes, chosen.seed) for name, counts in (("one", alike), ("two", JUDGES))
    }
    print_result({"benchmark": "value_profiles", "episodes": len(episodes), "profiles": found})


def study(name: str, counts: dict[str, int], episodes: list[Episode], seed: int) -> dict[str, Any]:
    """How right labels are, and who is grouped with whom."""
    worth = {e.id: gold(e.task, e.completion) for e in episodes}
    judgments = judged(counts, episodes, worth, seed)
    model = fit_annotators(judgments, episodes)
    data = model.comparisons
    better: dict[tuple[str, str], float] = {}
    votes: dict[tuple[str, str], int] = defaultdict(int)
    for n, (i, j) in enumerate(zip(data.first.tolist(), data.second.tolist(), strict=True)):
        one, other = model.episodes[i], model.episodes[j]
        turn = one > other
        pair = (other, one) if turn else (one, other)
        better[pair] = float(1 - model.better[n] if turn else model.better[n])
        votes[pair] += int(np.sign(data.strength[n])) * (-1 if turn else 1)
    differ = [pair for pair in better if worth[pair[0]] != worth[pair[1]]]
    right = {pair: worth[pair[0]] > worth[pair[1]] for pair in differ}
    decided = [pair for pair in differ if abs(better[pair] - 0.5) > UNDECIDED]
    careful = float(np.mean([(better[pair] > 0.5) == right[pair] for pair in decided]))
    vote = float(np.mean([0.5 if votes[p] == 0 else (votes[p] > 0) == right[p] for p in differ]))
    start = time.process_time()
    suspicions = suspect_inversions(model, judgments, {e.task.id: e.task for e in episodes}.values())
    pairs = plain_pairs(model, judgments, episodes, suspicions)
    chosen = choose_groups(pairs.data, where=pairs.where)
    seconds = time.process_time() - start
    named = NamedGroups.of(chosen, pairs.names)
    print(
        f"{name} value profile{'s' * (name == 'two')}: labels that decide order {careful:.1%} of {len(decided)} pairs of different gold as it does, the vote {vote:.1%}"
    )
    groups = []
    for g in range(chosen.groups.count):
        members = Counter(person.rpartition("-")[0] for person in named.members(g))
        own = next((reading.own_values for reading in chosen.readings if reading.group == g + 1), None)
        groups.append({"members": dict(members), "prefers": named.preferences(g), "own_values": own})
        print(f"  group {g + 1}: {dict(members)}; {named.preferences(g)}; values of its own: {own}")
    print(f"  {seconds:.1f} s of processor time for the groups")
    return {"labels_right": careful, "decided": len(decided), "vote_right": vote, "groups": groups, "seconds": seconds}


def judged(counts: dict[str, int], episodes: list[Episode], worth: dict[str, float], seed: int) -> list[Comparison]:
    """Every two replies to a task compared by four judges, as the demo does."""
    people, rng = simulated_annotators(counts, seed=seed), random.Random(seed)
    by_task: dict[str, list[Episode]] = defaultdict(list)
    for episode in episodes:
        by_task[episode.task.id].append(episode)
    judgments, turn = [], list[int]()
    for replies in by_task.values():
        for a, b in combinations(replies, 2):
            if a.completion != b.completion:
                if len(turn) < 4:
                    turn += rng.sample(range(len(people)), len(people))
                for k in dict.fromkeys(turn[:4]):
                    judgments.append(people[k].compare(a.task, a, b, (worth[a.id], worth[b.id])))
                turn = turn[4:]
    return judgments


if __name__ == "__main__":
    main()
