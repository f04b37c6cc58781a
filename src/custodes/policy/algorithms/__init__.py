"""The algorithms, a file each: its advantage, its loss, its selection, its options and its source."""
