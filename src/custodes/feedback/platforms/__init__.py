"""Annotation platforms whose files are read and written, one file each: see :mod:`custodes.feedback.platform`."""
