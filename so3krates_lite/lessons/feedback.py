"""The answer to an attempt at an exercise, and what every check does first."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from html import escape

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
    try:
        return np.asarray(result, dtype=float)
    except (TypeError, ValueError):
        return None


def same(result: object, expected: np.ndarray) -> bool:
    value = as_array(result)
    return value is not None and value.shape == expected.shape and np.allclose(value, expected)
