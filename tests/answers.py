"""What tests of the lessons' exercises say of a check's answer."""

from __future__ import annotations

from so3krates_lite import lessons


def wrong(feedback: lessons.Feedback, *words: str) -> None:
    """The answer was looked at and refused, in a text that has all these words in it."""
    assert not feedback.passed and feedback.state == lessons.WRONG
    assert all(word in feedback.text for word in words), feedback.text
