"""The kinds of judgment, one file each: what is said, how it is asked for and checked, and what it teaches."""
