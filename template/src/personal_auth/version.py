"""The version of this module, which every state file carries; nothing is imported here."""

__version__ = "0.1.0"
