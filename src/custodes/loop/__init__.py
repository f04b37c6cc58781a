"""The jobs of the loop, one file a command."""
