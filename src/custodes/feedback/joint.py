"""What all kinds of judgments say together: one fit of the answers' qualities, with standard errors.

Each judgment is a choice that is the likelier the better it is in the judge's eyes (reward-rational choice, arXiv
2002.04833), and all of them speak of one quality q of an answer, N(0, 1) before. Annotator k has a reliability r_k, kind c
of judgment a slope A_c, and u is what the annotator sees through the noise of a logistic:

    comparison, correction  u = r_k A_c (q_i - q_j) + b_k; a tie where |u + noise| < t_0, and
                            stronger answers beyond t_1, t_2
    ranking                 Plackett-Luce on r_k A_c q; a tie leaves open which is chosen first
    rating                  u = r_k A_c q_i; level l where u + noise lies between the annotator's own thresholds l - 1 and l
    label                   u = r_k A_c q_i + o_k; yes where u + noise > 0

Fit: variational expectation maximisation. The E-step is the Gaussian nearest to what is known of the qualities given
everything else (Opper and Archambeau 2009), the M-step maximises the expected log-likelihood of everything else and its
priors. Standard errors are those of the qualities with the rest held; how often their intervals hold in simulated crowds
is measured by ``benchmarks/feedback_kinds.py``.

Letters: I items, N judgments as intervals, K annotators, S annotators' scales, G groups of a ranking's choices.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from custodes.feedback.collection import LABEL
from custodes.feedback.kinds.comparison import Comparison
from custodes.feedback.kinds.correction import Correction
from custodes.feedback.kinds.label import Label
from custodes.feedback.kinds.ranking import Ranking, ranking_choices
from custodes.feedback.kinds.rating import Rating
from custodes.feedback.ordinal import used_levels
from custodes.types import InputError, Judgment

Floats = NDArray[np.float64]
JUDGED_KINDS = ("comparison", "correction", "ranking", "rating", "label")
YES, NO = ("yes", "true", "1", "good"), ("no", "false", "0", "bad")
"""Values of labels, in lower case."""
ROUNDS, STEPS, CLOSE = 60, 12, 1e-3
"""Rounds at most; steps of the M-step in each; the move of a parameter at which the fit has converged."""
MOST_ITEMS = 6_000
"""Items whose covariance is computed whole."""
MOST_LEVELS = 10
"""Scales with more values are cut into so many levels, as often used each."""
DRAWS = 16
"""Draws, each with its opposite, over which a ranking's choices are averaged."""
NODES, _WEIGHTS = np.polynomial.hermite_e.hermegauss(7)
WEIGHTS = _WEIGHTS / _WEIGHTS.sum()
SPREAD = {"reliability": 0.4, "position": 0.5, "offset": 1.0, "leniency": 1.5, "gap": 0.4, "slope": 1.0}
"""Standard deviations of the priors: of annotators around each other, and of the logarithm of a slope around 0."""


@dataclass(frozen=True, eq=False)
class JointFit:
    """Qualities from all kinds of judgments at once; only their differences mean something."""

    episodes: tuple[str, ...]
    quality: Floats  # (I,) in standard deviations of quality
    covariance: Floats  # (I, I)
    annotators: tuple[str, ...]
    reliability: Floats  # (K,) 1 is typical; below 0 answers are inverted
    slopes: dict[str, float]
    """What a typical annotator's judgments of a kind see: log-odds per standard deviation of quality."""
    counts: dict[str, int]
    """Judgments by kind."""
    information: dict[str, float]
    """Nats that the judgments of a kind alone tell of the qualities: half the log-determinant of what they add."""
    seconds: dict[str, float | None]
    """What the judgments of a kind took; None where that is not recorded of all."""
    rounds: int
    converged: bool

    @property
    def se(self) -> Floats:
        """(I,) standard errors."""
        return np.sqrt(np.diagonal(self.covariance))

    def difference_se(self, one: int, other: int) -> float:
        """The standard error of the difference of two qualities, by their places."""
        c = self.covariance
        return float(np.sqrt(c[one, one] + c[other, other] - 2 * c[one, other]))

    @property
    def nats_a_minute(self) -> dict[str, float]:
        """Information by kind and minute, of the kinds whose seconds are recorded."""
        return {kind: 60 * self.information[kind] / s for kind, s in self.seconds.items() if s}


