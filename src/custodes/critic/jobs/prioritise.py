"""Which answers of a preference dataset deserve a second look: what ``custodes critic prioritise`` does.

Pairs are ranked by how likely a second look overturns their label. Three ways to look:

- a reward that was learned elsewhere (``--reward``): it prefers the rejected answer;
- a critic with its reward (``--critic``): its reward likes a critique of the chosen answer better than "no problems", and
  more so than of the rejected one;
- neither: rewards learned from the file itself, each on the folds that it then does not judge.

With ``--flip`` a share of the labels is turned round on purpose first, and the ranking is measured by the area under the ROC
curve: the chance that a turned pair stands above one that was left. What was wrong before counts as left.

What is known stands in ``OUT.parts`` (margins and faults, no texts): the same command again goes on where it was interrupted.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from scipy.optimize import minimize
from scipy.sparse import csr_matrix
from scipy.special import expit

from custodes.critic.choice import REWARD
from custodes.critic.loading import critic_digest, find_writer
from custodes.critic.review.answers import as_asked
from custodes.critic.review.question import CLEAN, control_words, task_of
from custodes.critic.review.snippets import Snippet
from custodes.feedback.reading import JudgmentsOptions
from custodes.job.command import command, in_words
from custodes.job.options import Output
from custodes.job.parts import Parts
from custodes.lm.engine import TorchEngine
from custodes.lm.loading import DtypeName, LanguageModel, load
from custodes.ranges import Count, PartShare, at_least, ranged
from custodes.reward import RewardConfig, best_temperature, load_reward, score_pairs, train_reward
from custodes.stats import Interval, auc
from custodes.tables import write_rows
from custodes.types import Episode, InputError, Message, PreferencePair, Reward, Sampling, hash_shown

Floats = NDArray[np.float64]
WORD = re.compile(r"[a-z']+|[?!0-9]")
RARE = 3  # words in fewer answers are left out
WORDS = "words"
"""In place of a model: counts of words."""


@dataclass(frozen=True, kw_only=True)
@ranged
class CriticPrioritise(JudgmentsOptions):
    """Rank a preference dataset's pairs by how likely a second look overturns their label."""

    out: Output
    """Table to write (.jsonl or .parquet): line of the file, margin, probability, the likeliest overturned first."""
    reward: Path | None = None
    """Folder of a reward model that did not learn from these pairs."""
    critic: Path | None = None
    """Folder that `custodes critic tune` made: its critic criticises both answers, its reward judges the critiques."""
    model: str = "smollm2-135m"
    """Without --reward and --critic: the backbone of rewards learned from the file; words takes counts of words, in seconds."""
    folds: Annotated[int, at_least(2)] = 2
    """Parts into which the prompts are divided; each is judged by a reward of the others."""
    samples: Count = 2
    """Critiques of each piece of code or answer, where critiques are drawn."""
    max_tokens: int = 80
    """Longest critique."""
    flip: PartShare = 0.0
    """Turn this share of the labels round first, and measure how well the ranking finds them."""
    dtype: DtypeName = "auto"
    """Precision of computation."""
    training: RewardConfig = field(default_factory=RewardConfig)
    """How rewards are learned; its seed also decides folds, flips and critiques."""

    def __post_init__(self) -> None:
        if self.reward and self.critic:
            raise InputError("give --reward or --critic, not both: there is one ranking.")


