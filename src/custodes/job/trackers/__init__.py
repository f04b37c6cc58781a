"""Trackers: where the numbers of every step go too, beside the ledger; one file for each library."""

from custodes.job.trackers.base import TRACKERS, track, tracked_as, tracking

__all__ = ["TRACKERS", "track", "tracked_as", "tracking"]
