"""The five stages of the curriculum, from flattery to reward tampering."""

from custodes.gaming.stages.curriculum import HONEYPOTS, STAGES, StageOptions, about_stage, contents_of, make_stage
from custodes.gaming.stages.own import own_file
from custodes.gaming.stages.political import read_typology

__all__ = [
    "HONEYPOTS",
    "STAGES",
    "StageOptions",
    "about_stage",
    "contents_of",
    "make_stage",
    "own_file",
    "read_typology",
]