@command(resumes=True)
def critic_prioritise(config: CriticPrioritise) -> dict[str, Any]:
    """Rank a preference dataset's pairs by how likely a second look overturns them.

    Write the ranking; returns counts and, with flips, how well it finds them. Raises InputError for files that are none.
    """
    source, pairs = Path(config.judgments).name, config.read_pairs()
    draw = np.random.default_rng([config.training.seed, 5])
    flipped = draw.random(len(pairs)) < config.flip
    shown = [_turned(p) if flip else p for p, flip in zip(pairs, flipped, strict=True)]
    if config.reward:
        reward = load_reward(config.reward, config.dtype)
        look = f"reward {config.reward.name}"
        margin = np.asarray(-score_pairs(reward, shown, source).difference / reward.temperature, np.float64)
    elif config.critic:
        look, margin = f"critic {config.critic.name}", _by_critic(config, config.critic, shown)
    else:
        look = f"{'words' if config.model == WORDS else 'rewards'} of {config.folds} folds"
        margin = _by_folds(config, shown, source)
    probability = 1 / (1 + np.exp(np.clip(-margin, -700, 700)))
    order = np.argsort(-margin, kind="stable")
    ranking = [
        {"rank": k, "line": pairs[i].line, "margin": float(margin[i]), "overturned": float(probability[i])}
        | ({"flipped": bool(flipped[i])} if config.flip else {})
        for k, i in enumerate(order, 1)
    ]
    write_rows(config.out, ranking)
    told: dict[str, Any] = {"pairs": len(pairs), "second_look": look, "likely": int((probability > 0.5).sum())}
    if config.flip:
        count = int(flipped.sum())
        precision = float(flipped[order[: max(1, count)]].mean())
        told |= {"flipped": count, "found": auc(margin, flipped).to_dict(), "precision_at_flipped": precision}
    return told


@in_words(critic_prioritise)
def _show(options: CriticPrioritise, told: dict[str, Any]) -> None:
    print(f"{told['pairs']:,} pairs ranked by {told['second_look']}: {options.out}")
    print(f"  more likely overturned than not: {told['likely']:,}")
    if "found" in told:
        area = Interval.from_dict(told["found"])
        print(f"  {told['flipped']:,} labels were turned on purpose: area under ROC {area},")
        print(f"  and of the first {told['flipped']:,} pairs {told['precision_at_flipped']:.0%} are such")


def _turned(pair: PreferencePair) -> PreferencePair:
    """The pair with its label turned round."""
    scores = {"score_chosen": pair.score_rejected, "score_rejected": pair.score_chosen}
    return replace(pair, chosen=pair.rejected, rejected=pair.chosen, **scores)  # type: ignore[arg-type]


# ---------------------------------------------------------------- looking again


def _by_folds(config: CriticPrioritise, pairs: Sequence[PreferencePair], source: str) -> Floats:
    """(P,) nats in favour of the rejected answer, by a reward that has not seen the pair's prompt.

    Its temperature is the one that suits the fold that it judges.
    """
    prompts = list(dict.fromkeys(p.prompt for p in pairs))
    if len(prompts) < config.folds:
        raise InputError(f"{source} has {len(prompts)} prompts for {config.folds} folds; give more pairs.")
    place = np.random.default_rng([config.training.seed, 6]).permutation(len(prompts)) % config.folds
    of_prompt = dict(zip(prompts, place.tolist(), strict=True))
    fold = np.array([of_prompt[p.prompt] for p in pairs])
    lm = None if config.model == WORDS else load(config.model, dtype=config.dtype)

    def look(k: int) -> list[float]:
        learn, judge = ([p for p, f in zip(pairs, fold, strict=True) if (f == k) == held] for held in (False, True))
        if lm is None:
            return (-_word_margins(learn, judge)).tolist()
        learned = train_reward(lm, learn, config.training, source=source)
        scores = score_pairs(learned, judge, source)
        return (-scores.difference / best_temperature(scores, learned.learned_temperature)).tolist()

    kept = {"pairs": hash_shown(*map(repr, pairs)), "training": repr(config.training), "dtype": config.dtype}
    console, margin = Console(stderr=True), np.zeros(len(pairs))
    kept |= {"model": lm.fingerprint() if lm else WORDS, "folds": str(config.folds)}
    with Parts.open(config.out, kept) as parts:
        for k in range(config.folds):
            console.print(f"Fold {k + 1} of {config.folds}")
            margin[fold == k] = parts.answer(f"fold {k}", partial(look, k))
    return margin


