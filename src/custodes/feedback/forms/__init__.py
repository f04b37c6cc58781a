"""Feedback in any form, read into what it means."""

from custodes.feedback.forms.read import FeedbackFile, listed, read_feedback, select_rows

__all__ = ["FeedbackFile", "listed", "read_feedback", "select_rows"]
