"""Gameable environments: the curriculum from flattery to reward tampering, its detectors and its statistics."""

from custodes.gaming.environment import EnvironmentOptions, GamingEnvironment, gaming_task, gaming_tasks
from custodes.gaming.facts import FACTS, Verdict
from custodes.gaming.form import Form, make_form, read_form
from custodes.gaming.opening import open_policy
from custodes.gaming.policies import Policy, ScriptedPolicy
from custodes.gaming.record import Records
from custodes.gaming.run import Loop, Runner, jobs_of
from custodes.gaming.scripted import POLICIES
from custodes.gaming.stages.political_sycophancy import read_typology
from custodes.gaming.staging import STAGES, StageOptions, make_stage
from custodes.gaming.summary import power_sentence, power_table, summarise
from custodes.gaming.transcript import parse_reply, visible_messages

__all__ = [
    "FACTS",
    "POLICIES",
    "STAGES",
    "EnvironmentOptions",
    "Form",
    "GamingEnvironment",
    "Loop",
    "Policy",
    "Records",
    "Runner",
    "ScriptedPolicy",
    "StageOptions",
    "Verdict",
    "gaming_task",
    "gaming_tasks",
    "jobs_of",
    "make_form",
    "make_stage",
    "open_policy",
    "parse_reply",
    "power_sentence",
    "power_table",
    "read_form",
    "read_typology",
    "summarise",
    "visible_messages",
]
