"""Pages that show how good critics are."""
