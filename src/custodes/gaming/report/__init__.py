"""The pages that show a run."""

from custodes.gaming.report.page import write_report
from custodes.gaming.report.training import write_training_report

__all__ = ["write_report", "write_training_report"]
