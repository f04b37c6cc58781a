"""Gameable environments: the curriculum from flattery to reward tampering, its detectors and its statistics."""

from custodes.gaming.environment import EnvironmentOptions, GamingEnvironment, gaming_task, gaming_tasks
from custodes.gaming.environment_spec import EnvironmentSpec
from custodes.gaming.facts import FACTS, EpisodeVerdict, make_verdict
from custodes.gaming.monitoring import Monitor, MonitorAlarm, View
from custodes.gaming.policies import Policy, ScriptedPolicy
from custodes.gaming.record import Records
from custodes.gaming.run import Loop, Runner, open_policy
from custodes.gaming.script import PolicyScript, StageScript, always
from custodes.gaming.staging import STAGES, make_stage
from custodes.gaming.summary import summarise
from custodes.gaming.variants import Ended, Split, Stage, Variant

__all__ = [
    "FACTS", "STAGES", "Ended", "EnvironmentOptions", "EnvironmentSpec", "EpisodeVerdict", "GamingEnvironment", "Loop", "Monitor",
    "MonitorAlarm", "Policy", "PolicyScript", "Records", "Runner", "ScriptedPolicy", "Split", "Stage", "StageScript", "Variant",
    "View", "always", "gaming_task", "gaming_tasks", "make_stage", "make_verdict", "open_policy", "summarise",
]  # fmt: skip
