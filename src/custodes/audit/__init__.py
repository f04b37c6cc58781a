"""What got better, what was gamed, and who was not to be trusted: computed from the ledger alone."""

from custodes.audit.collect import Audit, collect
from custodes.audit.report import render, write_report
from custodes.audit.schema import (
    Agreement,
    AnnotatorEstimate,
    BestOfN,
    Checks,
    PolicyHeldout,
    PolicyStep,
    Resources,
    RewardHeldout,
    Samples,
)
from custodes.audit.seeds import SeedsOfArms, compare_arms

__all__ = [
    "Agreement",
    "AnnotatorEstimate",
    "Audit",
    "BestOfN",
    "Checks",
    "PolicyHeldout",
    "PolicyStep",
    "Resources",
    "RewardHeldout",
    "Samples",
    "SeedsOfArms",
    "collect",
    "compare_arms",
    "render",
    "write_report",
]
