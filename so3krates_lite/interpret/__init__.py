"""What attention does, tested by changing it: interventions, shares, and what may be said."""

from so3krates_lite.runtime.faces import face

__getattr__, __dir__, __all__ = face(
    __name__,
    {
        "Baseline": "baselines",
        "Effect": "interventions",
        "PairEffects": "switching",
        "Place": "interventions",
        "effects_of_channels": "switching",
        "effects_of_pairs": "switching",
        "faithfulness": "evidence",
        "integrated_gradients": "attribution",
        "intervene": "interventions",
        "many_body": "expansion",
        "sensitivity": "switching",
        "states_of": "baselines",
        "switch_off": "switching",
    },
)
