"""The saved state: all records in a file, read again after a restart, also if an earlier version wrote it."""
