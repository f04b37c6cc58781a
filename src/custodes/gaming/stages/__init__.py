"""The stages, a file each: from flattery to reward tampering, and honeypots."""
