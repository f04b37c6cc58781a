"""The groups of lines of a disclosure, one file a group."""
