"""What got better, what was gamed, and who was not to be trusted: computed from the ledger alone."""

from custodes.audit.heldout import chosen_row
from custodes.audit.record import ArmSection, RecordedRun, RunSection
from custodes.audit.report import audit_run, write_report
from custodes.audit.rows import PolicyHeldout, Row
from custodes.audit.sections.diversity import Samples
from custodes.audit.sections.gaming import Checks
from custodes.audit.sections.judges import AnnotatorAgreement, AnnotatorEstimate
from custodes.audit.sections.optimisation import BestOfNSamples, PolicyStep
from custodes.audit.sections.resources import Resources
from custodes.audit.sections.rewards import RewardHeldout

__all__ = [
    "AnnotatorAgreement",
    "AnnotatorEstimate",
    "ArmSection",
    "BestOfNSamples",
    "Checks",
    "PolicyHeldout",
    "PolicyStep",
    "RecordedRun",
    "Resources",
    "RewardHeldout",
    "Row",
    "RunSection",
    "Samples",
    "audit_run",
    "chosen_row",
    "write_report",
]
