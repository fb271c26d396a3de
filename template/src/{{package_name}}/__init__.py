"""Your server: the tools, what assistants are told (instructions.md), and the rest (extend.py)."""
