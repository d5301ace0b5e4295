"""What the lessons' notebooks lean on: checks that answer an exercise in a helpful sentence.

A check takes the learner's function, tries it on small arrays whose answer is known, and returns a
`Feedback`. It never raises: an exercise that nobody has touched says so, and one that fails says
what is wrong as precisely as it can. A check knows the plausible mistakes by computing them: a
result that equals a mistake's result names the mistake.
"""

from so3krates_lite.lessons.feedback import RIGHT, UNTOUCHED, WRONG, Feedback
from so3krates_lite.lessons.length_scales import (
    check_charge_floor,
    check_longest_chain,
    check_nearness,
)
from so3krates_lite.lessons.tour import check_force_error, check_listener, check_mirror

__all__ = [
    "RIGHT",
    "UNTOUCHED",
    "WRONG",
    "Feedback",
    "check_charge_floor",
    "check_force_error",
    "check_listener",
    "check_longest_chain",
    "check_mirror",
    "check_nearness",
]
