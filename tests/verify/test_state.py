"""A connection that does not survive a restart of the server fails the check for it."""
