"""Pages that show how good critics are."""

from custodes.critic.report.evaluation import write_critics_page
from custodes.critic.report.scaling import write_scaling_page

__all__ = ["write_critics_page", "write_scaling_page"]