def fit_judgments(
    judgments: Iterable[Judgment], axis: str = "overall", kinds: Sequence[str] = JUDGED_KINDS
) -> JointFit:
    """Fits the qualities of all episodes on ``axis`` to the judgments of these kinds.

    Labels are on the axis of their name ("acceptable" is "overall"), corrections on every axis: the edited text is an item
    of its own, called after the correction. Raises InputError where there is nothing to fit or too much, and where an
    episode is compared with itself.
    """
    data = _Data()
    for judgment in judgments:
        if judgment.kind in kinds:
            data.add(judgment, axis)
    if not data.counts:
        raise InputError(f"no judgment on axis {axis!r}: there is nothing to fit.")
    if len(data.items) > MOST_ITEMS:
        raise InputError(f"{len(data.items):,} items are judged; at most {MOST_ITEMS:,} are fitted together.")
    return _Fitting(data).run()


@dataclass
class _Data:
    """Judgments as rows. An interval is (kind, annotator, first item, second item or -1, level, scale or -1)."""

    items: dict[str, int] = field(default_factory=dict)
    annotators: dict[str, int] = field(default_factory=dict)
    intervals: list[tuple[str, int, int, int, float, Any]] = field(default_factory=list)
    rankings: list[tuple[int, list[int], list[int]]] = field(default_factory=list)
    counts: dict[str, int] = field(default_factory=lambda: defaultdict(int))
    seconds: dict[str, list[float | None]] = field(default_factory=lambda: defaultdict(list))

    def add(self, judgment: Judgment, axis: str) -> None:
        before = len(self.intervals) + len(self.rankings)
        if isinstance(judgment, Comparison):
            for row in judgment.comparisons(axis):
                if row.first == row.second:
                    raise InputError(
                        f"judgment {judgment.id} compares episode {row.first} with itself; give two episodes."
                    )
                self._interval(judgment, row.first, row.second, row.strength)
        elif isinstance(judgment, Correction):
            self._interval(judgment, judgment.id, judgment.episodes[0], 1)
        elif isinstance(judgment, Ranking) and judgment.axis == axis:
            items = [self._item(episode) for episode in judgment.episodes]
            self.rankings.append((self._who(judgment), items, list(judgment.ranks)))
        elif isinstance(judgment, Rating) and judgment.axis == axis:
            scale = judgment.lowest, judgment.highest
            self._interval(judgment, judgment.episodes[0], "", judgment.value, scale)
        elif isinstance(judgment, Label) and axis == ("overall" if judgment.name == LABEL else judgment.name):
            value = judgment.value.lower()
            if value in (*YES, *NO):
                self._interval(judgment, judgment.episodes[0], "", float(value in YES))
        if len(self.intervals) + len(self.rankings) > before:
            self.counts[judgment.kind] += 1
            self.seconds[judgment.kind].append(judgment.seconds)

    def _interval(self, judgment: Judgment, first: str, second: str, value: float, scale: Any = None) -> None:
        other = self._item(second) if second else -1
        self.intervals.append((judgment.kind, self._who(judgment), self._item(first), other, value, scale))

    def _item(self, episode: str) -> int:
        return self.items.setdefault(episode, len(self.items))

    def _who(self, judgment: Judgment) -> int:
        return self.annotators.setdefault(judgment.annotator, len(self.annotators))


