"""The jobs of the gameable environments, one file a command."""
