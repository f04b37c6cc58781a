"""What got better, what was gamed, and who was not to be trusted: computed from the ledger alone."""

from custodes.audit.heldout import chosen_row
from custodes.audit.record import ArmSection, RecordedRun, RunSection
from custodes.audit.report import audit_run, write_report
from custodes.audit.rows import PolicyHeldout, Row
from custodes.audit.sections.diversity import Samples
from custodes.audit.sections.gaming import Checks
from custodes.audit.sections.judges import Agreement, AnnotatorEstimate
from custodes.audit.sections.optimisation import BestOfN, PolicyStep
from custodes.audit.sections.resources import Resources
from custodes.audit.sections.rewards import RewardHeldout
from custodes.audit.seeds import SeedsOfArms, compare_arms

__all__ = [
    "Agreement",
    "AnnotatorEstimate",
    "ArmSection",
    "BestOfN",
    "Checks",
    "PolicyHeldout",
    "PolicyStep",
    "RecordedRun",
    "Resources",
    "RewardHeldout",
    "Row",
    "RunSection",
    "Samples",
    "SeedsOfArms",
    "audit_run",
    "chosen_row",
    "compare_arms",
    "write_report",
]
