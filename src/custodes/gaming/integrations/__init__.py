"""The gameable environments in other people's tools: Inspect AI, OpenEnv, verifiers. Each needs its own library."""
