"""Training: from labelled frames to a potential, on the device, resumable at any moment.

`train` is the one entry; `TrainConfig` holds every setting, `evaluate` judges the result and
`calibrated` the deviations that an ensemble, or a `LastLayer`, states. All are imported when they
are first used, so that the settings can be read without JAX.
"""

from so3krates_lite.runtime.faces import face

__getattr__, __dir__, __all__ = face(
    __name__,
    {
        "LastLayer": "last_layer",
        "TrainConfig": "config",
        "calibrated": "calibration",
        "evaluate": "evaluation",
        "train": "loop",
    },
)
