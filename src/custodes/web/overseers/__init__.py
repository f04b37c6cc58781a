"""People who oversee: who approves or blocks what a policy proposes, asked for by name."""
