"""Who judges and what they say: simulated annotators, the annotator model, agreement, import and export."""

from custodes.feedback.annotator_model import AnnotatorModel, Estimate, fit_annotators
from custodes.feedback.simulated import NATURES, Nature, SimulatedAnnotator, simulated_annotators

__all__ = [
    "NATURES",
    "AnnotatorModel",
    "Estimate",
    "Nature",
    "SimulatedAnnotator",
    "fit_annotators",
    "simulated_annotators",
]
