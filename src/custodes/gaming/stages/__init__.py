"""The five stages of the curriculum, from flattery to reward tampering."""

from custodes.gaming.stages.curriculum import HONEYPOTS, STAGES, StageOptions, about_stage, make_stage
from custodes.gaming.stages.political import read_typology

__all__ = ["HONEYPOTS", "STAGES", "StageOptions", "about_stage", "make_stage", "read_typology"]
