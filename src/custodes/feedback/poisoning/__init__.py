"""Annotators who poison: an alarm for each with a stated false-alarm rate, groups that collude or
share a taste, and their influence."""

from custodes.feedback.poisoning.collusion import Cluster, find_clusters
from custodes.feedback.poisoning.desk import Watch, task_features, watch_annotators
from custodes.feedback.poisoning.influence import (
    QualityInfluence,
    RewardInfluence,
    influence_on_qualities,
    influence_on_reward,
)
from custodes.feedback.poisoning.sequential import AnnotatorAlarm, watch

__all__ = [
    "AnnotatorAlarm",
    "Cluster",
    "QualityInfluence",
    "RewardInfluence",
    "Watch",
    "find_clusters",
    "influence_on_qualities",
    "influence_on_reward",
    "task_features",
    "watch",
    "watch_annotators",
]
