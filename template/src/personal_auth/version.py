"""The version of this module, which every state file carries; nothing is imported here."""

__version__ = "1.0.0"
