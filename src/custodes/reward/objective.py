"""What an objective is: how one way of judging teaches a reward.

An objective of ours is a file of :mod:`custodes.reward.objectives`; one of your own is a file anywhere, named
``FILE.py:Name``. It is a dataclass whose fields are its options. It makes lessons of judgments and has their loss.

Letters: N lessons, A readings of a lesson, M readings of a micro-batch, K members, O outputs, F numbers of a target.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Container, Hashable, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, ClassVar, TypeVar

import numpy as np
import torch
from torch import Tensor, nn

from custodes.feedback.collection import Feedback, judged_episode
from custodes.reward.reading import Reader, Tokens
from custodes.stats import Interval
from custodes.types import Episode, Floats, Judgment, Message

if TYPE_CHECKING:
    from custodes.reward.model import RewardModel

J = TypeVar("J", bound=Judgment)


@dataclass(frozen=True, slots=True, eq=False)
class Lesson:
    """One thing that was judged: where scores are read, and what they should say."""

    prompt: Hashable
    """Lessons of one prompt are learned in one update; their sequences share its computation."""
    readings: tuple[tuple[Tokens, int], ...]
    """(sequence, number of the token at which its score is read); -1 for the last."""
    target: tuple[float, ...]
    """What the objective's loss needs besides the scores."""
    weight: Floats  # (O,) of each output; 0 where the lesson is about others
    where: str = ""
    """File and row, for messages."""


@dataclass(frozen=True, slots=True, eq=False)
class LessonBatch:
    """The n lessons of one objective in a micro-batch."""

    at: Tensor  # (n, A) int64: places among the micro-batch's M readings; -1 beyond a lesson's own
    target: Tensor  # (n, F)
    weight: Tensor  # (n, K, O): the lesson's own, times how often each member's resample drew the lesson


@dataclass(eq=False)
class Material:
    """Judgments with what they are about, and the account of which taught and which did not."""

    feedback: Feedback
    reader: Reader
    axes: tuple[str, ...] = ()
    """Outputs that are read at the end of a reply."""
    marks: tuple[str, ...] = ()
    """Outputs that are read at tokens."""
    used: Counter[str] = field(default_factory=Counter)
    """Judgments that taught, by kind."""
    unused: Counter[tuple[str, str]] = field(default_factory=Counter)
    """Judgments that did not, by (kind, why)."""
    _placed: dict[tuple[str, object], tuple[Tokens, list[int]]] = field(default_factory=dict)

    @property
    def outputs(self) -> tuple[str, ...]:
        """(O,) the names of all outputs."""
        return (*self.axes, *self.marks)

    @property
    def device(self) -> torch.device:
        """Where the reward computes."""
        return self.reader.lm.decoder.device

    def judgments(self, kind: type[J]) -> list[J]:
        """The judgments of this kind."""
        return [judgment for judgment in self.feedback.judgments if isinstance(judgment, kind)]

    def episode(self, judgment: Judgment, number: int = 0) -> Episode:
        """The ``number``-th episode that was judged. Raises InputError where the texts are not at hand."""
        return judged_episode(self.feedback.episodes, judgment.episodes[number])

    def prompt(self, judgment: Judgment) -> tuple[Message, ...]:
        """The messages that are answered by what was judged."""
        task = self.episode(judgment).task if judgment.episodes else self.feedback.tasks[judgment.task]
        return task.messages

    def divided(self, held: Container[tuple[Message, ...]]) -> tuple[Material, Material]:
        """(training, held out): all judgments of one prompt are on the same side, and each side has its own account."""
        sides: tuple[list[Judgment], list[Judgment]] = [], []
        for judgment in self.feedback.judgments:
            sides[self.prompt(judgment) in held].append(judgment)
        training, held_out = (
            replace(self, feedback=replace(self.feedback, judgments=side), used=Counter(), unused=Counter())
            for side in sides
        )
        return training, held_out

    def sequence(self, judgment: Judgment, number: int = 0) -> Tokens:
        """(T,) what is read of that episode."""
        return self.reader.conversation(self.episode(judgment, number).messages, self.where(judgment))

    def placed(self, judgment: Judgment, ends: Callable[[str], list[int]]) -> tuple[Tokens, list[int]]:
        """What is read of the episode that was judged, and the tokens in which its passages end; ``ends`` finds those in a text."""
        key = judgment.episodes[0], ends
        if key not in self._placed:
            episode = self.episode(judgment)
            places = ends(episode.completion)
            self._placed[key] = self.reader.placed(episode.messages, places, self.where(judgment))
        return self._placed[key]

    def where(self, judgment: Judgment) -> str:
        """File and row of a judgment."""
        origin = self.feedback.origins.get(judgment.id)
        return origin.place if origin is not None and origin.place else f"judgment {judgment.id}"

    def teaches(self, judgment: Judgment, axis: str) -> Floats | None:
        """The weights (O,) of a judgment on ``axis``, which is counted as used; None, counted as not, where no output has the axis."""
        if axis not in self.outputs:
            self.passes(judgment, f"no output is called {axis!r}")
            return None
        self.used[judgment.kind] += 1
        return np.array([float(output == axis) for output in self.outputs])

    def passes(self, judgment: Judgment, why: str) -> None:
        """Count a judgment that does not teach, with the reason."""
        self.unused[judgment.kind, why] += 1


