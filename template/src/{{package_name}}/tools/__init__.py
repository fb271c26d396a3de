"""Every file in this folder is a set of tools, found by itself; AGENTS.md says how to write one."""
