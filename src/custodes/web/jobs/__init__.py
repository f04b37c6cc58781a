"""The server's commands, one file a command."""