class _Fitting:
    """Expectation maximisation over arrays of the data."""

    def __init__(self, data: _Data) -> None:
        self.data = data
        self.kinds = sorted(data.counts)
        compared = [row for row in data.intervals if row[0] == "comparison"]
        used = iter(used_levels(np.array([int(row[4]) for row in compared], dtype=np.int64)).tolist())
        rows = [(*row[:4], next(used), row[5]) if row[0] == "comparison" else row for row in data.intervals]
        self.first, self.second = (torch.tensor([row[at] for row in rows], dtype=torch.long) for at in (2, 3))
        self.who = torch.tensor([row[1] for row in rows], dtype=torch.long)
        self.kind = torch.tensor([self.kinds.index(row[0]) for row in rows], dtype=torch.long)
        self._ordinals(rows)
        self._choices()
        K = len(data.annotators)
        self.parameters = {
            "slope": torch.zeros(len(self.kinds)),
            "reliability": torch.zeros(K),
            "position": torch.zeros(K),
            "offset": torch.zeros(K + 1),  # of labels: each annotator's, and what all share
            "strength": torch.tensor(self.strengths),  # first threshold between answers, logarithms of the distances
            "common": torch.tensor(self.starts),
            "own": torch.zeros(len(self.scale), len(self.starts[0]) if self.starts else 0),
        }
        self.parameters = {name: value.double().requires_grad_() for name, value in self.parameters.items()}

    def run(self) -> JointFit:
        data, items = self.data, len(self.data.items)
        quality, rounds, moved = torch.zeros(items, dtype=torch.float64), 0, np.inf
        eye = torch.eye(items, dtype=torch.float64)
        covariance = eye.clone()
        while rounds < ROUNDS and moved > CLOSE:
            rounds += 1
            before = [value.detach().clone() for value in self.parameters.values()]
            quality, precision = self._believe(quality, covariance)
            covariance = torch.linalg.inv(precision)
            self._maximise(quality, covariance)
            after = [value.detach() for value in self.parameters.values()]
            moved = max(float((a - b).abs().max()) for a, b in zip(after, before, strict=True) if a.numel())
        quality, precision = self._believe(quality, covariance)
        around = self._variance(covariance), self._deviations(covariance)
        alone = {kind: eye + self._curvature(quality, *around, kind) for kind in self.kinds}
        seconds = {kind: _total(data.seconds[kind]) for kind in self.kinds}
        return JointFit(
            episodes=tuple(data.items),
            quality=quality.numpy(),
            covariance=torch.linalg.inv(precision).numpy(),
            annotators=tuple(data.annotators),
            reliability=1 + self.parameters["reliability"].detach().numpy(),
            slopes=dict(zip(self.kinds, self.parameters["slope"].detach().exp().tolist(), strict=True)),
            counts={kind: data.counts[kind] for kind in self.kinds},
            information={kind: float(torch.logdet(matrix)) / 2 for kind, matrix in alone.items()},
            seconds=seconds,
            rounds=rounds,
            converged=bool(moved <= CLOSE),
        )

    # ------------------------------------------------------------ the E-step

    def _believe(self, quality: torch.Tensor, covariance: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Mean and precision of the Gaussian that is nearest to what is known of the qualities, by Newton's method.

        Slopes and curvatures of the log-likelihood are averaged over what is not known of the qualities, as ``covariance`` has it.
        """
        eye = torch.eye(len(self.data.items), dtype=torch.float64)
        around = self._variance(covariance), self._deviations(covariance)
        for _ in range(30):
            precision = eye + self._curvature(quality, *around)
            step = torch.linalg.solve(precision, self._slope(quality, *around) - quality)
            quality = quality + step.clamp(-2, 2)
            if float(step.abs().max()) < 1e-6:
                break
        return quality, eye + self._curvature(quality, *around)

    def _variance(self, covariance: torch.Tensor) -> torch.Tensor:
        """(N,) of the difference, or of the one quality, that each judgment is about."""
        two = self.second >= 0
        variance = torch.diagonal(covariance)[self.first].clone()
        i, j = self.first[two], self.second[two]
        variance[two] += torch.diagonal(covariance)[j] - 2 * covariance[i, j]
        return variance

    def _deviations(self, covariance: torch.Tensor) -> torch.Tensor:
        """(D, G, n) draws of how far the qualities that a ranking's choice is among are from their means."""
        if not len(self.among):
            return torch.zeros(0, dtype=torch.float64)
        blocks = covariance[self.among[:, :, None], self.among[:, None, :]]
        blocks = torch.where(self.inside[:, :, None] & self.inside[:, None, :], blocks, 0.0)
        root = torch.linalg.cholesky(blocks + torch.eye(blocks.shape[1], dtype=torch.float64) * 1e-6)
        draws = torch.from_numpy(np.random.default_rng(0).normal(size=(DRAWS, *self.among.shape)))
        return torch.einsum("gnm,dgm->dgn", root, torch.cat([draws, -draws]))

    def _slope(self, quality: torch.Tensor, variance: torch.Tensor, deviations: torch.Tensor) -> torch.Tensor:
        """(I,) derivative of the log-likelihood."""
        gradient = torch.zeros_like(quality)
        with torch.no_grad():
            pull = torch.zeros_like(variance)
            for node, weight in zip(NODES, WEIGHTS, strict=True):
                slopes, u, low, high = self._leaning(self._difference(quality) + float(node) * variance.sqrt())
                pull += float(weight) * self.sign * slopes * (torch.sigmoid(low - u) - torch.sigmoid(u - high))
            gradient.index_add_(0, self.first, pull)
            two = self.second >= 0
            gradient.index_add_(0, self.second[two], -pull[two])
            if len(self.among):
                steep = self._steep()
                p = self._chances(quality, steep, deviations).mean(0)
                gradient.index_add_(0, self.among.flatten(), (-steep[:, None] * self.share[:, None] * p).flatten())
                gradient.index_add_(0, self.chosen, steep[self.chosen_in])
        return gradient

    def _curvature(
        self, quality: torch.Tensor, variance: torch.Tensor, deviations: torch.Tensor, kind: str = ""
    ) -> torch.Tensor:
        """(I, I) minus the second derivative of the log-likelihood, of one kind of judgment or of all."""
        items = len(quality)
        out = torch.zeros(items * items, dtype=torch.float64)
        with torch.no_grad():
            curve = torch.zeros_like(variance)
            for node, weight in zip(NODES, WEIGHTS, strict=True):
                slopes, u, low, high = self._leaning(self._difference(quality) + float(node) * variance.sqrt())
                bends = [torch.sigmoid(x) * torch.sigmoid(-x) for x in (u - low, u - high)]
                curve += float(weight) * slopes**2 * (bends[0] + bends[1])
            if kind:
                curve = torch.where(self.kind == self.kinds.index(kind), curve, 0.0)
            i, j, two = self.first, self.second, self.second >= 0
            out.index_add_(0, i * items + i, curve)
            i, j, curve = i[two], j[two], curve[two]
            for a, b, turn in ((j, j, 1), (i, j, -1), (j, i, -1)):
                out.index_add_(0, a * items + b, turn * curve)
            if len(self.among) and kind in ("", "ranking"):
                steep = self._steep()
                p = self._chances(quality, steep, deviations)
                block = torch.diag_embed(p.mean(0)) - torch.einsum("dgn,dgm->gnm", p, p) / len(p)
                block = block * (self.share * steep**2)[:, None, None]
                out.index_add_(0, (self.among[:, :, None] * items + self.among[:, None, :]).flatten(), block.flatten())
        return out.view(items, items)

    # ------------------------------------------------------------ the M-step

    def _maximise(self, quality: torch.Tensor, covariance: torch.Tensor) -> None:
        mean, variance = self._difference(quality), self._variance(covariance)
        deviations = self._deviations(covariance)
        optimiser = torch.optim.LBFGS(self.parameters.values(), max_iter=STEPS, line_search_fn="strong_wolfe")

        def loss() -> torch.Tensor:
            optimiser.zero_grad()
            total = self._unlikely()
            for node, weight in zip(NODES, WEIGHTS, strict=True):
                _, u, low, high = self._leaning(mean + float(node) * variance.sqrt())
                within = torch.log(-torch.expm1(low - high))
                log = torch.nn.functional.logsigmoid
                total = total - float(weight) * (log(u - low) + log(high - u) + within).sum()
            if len(self.among):
                steep = self._steep()
                scores = torch.where(self.inside, steep[:, None] * (quality[self.among] + deviations), -torch.inf)
                total = total + (self.share * torch.logsumexp(scores, 2).mean(0)).sum()
                total = total - (steep[self.chosen_in] * quality[self.chosen]).sum()
            total.backward()
            return total

        optimiser.step(loss)

    def _unlikely(self) -> torch.Tensor:
        """Minus the log of the priors."""
        p, total = self.parameters, torch.zeros((), dtype=torch.float64)
        for name in ("slope", "reliability", "position"):
            total = total + (p[name] / SPREAD[name]).square().sum() / 2
        total = total + ((p["offset"][:-1]) / SPREAD["offset"]).square().sum() / 2 + (p["offset"][-1] / 3).square() / 2
        own = p["own"]
        return (
            total
            + (own[:, :1] / SPREAD["leniency"]).square().sum() / 2
            + (own[:, 1:] / SPREAD["gap"]).square().sum() / 2
        )

    # ------------------------------------------------------------ what annotators see

    def _difference(self, quality: torch.Tensor) -> torch.Tensor:
        """(N,) q_i - q_j, or q_i alone."""
        return quality[self.first] - torch.where(self.second >= 0, quality[self.second.clamp(min=0)], 0.0)

    def _leaning(self, difference: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """(N,) each: slope, leaning u turned so that answers favour the first, lower and upper cut."""
        p = self.parameters
        slopes = p["slope"].exp()[self.kind] * (1 + p["reliability"][self.who])
        offset = self.compared * p["position"][self.who]
        offset = offset + self.labelled * (p["offset"][self.who] + p["offset"][-1])
        cuts = self._cuts()
        return slopes, self.sign * (slopes * difference + offset), cuts[self.low], cuts[self.high]

    def _cuts(self) -> torch.Tensor:
        """Every threshold there is: -inf, inf, 0; those between strengths and minus the first; each annotator's scales."""
        p = self.parameters
        ends = torch.tensor([-torch.inf, torch.inf, 0.0], dtype=torch.float64)
        parts = [ends]
        if len(p["strength"]):
            first = p["strength"][:1].exp() if self.ties else torch.zeros(1, dtype=torch.float64)
            between = first + torch.cumsum(torch.cat([torch.zeros(1, dtype=torch.float64), p["strength"][1:].exp()]), 0)
            parts += [between, -first - (0.0 if self.ties else 1e-6)]
        if len(self.scale):
            common, own = p["common"][self.scale], p["own"]
            first = common[:, :1] + own[:, :1]
            inner = torch.cat([first, first + torch.cumsum((common[:, 1:] + own[:, 1:]).exp(), 1)], 1)
            parts.append(inner.flatten())
        return torch.cat(parts)

    def _steep(self) -> torch.Tensor:
        """(G,) how steeply each choice of a ranking goes by quality."""
        return self.parameters["slope"][self.kinds.index("ranking")].exp() * (
            1 + self.parameters["reliability"][self.ranker]
        )

    def _chances(self, quality: torch.Tensor, steep: torch.Tensor, deviations: torch.Tensor) -> torch.Tensor:
        """(D, G, n) the probability that each answer is chosen, in each draw."""
        scores = torch.where(self.inside, steep[:, None] * (quality[self.among] + deviations), -torch.inf)
        return torch.softmax(scores, 2)

    # ------------------------------------------------------------ arrays

    def _ordinals(self, rows: Sequence[Any]) -> None:
        """Where each answer's cuts stand in :meth:`_cuts`, and where thresholds begin."""
        values = defaultdict(list)
        strengths = [abs(int(row[4])) for row in rows if row[0] == "comparison"]
        self.ties, top = 0 in strengths, max(strengths, default=0) if strengths else 0
        compared = bool(strengths) or any(row[0] == "correction" for row in rows)
        top = max(top, 1) if compared else 0
        self.strengths = [np.log(0.5), *[0.0] * (top - 1)] if compared else []
        for row in rows:
            if row[0] == "rating":
                values[row[5]].append(row[4])
        scales, self.starts = list(values), []
        own: dict[tuple[int, Any], int] = {}
        edges = {scale: _edges(given) for scale, given in values.items()}
        longest = max((len(e) for e in edges.values()), default=0)
        for scale in scales:
            beyond = np.clip([(np.array(values[scale]) > edge).mean() for edge in edges[scale]], 1e-3, 1 - 1e-3)
            start = np.log1p(-beyond) - np.log(beyond)
            gaps = np.log(np.maximum(np.diff(start), 1e-2)).tolist()
            self.starts.append([*start[:1], *gaps, *[0.0] * (longest - len(start))] if len(start) else [0.0] * longest)
        low, high, sign = [], [], []
        base = 3 + (top + 1 if compared else 0)
        for kind, who, _, _, value, scale in rows:
            turn = 1.0
            if kind == "label":
                cut = (2, 1) if value else (0, 2)
            elif kind == "rating":
                place = own.setdefault((who, scale), len(own))
                level = int(np.searchsorted(edges[scale], value, side="left"))
                begin = base + place * longest
                cut = begin + level - 1 if level else 0, begin + level if level < len(edges[scale]) else 1
            elif value == 0:
                cut = 3 + top, 3
            else:
                turn, level = float(np.sign(value)), abs(int(value))
                cut = 3 + level - 1, 3 + level if kind == "comparison" and level < top else 1
            low.append(cut[0])
            high.append(cut[1])
            sign.append(turn)
        self.low, self.high = torch.tensor(low, dtype=torch.long), torch.tensor(high, dtype=torch.long)
        self.sign = torch.tensor(sign, dtype=torch.float64)
        self.compared = torch.tensor([float(row[0] == "comparison") for row in rows], dtype=torch.float64)
        self.labelled = torch.tensor([float(row[0] == "label") for row in rows], dtype=torch.float64)
        self.scale = torch.tensor([scales.index(scale) for _, scale in own], dtype=torch.long)

    def _choices(self) -> None:
        """The choices of all rankings, padded to the longest."""
        among, share, ranker, chosen, chosen_in = [], [], [], [], []
        for who, items, ranks in self.data.rankings:
            open_, shares, top = ranking_choices(tuple(ranks))
            for row, part in zip(open_, shares, strict=True):
                among.append([items[n] for n in np.flatnonzero(row)])
                share.append(part)
                ranker.append(who)
            chosen += [items[n] for n in top]
            chosen_in += [len(among) - 1] * len(top)
        longest = max(map(len, among), default=0)
        self.inside = torch.tensor([[n < len(own) for n in range(longest)] for own in among], dtype=torch.bool)
        self.among = torch.tensor([[*own, *[own[0]] * (longest - len(own))] for own in among], dtype=torch.long)
        self.share = torch.tensor(share, dtype=torch.float64)
        self.ranker = torch.tensor(ranker, dtype=torch.long)
        self.chosen, self.chosen_in = (torch.tensor(own, dtype=torch.long) for own in (chosen, chosen_in))


def _total(seconds: Sequence[float | None]) -> float | None:
    told = [second for second in seconds if second is not None]
    return float(sum(told)) if len(told) == len(seconds) else None


def _edges(values: Sequence[float]) -> Floats:
    """Upper ends of all levels of a scale but the highest."""
    distinct = np.unique(values)
    if len(distinct) > MOST_LEVELS:
        distinct = np.unique(np.quantile(values, np.arange(1, MOST_LEVELS + 1) / MOST_LEVELS, method="higher"))
    return np.asarray(distinct[:-1], np.float64)
