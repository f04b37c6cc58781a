"""The forms of feedback that are read, one file each: see :mod:`custodes.feedback.form`."""
