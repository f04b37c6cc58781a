"""The page that shows a run."""

from custodes.gaming.report.page import write_report

__all__ = ["write_report"]
