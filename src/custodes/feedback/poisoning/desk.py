"""The whole watch in the project's nouns: judgments and tasks in; alarms, clusters and influence out."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass

from custodes.feedback.annotator_model import AnnotatorModel
from custodes.feedback.inversion import Features, prompt_words, task_features
from custodes.feedback.poisoning.collusion import Cluster, find_clusters
from custodes.feedback.poisoning.influence import QualityInfluence, influence_on_qualities
from custodes.feedback.poisoning.sequential import HONEST, AnnotatorAlarm, watch
from custodes.ledger import Evaluation
from custodes.types import Judgment, Task


@dataclass(frozen=True, eq=False)
class Watch:
    """What is suspected, and what it would change. Evidence to look at; who is left out, a person decides."""

    level: float
    """Stated probability that an honest annotator's alarm ever rings."""
    alarms: Sequence[AnnotatorAlarm]  # the most suspect first
    clusters: Sequence[Cluster]
    annotators: Sequence[str]  # in the order of ``influence``
    influence: QualityInfluence

    def rings(self) -> list[AnnotatorAlarm]:
        return [alarm for alarm in self.alarms if alarm.rang_at is not None]

    def evaluations(self, prefix: str) -> list[Evaluation]:
        """For the ledger: one evaluation per annotator, ids beginning with ``prefix``."""
        number = {name: k for k, name in enumerate(self.annotators)}
        with_whom = {name: cluster for cluster in self.clusters for name in cluster.annotators}
        return [
            Evaluation(
                id=f"{prefix}:{alarm.annotator}",
                name="annotator_watch",
                subject=alarm.annotator,
                metrics={
                    "evidence": alarm.evidence,
                    "rang_at": alarm.rang_at,
                    "suspicion": alarm.suspicion,
                    "level": self.level,
                    "moved": float(self.influence.moved[number[alarm.annotator]]),
                    "flipped": float(self.influence.flipped[number[alarm.annotator]]),
                    "cluster": list(with_whom[alarm.annotator].annotators) if alarm.annotator in with_whom else [],
                },
                n=alarm.judgments,
            )
            for alarm in self.alarms
        ]


def watch_annotators(
    model: AnnotatorModel,
    judgments: Iterable[Judgment],
    tasks: Iterable[Task],
    gold: Collection[str] = (),
    level: float = 0.01,
    honest: float = HONEST,
    features: Features = prompt_words,
) -> Watch:
    """Alarms, clusters and influence for the annotators of ``model``, which was fitted to these ``judgments``.

    ``gold`` names the tasks with a known answer: whoever is honest on those alone is looked for. Words that hold in
    less than a twentieth of the tasks, or in nearly all, are not tried. Raises InputError as :func:`watch` does.
    """
    task_of = {judgment.id: judgment.task for judgment in judgments}
    held, names = task_features({t.id: t for t in tasks}, [task_of.get(j, "") for j in model.judgments], features, gold)
    return Watch(
        level,
        watch(model, held, names, level, honest),
        find_clusters(model, level),
        model.annotators,
        influence_on_qualities(model),
    )
