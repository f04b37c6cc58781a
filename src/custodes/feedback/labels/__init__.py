"""One label per task from those of several annotators: majority, Dawid-Skene, MACE and GLAD behind one call."""

from custodes.feedback.labels.aggregate import METHODS, Aggregated, Method, aggregate
from custodes.feedback.labels.agreeing import LabelAgreement, agreement_in
from custodes.feedback.labels.comparisons import fit_comparison_file, write_qualities
from custodes.feedback.labels.files import (
    labels_from_judgments,
    read_labels,
    write_confusion,
    write_labels,
    write_probabilities,
)
from custodes.feedback.labels.known import KnownLabels, beside_truths
from custodes.feedback.labels.table import LabelTable, label_table

__all__ = [
    "METHODS",
    "Aggregated",
    "KnownLabels",
    "LabelAgreement",
    "LabelTable",
    "Method",
    "aggregate",
    "agreement_in",
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
