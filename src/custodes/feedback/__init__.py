"""Who judges and what they say: simulated annotators, the annotator model, agreement, import and export."""

from custodes.feedback.agreement import (
    Consistency,
    InterAnnotatorAgreement,
    agreement,
    agreement_by_group,
    agreement_on_labels,
    agreement_on_ratings,
    repeat_consistency,
)
from custodes.feedback.annotator_model import AnnotatorModel, Estimate, fit_annotators
from custodes.feedback.collection import Feedback
from custodes.feedback.exchange import (
    examples_from_judgments,
    feedback_from_pairs,
    pairs_from_corrections,
    pairs_from_judgments,
)
from custodes.feedback.formats import (
    read_preferences,
    write_completions,
    write_preferences,
)
from custodes.feedback.inversion import Suspicion, prompt_words, suspect_inversions
from custodes.feedback.reading import FeedbackFile, read_feedback
from custodes.feedback.records import write_judgments
from custodes.feedback.simulated import NATURES, Nature, SimulatedAnnotator, simulated_annotators
from custodes.types import Example, PreferencePair

__all__ = [
    "NATURES",
    "AnnotatorModel",
    "Consistency",
    "Estimate",
    "Example",
    "Feedback",
    "FeedbackFile",
    "InterAnnotatorAgreement",
    "Nature",
    "PreferencePair",
    "SimulatedAnnotator",
    "Suspicion",
    "agreement",
    "agreement_by_group",
    "agreement_on_labels",
    "agreement_on_ratings",
    "examples_from_judgments",
    "feedback_from_pairs",
    "fit_annotators",
    "pairs_from_corrections",
    "pairs_from_judgments",
    "prompt_words",
    "read_feedback",
    "read_preferences",
    "repeat_consistency",
    "simulated_annotators",
    "suspect_inversions",
    "write_completions",
    "write_judgments",
    "write_preferences",
]
