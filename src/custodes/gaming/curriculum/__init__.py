"""Training through the curriculum, round by round: its plan, its rewards, and what is measured after each."""
