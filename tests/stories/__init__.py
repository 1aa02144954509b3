"""The command line as a user types it, against a sandbox of the tests' own."""
