"""Looks at an MCP server as the internet does: `verify.py` beside `src` runs it."""
