"""One label per task from those of several annotators, by any of :mod:`custodes.feedback.aggregators`."""

from custodes.feedback.labels.aggregate import Aggregated, KnownLabels, aggregate, beside_truths
from custodes.feedback.labels.comparisons import fit_comparison_file, write_qualities
from custodes.feedback.labels.files import (
    labels_from_judgments,
    read_labels,
    write_confusion,
    write_labels,
    write_probabilities,
)
from custodes.feedback.labels.table import LabelTable, label_table

__all__ = [
    "Aggregated",
    "KnownLabels",
    "LabelTable",
    "aggregate",
    "beside_truths",
    "fit_comparison_file",
    "label_table",
    "labels_from_judgments",
    "read_labels",
    "write_confusion",
    "write_labels",
    "write_probabilities",
    "write_qualities",
]
