"""What attention does, tested by changing it."""

from so3krates_lite.runtime.faces import face

__getattr__, __dir__, __all__ = face(
    __name__,
    {
        "Effect": "switching",
        "PairEffects": "switching",
        "effects_of_channels": "switching",
        "effects_of_pairs": "switching",
        "sensitivity": "switching",
        "switch_off": "switching",
    },
)