class RewardObjective:
    """How one way of judging teaches: the base of every objective."""

    source: ClassVar[str] = ""
    """The paper and equation of the loss."""
    judgment: ClassVar[type[Judgment]] = Judgment
    """The kind of judgments from which the lessons come."""

    @staticmethod
    def ends(text: str) -> list[int]:
        """Where the passages of a text end at which marks are read, in characters; of objectives that have marks."""
        raise NotImplementedError

    ended_by_next: ClassVar[bool] = False
    """Whether the token after a passage ends it, as a line break ends a line, and so is the action that earns its reward.
    What ends a sentence is its own last character."""

    @staticmethod
    def token_reward(probability: Floats) -> Floats:
        """What the token that ends a passage receives, by what its mark says of it."""
        return probability

    def marked(self, material: Material, mark: str) -> dict[str, list[bool | None]]:
        """Episode -> whether each passage of its answer was marked wrong by ``mark``; None where that was not said."""
        return {}

    def axes(self, material: Material) -> list[str]:
        """The axes that these judgments speak of, as often as they do."""
        return []

    def marks(self, material: Material) -> list[str]:
        """The outputs, read at tokens, that these judgments speak of: the objective's name, or "NAME/CATEGORY"."""
        return []

    def lessons(self, material: Material, members: int) -> list[Lesson]:
        """The lessons of ``material``; every judgment of the kind is counted, as used or with a reason.

        Parameters of the objective's own are made here, for ``members`` K.
        """
        raise NotImplementedError

    def parameters(self) -> Sequence[nn.Parameter]:
        """What is learned beside the reward: annotators' thresholds, say. Each has the members first: (K, ...)."""
        return []

    def loss(self, values: Tensor, batch: LessonBatch) -> Tensor:
        """Nats, summed over lessons, members and outputs. ``values`` (M, K, O) are raw scores at all readings."""
        raise NotImplementedError

    def agreement(self, values: Tensor, batch: LessonBatch) -> Floats | None:
        """(n,) 1 where the members' mean says what the lesson says, 0 where not, 0.5 undecided; None: not told."""
        return None

    def zeros(self) -> dict[int, Floats]:
        """Output -> (K,) the raw score that means even odds, for outputs to which this objective gives a zero."""
        return {}

    def measures(self, model: RewardModel, material: Material) -> dict[str, Interval]:
        """How well a reward says what judgments say that it did not learn from, by name."""
        return {}


@dataclass(frozen=True, slots=True, eq=False)
class Course:
    """An objective with its lessons."""

    objective: RewardObjective
    lessons: list[Lesson]
