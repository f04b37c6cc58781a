"""What the audit needs to see of rewards and policies: one observation per pair, episode or task."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from custodes.audit import BestOfNSamples, Checks, PolicyHeldout, RewardHeldout
from custodes.audit.sections.values import RewardOfGroups
from custodes.feedback.annotator_model import AnnotatorModel
from custodes.job.workspace import Workspace
from custodes.ledger import ScoreRow
from custodes.loop.judging import Judged
from custodes.policy.rollout import has_opinion
from custodes.reward import RewardModel
from custodes.reward.evaluate import PairScores, best_temperature
from custodes.reward.groups import Groups
from custodes.reward.parts import part_named
from custodes.types import Engine, Episode, InputError, Reward, Sampling, Scores, Task

Gold = Callable[[Task, str], float]
CheckResults = Callable[[Task, str], dict[str, bool]]
Floats = NDArray[np.float64]

CALIBRATION_SHARE = 3
"""One held-out task in so many is for calibrating the reward; how well it is calibrated is measured on the others."""


def evaluate_reward_model(
    work: Workspace,
    arm: str,
    reward: RewardModel,
    judged: Judged,
    believed: AnnotatorModel,
    held_out: set[str],
    gold: Gold | None,
    groups: Groups | None = None,
) -> None:
    """Calibrate the reward on some held-out judged pairs and record what it says of all, and which those were.

    Of each pair the outcome is the side that all its judges together favour, each believed as the
    annotator model believes them: the same outcome for every arm. With ``groups`` it is held against each one's judgments too.
    """
    pairs = [p for p in _favoured_pairs(judged, believed) if p[0].task.id in held_out]
    if not pairs:
        return
    sides = [e for first, second, _ in pairs for e in (first, second)]
    scores = reward.score(sides)
    margin = scores.value[0::2] - scores.value[1::2]
    outcome = np.array([won for _, _, won in pairs])
    lengths = np.array([len(reward.lm.encode_reply(e.completion)) for e in sides])
    length = lengths[0::2] - lengths[1::2]
    spare = np.array(
        [int(hashlib.sha256(first.task.id.encode()).hexdigest(), 16) % CALIBRATION_SHARE == 0 for first, _, _ in pairs]
    )
    if spare.any():
        reward.temperature = best_temperature(
            PairScores(margin[spare], outcome[spare].astype(float), length[spare].astype(float)),
            reward.learned_temperature,
        )
    row = RewardHeldout(
        margin=margin.tolist(),
        outcome=outcome.astype(int).tolist(),
        length_difference=length.tolist(),
        temperature=float(reward.temperature),
        spread=_margin_spread(scores).tolist() if scores.std is not None else None,
        gold_difference=[gold(a.task, a.completion) - gold(b.task, b.completion) for a, b, _ in pairs]
        if gold
        else None,
        members=reward.members,
        model=reward_fingerprint(reward),
        task=[first.task.id for first, _, _ in pairs],
        calibrated_on=spare.tolist(),
    )
    work.record(f"reward-heldout-{arm}", row, arm)
    if groups is not None:
        _evaluate_by_group(
            work, arm, dict(zip([e.id for e in sides], scores.value.tolist(), strict=True)), judged, groups
        )


def _evaluate_by_group(work: Workspace, arm: str, value: dict[str, float], judged: Judged, groups: Groups) -> None:
    """Record which single judgments the reward agrees with, of pairs whose two ``value`` it knows by the episodes' ids."""
    of = dict(zip(groups.people, (groups.likeliest + 1).tolist(), strict=True))
    rows = [
        (of[row.annotator], float((value[row.first] > value[row.second]) == (row.strength > 0)), judgment.task)
        for judgment in judged.judgments
        for row in judgment.comparisons(judged.axis)
        if row.strength and row.first in value and row.second in value
    ]
    if rows:
        group, agreed, task = (list(column) for column in zip(*rows, strict=True))
        work.record(f"reward-of-groups-{arm}", RewardOfGroups(group=group, agreed=agreed, task=task), arm)


