"""What every exercise's check does, so that a check is left with what is special about it.

A check is a function under `exercise`. It calls the learner's function, looks at what comes back,
raises `Wrong` with a sentence where something is amiss, and returns its praise where nothing is.
The helpers below raise the sentences that many checks share.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import wraps
from html import escape
from typing import Any

import numpy as np

RIGHT, WRONG, UNTOUCHED = "right", "not yet", "not attempted yet"
_COLOUR = {RIGHT: "#009e73", WRONG: "#d55e00", UNTOUCHED: "#7d8590"}


@dataclass(frozen=True)
class Feedback:
    """The answer to an attempt: ``state`` is "right", "not yet" or "not attempted yet"."""

    state: str
    text: str = ""

    @property
    def passed(self) -> bool:
        return self.state == RIGHT

    def __repr__(self) -> str:
        return f"{self.state}: {self.text}" if self.text else self.state

    def _repr_html_(self) -> str:
        style = f"border-left:4px solid {_COLOUR[self.state]};padding:4px 12px"
        text = f": {escape(self.text)}" if self.text else ""
        return f'<div style="{style}"><b>{escape(self.state)}</b>{text}</div>'


class Wrong(Exception):
    """What is wrong with an attempt, in a sentence for the learner."""


class Untouched(Exception):
    """There is nothing to look at yet."""


class Attempt:
    """A learner's function. It gets copies, which it may spoil, and whatever it raises is `Wrong`.

    Attributes:
        given: the arguments of the last call, as that call has left them
    """

    def __init__(self, function: Callable) -> None:
        self.function = function
        self.given: list = []

    def __call__(self, *arguments) -> Any:
        self.given = [
            copy.deepcopy(each) if isinstance(each, np.ndarray | list | dict) else each
            for each in arguments
        ]
        try:
            result = self.function(*self.given)
        except (Wrong, Untouched):
            raise
        except Exception as error:  # whatever a learner's code raises belongs into the answer
            raise Wrong(f"your function raised {type(error).__name__}: {error}") from None
        if result is Ellipsis:
            raise Untouched
        if result is None:
            raise Wrong("your function returned None: is the last line a return?")
        return result


def exercise(check: Callable[[Attempt], str]) -> Callable[[Callable], Feedback]:
    """Turn a function that praises or raises into a check that never raises: see this module."""

    @wraps(check)
    def answered(function: Callable) -> Feedback:
        try:
            return Feedback(RIGHT, check(Attempt(function)))
        except Untouched:
            return Feedback(UNTOUCHED)
        except Wrong as wrong:
            return Feedback(WRONG, str(wrong))

    return answered


@contextmanager
def told(before: str = "", after: str = "") -> Iterator[None]:
    """Put words around what is found wrong inside."""
    try:
        yield
    except Wrong as wrong:
        raise Wrong(f"{before}{wrong}{after}") from None


def as_array(result: object) -> np.ndarray | None:
    """The answer as floating-point numbers; None where it holds anything else."""
    try:
        return np.asarray(result, dtype=float)
    except (TypeError, ValueError):
        return None


def described(result: object) -> str:
    """What was returned: a number as it is, an array's shape, or else the name of the type."""
    value = as_array(result)
    if value is None:
        return type(result).__name__
    return f"an array of shape {value.shape}" if value.shape else str(result)


def of_shape(
    result: object, shape: tuple[int, ...], what: str, wanted: str = "is expected"
) -> np.ndarray:
    """The answer as an array of this shape.

    Args:
        what: the numbers of such an array, in words
        wanted: end of the sentence that begins with ``what``
    """
    value = as_array(result)
    if value is None or value.shape != shape:
        text = f"your function returned {described(result)}; {what}, shape {shape}, {wanted}."
        raise Wrong(text)
    return value


def one_number(result: object) -> float:
    """The answer as a number."""
    value = as_array(result)
    if value is None or value.ndim:
        raise Wrong(f"your function returned {described(result)}; one number is expected.")
    return float(value)


def whole_number(result: object, what: str = "one whole number") -> int:
    """The answer as a whole number, which is ``what`` in words."""
    value = as_array(result)
    if value is None or value.ndim or value % 1 != 0:
        raise Wrong(f"your function returned {described(result)}; {what} is expected.")
    return int(value)


def yes_or_no(result: object) -> bool:
    """The answer as True or False, which 1 and 0 are, too."""
    value = as_array(result)
    if value is None or np.asarray(result).dtype.kind not in "biu" or value.tolist() not in (0, 1):
        raise Wrong(f"your function returned {described(result)}; True or False is expected.")
    return bool(result)


def same(result: object, expected: np.ndarray) -> bool:
    """Whether the answer has the expected shape and, but for rounding, the expected values."""
    value = as_array(result)
    return value is not None and value.shape == expected.shape and np.allclose(value, expected)


def refuse(
    result: object, mistakes: Mapping[str, Any], rtol: float = 1e-5, atol: float = 1e-7
) -> None:
    """Raise the sentence of the first mistake whose result this is, if it is anybody's.

    Args:
        mistakes: for each sentence what the mistake leads to; a tuple where there are several ways
    """
    value = as_array(result)
    if value is None:
        return
    for text, results in mistakes.items():
        for wrong in results if isinstance(results, tuple) else (results,):
            if np.shape(wrong) == value.shape and np.allclose(value, wrong, rtol=rtol, atol=atol):
                raise Wrong(text)
