"""Feedback in any form, read into what it means."""

from custodes.feedback.forms.own import hash_of
from custodes.feedback.forms.read import FeedbackFile, JudgmentsOptions, listed, read_feedback, select_rows

__all__ = ["FeedbackFile", "JudgmentsOptions", "hash_of", "listed", "read_feedback", "select_rows"]
