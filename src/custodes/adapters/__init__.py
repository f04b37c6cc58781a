"""Runs of other trainers, in the ledger: one file a trainer."""
