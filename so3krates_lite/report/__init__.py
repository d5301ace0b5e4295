"""One HTML page that holds everything and loads nothing."""

from so3krates_lite.runtime.faces import face

__getattr__, __dir__, __all__ = face(
    __name__,
    {
        "write_report": "write",
    },
)
