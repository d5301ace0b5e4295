"""Errors that are a user's to mend.

Each carries one sentence: what was found, where, and what to do. The command line prints that
sentence alone and exits with status 2; in Python they are ordinary exceptions.
"""


class UserError(ValueError):
    """A mistake in what the user gave: a file, a field, an argument, a setting."""
