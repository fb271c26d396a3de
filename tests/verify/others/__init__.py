"""Servers that were not made from the template, each a small program."""