def evaluate_policy(
    work: Workspace,
    arm: str,
    step: int,
    engines: tuple[Engine, Engine],
    reward: Reward,
    tasks: Sequence[Task],
    sampling: Sampling,
    gold: Reward | None,
    *,
    policy: str,
    scorer: str,
    chosen: bool = False,
    objectives: Sequence[str] = (),
) -> list[Episode]:
    """Sample the held-out tasks from the policy as it is, and record proxy, gold and KL to the base of each episode.

    ``engines`` are the policy's and the base model's. At step 0 the base acts: its episodes are drawn once for all arms.
    ``policy`` is the fingerprint of what acts, ``scorer`` the reward's name, ``objectives`` are parts of the reward that are
    recorded too. Episodes of which the reward has no opinion are left out.
    """
    acting, base = engines
    purpose = f"held-out tasks, {arm} policy at step {step}" if step else "held-out tasks, base policy"
    episodes = work.sample(purpose, acting if step else base, tasks, sampling)
    id = f"policy-heldout-{arm}-{step}"
    if work.has(id):
        return episodes
    scores = reward.score(episodes)
    work.ledger.write(work.run, score_rows(episodes, scores, scorer))
    truth = gold.score(episodes) if gold is not None else None
    known = {f"reward {scorer}": has_opinion(scores)} | ({} if truth is None else {"gold": has_opinion(truth)})
    judged = np.flatnonzero(np.all(list(known.values()), axis=0))
    if not len(judged):
        silent = next((name for name, of in known.items() if not of.any()), " together with ".join(known))
        raise InputError(f"{silent} has no opinion on any of {len(episodes)} held-out replies.")
    seen = [episodes[i] for i in judged]
    row = PolicyHeldout(
        step=step,
        episode=[e.id for e in seen],
        task=[e.task.id for e in seen],
        kl=kl_of(base, seen, sampling.temperature).tolist() if step else [0.0] * len(seen),
        proxy=scores.total()[judged].tolist(),
        gold=truth.total()[judged].tolist() if truth is not None else None,
        length=[e.actions for e in seen],
        proxy_std=scores.std[judged].tolist() if scores.std is not None else None,
        parts={name: part_named(scores, name, scorer)[judged].tolist() for name in objectives} or None,
        chosen=chosen,
        policy=policy,
    )
    work.record(id, row, arm)
    return episodes


def evaluate_best_of_n(
    work: Workspace, arm: str, reward: Reward, episodes: Sequence[Episode], n: int, gold: Reward | None
) -> None:
    """Score ``n`` base samples of each task, those of one task side by side: the audit draws the curve.

    Tasks with a reply that a reward has no opinion of are left out.
    """
    id = f"best-of-n-{arm}"
    if work.has(id):
        return
    proxy = reward.score(episodes).total().reshape(-1, n)
    golds = gold.score(episodes).total().reshape(-1, n) if gold else None
    judged = np.flatnonzero(np.isfinite(proxy if golds is None else proxy + golds).all(axis=1))
    tasks = [episodes[int(i) * n].task.id for i in judged]
    row = BestOfNSamples(
        task=tasks, proxy=proxy[judged].tolist(), gold=None if golds is None else golds[judged].tolist()
    )
    work.record(id, row, arm)


def record_checks(
    work: Workspace, arm: str, base: Sequence[Episode], optimised: Sequence[Episode], results: CheckResults
) -> None:
    """Every check of every held-out task, before and after."""
    rows = []
    for before, after in zip(base, optimised, strict=True):
        held, holds = results(before.task, before.completion), results(after.task, after.completion)
        rows += [(before.task.id, check, float(held[check]), float(holds[check])) for check in held]
    task, check, was, now = (list(column) for column in zip(*rows, strict=True))
    work.record(f"checks-{arm}", Checks(task=task, check=check, base=was, optimised=now), arm)


def score_rows(episodes: Sequence[Episode], scores: Scores, scorer: str) -> list[ScoreRow]:
    """What a reward said, for the ledger; nothing of episodes and parts of which it has no opinion."""
    rows, worth = [], scores.total()
    for i in np.flatnonzero(has_opinion(scores)).tolist():
        std = None if scores.std is None else float(scores.std[i])
        parts = {name: float(part[i]) for name, part in scores.parts.items() if not np.isnan(part[i])}
        rows.append(ScoreRow(episodes[i].id, scorer, float(worth[i]), std, parts))
    return rows


def reward_fingerprint(reward: RewardModel) -> str:
    """SHA-256 of everything that makes a score: backbone, adapters, heads, centre and scale."""
    digest = hashlib.sha256(reward.lm.fingerprint().encode())
    for adapter in reward.adapters:
        for name, tensor in sorted(adapter.tensors().items()):
            digest.update(name.encode() + tensor.detach().cpu().numpy().tobytes())
    digest.update(reward.heads.detach().cpu().numpy().tobytes() + reward.center.tobytes() + reward.scale.tobytes())
    return digest.hexdigest()


def kl_of(base: Engine, episodes: Sequence[Episode], temperature: float) -> Floats:
    """(B,) nats: the k1 estimate of KL(policy || base) from the sampler's own log-probabilities, summed over actions."""
    before = base.logprobs(episodes, temperature)
    return np.array([(e.logprobs.astype(np.float64) - b).sum() for e, b in zip(episodes, before, strict=True)])


def _margin_spread(scores: Scores) -> Floats:
    """(P,) standard deviation over members of first minus second."""
    members = np.stack([part for name, part in scores.parts.items() if name.startswith("member_")], -1)
    return (members[0::2] - members[1::2]).std(-1, ddof=1)


def _favoured_pairs(judged: Judged, believed: AnnotatorModel) -> list[tuple[Episode, Episode, bool]]:
    """(first, second, first is favoured) once for every two judged episodes, leaving out the undecided:
    whoever judged those could not tell them apart."""
    seen: dict[frozenset[str], tuple[Episode, Episode, bool]] = {}
    for n, (i, j) in enumerate(zip(believed.comparisons.first, believed.comparisons.second, strict=True)):
        first, second, better = believed.episodes[i], believed.episodes[j], believed.better[n]
        if judged.decides(better):
            seen.setdefault(
                frozenset((first, second)), (judged.episodes[first], judged.episodes[second], bool(better > 0.5))
            )
    return list(seen.values())
