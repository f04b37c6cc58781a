"""What runs inside the sandbox. Standard library of Python 3.9 only: the system's interpreter runs it, not ours."""
