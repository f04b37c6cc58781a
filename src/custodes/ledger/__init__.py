"""The append-only record of everything that happened, and its verification."""

from custodes.ledger.chain import Verification
from custodes.ledger.ledger import Ledger, verify_ledger
from custodes.ledger.records import Artefact, Decision, Evaluation, Model, Record, Redaction, Run, ScoreRow, Status

__all__ = [
    "Artefact",
    "Decision",
    "Evaluation",
    "Ledger",
    "Model",
    "Record",
    "Redaction",
    "Run",
    "ScoreRow",
    "Status",
    "Verification",
    "verify_ledger",
]
