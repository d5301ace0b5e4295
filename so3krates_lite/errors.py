"""Errors that are a user's to mend.

Each carries one sentence: what was found, where, and what to do. The command line prints that
sentence alone and exits with status 2; in Python they are ordinary exceptions.
"""

from numbers import Integral


class UserError(ValueError):
    """A mistake in what the user gave: a file, a field, an argument, a setting."""


def require(condition: bool, name: str, value: object, expected: str) -> None:
    """Raise a `UserError` that names a setting, its value and what was expected of it."""
    if not condition:
        raise UserError(f"{name} = {value!r} is not possible: expected {expected}.")


def is_whole(value: object, least: int) -> bool:
    """Whether a value is a whole number, numpy's too, of ``least`` or more; True is none."""
    return isinstance(value, Integral) and not isinstance(value, bool) and int(value) >= least
