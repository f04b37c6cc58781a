"""The five stages of the curriculum, from flattery to reward tampering."""

from custodes.gaming.stages.curriculum import STAGES, StageOptions, make_stage
from custodes.gaming.stages.political import read_typology

__all__ = ["STAGES", "StageOptions", "make_stage", "read_typology"]