def _by_critic(config: CriticPrioritise, folder: Path, pairs: Sequence[PreferencePair]) -> Floats:
    """(P,) by how much more is wrong with the chosen answer than with the rejected one, as critic and reward have it."""
    writer = find_writer(folder)
    if writer is None or not (folder / REWARD).is_dir():
        raise InputError(f"{folder} holds no critic with a reward; custodes critic tune makes one.")
    reward = load_reward(folder / REWARD, config.dtype)
    sides = [as_asked(p.prompt, side) for p in pairs for side in (p.chosen, p.rejected)]
    how = (config.samples, config.max_tokens, config.training.seed)
    asked = {answer.key: answer for answer in sides}
    with Parts.open(config.out, {"critic": critic_digest(folder), "how": how, "dtype": config.dtype}) as parts:
        parts.answers(asked, lambda some: _faults(writer, reward, some, *how).tolist(), "criticising answers")
    wrong = np.array([parts.known[answer.key] for answer in sides])
    return wrong[0::2] - wrong[1::2]


def _faults(
    writer: LanguageModel, reward: Reward, answers: Sequence[Snippet], samples: int, max_tokens: int, seed: int
) -> Floats:
    """(N,) by how much the reward likes the best of some critiques of an answer better than "no problems".

    An answer that does not fit the critic's context counts as without fault.
    """
    words = control_words(writer.tokenizer)
    tasks = [task_of(answer, words) for answer in answers]
    room = writer.decoder.spec.context - max_tokens
    fits = [i for i, task in enumerate(tasks) if len(writer.encode(task.messages)) <= room]
    drawn = TorchEngine(writer).generate(
        [tasks[i] for i in fits], Sampling(n=samples, max_tokens=max_tokens, seed=seed)
    )
    answer = Message("assistant", CLEAN)
    clean = [Episode.written(f"clean-{i}", tasks[i], (*tasks[i].messages, answer), "") for i in fits]
    found = np.zeros(len(answers))
    if fits:
        best = reward.score(drawn).value.reshape(len(fits), samples).max(1)
        found[fits] = best - reward.score(clean).value
    return found


# ---------------------------------------------------------------- a second look without a language model


def _word_margins(learn: Sequence[PreferencePair], judge: Sequence[PreferencePair], prior: float = 0.1) -> Floats:
    """(P,) nats in favour of the chosen answer of ``judge``, from what each word is worth in ``learn``.

    Bradley-Terry on the difference of two answers' words: P(a better than b) = sigmoid(w . (x_a - x_b)) with x the
    logarithms of 1 + how often each word stands in the answer, and a Gaussian prior on w of standard deviation ``prior``.
    Labels between 0 and 1 are soft. Crude, but learned in seconds; a learned reward that finds no more wrong labels is
    worth nothing more.
    """
    seen = Counter(word for p in learn for side in (p.chosen, p.rejected) for word in _words(side))
    words = {word: i for i, word in enumerate(sorted(w for w, n in seen.items() if n >= RARE))}
    x, label = _differences(learn, words), np.array([p.label for p in learn])

    def loss(w: Floats) -> tuple[float, Floats]:
        z = x @ w
        value = np.logaddexp(0, z).sum() - label @ z + (w @ w) / (2 * prior**2)
        return float(value), x.T @ (expit(z) - label) + w / prior**2

    weights = minimize(loss, np.zeros(len(words)), jac=True, method="L-BFGS-B").x
    return np.asarray(_differences(judge, words) @ weights, np.float64)


def _differences(pairs: Sequence[PreferencePair], words: dict[str, int]) -> csr_matrix:
    """(P, V): of the chosen answer minus of the rejected one."""
    rows, columns, values = [], [], []
    for i, p in enumerate(pairs):
        for side, sign in ((p.chosen, 1.0), (p.rejected, -1.0)):
            for word, count in _words(side).items():
                if word in words:
                    rows.append(i)
                    columns.append(words[word])
                    values.append(sign * np.log1p(count))
    return csr_matrix((values, (rows, columns)), shape=(len(pairs), len(words)))


def _words(side: tuple[Message, ...]) -> Counter[str]:
    return Counter(WORD.findall(" ".join(m.content for m in side if m.role == "assistant").lower()))
