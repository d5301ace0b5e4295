"""The answer to an attempt at an exercise, and what every check does first."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from html import escape

import numpy as np
from numpy.typing import ArrayLike

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


def attempt(function: Callable, *arguments) -> tuple[object, Feedback | None]:
    """The function's result, or the feedback that there is none to look at."""
    try:
        result = function(*arguments)
    except Exception as error:  # whatever a learner's code raises belongs into the answer
        text = f"your function raised {type(error).__name__}: {error}"
        return None, Feedback(WRONG, text)
    if result is Ellipsis:
        return None, Feedback(UNTOUCHED)
    if result is None:
        return None, Feedback(WRONG, "your function returned None: is the last line a return?")
    return result, None


def as_array(result: object) -> np.ndarray | None:
    """The answer as floating-point numbers; None where it holds anything else."""
    try:
        return np.asarray(result, dtype=float)
    except (TypeError, ValueError):
        return None


def described(result: object) -> str:
    """What kind of thing was returned: an array of which shape, or else the name of its type."""
    value = as_array(result)
    return type(result).__name__ if value is None else f"an array of shape {value.shape}"


def of_shape(
    result: object, shape: tuple[int, ...], what: str, wanted: str = "is expected"
) -> np.ndarray | Feedback:
    """The answer as an array of this shape, or the feedback that it has another.

    Args:
        what: the numbers of such an array, in words
        wanted: end of the sentence that begins with ``what``
    """
    value = as_array(result)
    if value is not None and value.shape == shape:
        return value
    text = f"your function returned {described(result)}; {what}, shape {shape}, {wanted}."
    return Feedback(WRONG, text)


def one_number(result: object) -> float | Feedback:
    """The answer as a number, or the feedback that it is none."""
    value = as_array(result)
    if value is not None and value.ndim == 0:
        return float(value)
    text = f"your function returned {described(result)}; one number is expected."
    return Feedback(WRONG, text)


def whole_number(result: object) -> int | None:
    """The answer as a whole number; None where it is no such thing."""
    value = as_array(result)
    return None if value is None or value.ndim or value % 1 != 0 else int(value)


def same(result: object, expected: np.ndarray) -> bool:
    """Whether the answer has the expected shape and, but for rounding, the expected values."""
    value = as_array(result)
    return value is not None and value.shape == expected.shape and np.allclose(value, expected)


def known_mistake(
    result: object,
    mistakes: Iterable[tuple[ArrayLike, str]],
    rtol: float = 1e-5,
    atol: float = 1e-7,
) -> Feedback | None:
    """The sentence of the first mistake whose result this is; None where it is nobody's."""
    value = as_array(result)
    if value is None:
        return None
    for wrong, text in mistakes:
        if np.shape(wrong) == value.shape and np.allclose(value, wrong, rtol=rtol, atol=atol):
            return Feedback(WRONG, text)
    return None
