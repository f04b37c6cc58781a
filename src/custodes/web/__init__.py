"""The web application: accounts, the interface for programs, and the screens."""
