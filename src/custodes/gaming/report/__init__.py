"""The pages that show a run, a run's monitors, and training through the curriculum."""

from custodes.gaming.report.monitors import write_monitors_page
from custodes.gaming.report.played import write_played_page
from custodes.gaming.report.training import write_training_page

__all__ = ["write_monitors_page", "write_played_page", "write_training_page"]
