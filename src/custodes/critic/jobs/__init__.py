"""The jobs of the critics, one file a command."""
