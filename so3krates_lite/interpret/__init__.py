"""What attention does, tested by changing it: interventions, shares, and what may be said."""

from so3krates_lite.runtime.faces import face

__getattr__, __dir__, __all__ = face(
    __name__,
    {
        "Baseline": "baselines",
        "Effect": "interventions",
        "PairEffects": "switching",
        "Place": "interventions",
        "alike": "similarity",
        "effects_of_channels": "switching",
        "effects_of_pairs": "switching",
        "faithfulness": "evidence",
        "integrated_gradients": "attribution",
        "intervene": "interventions",
        "many_body": "expansion",
        "named_targets": "targets",
        "probe": "probes",
        "sensitivity": "switching",
        "states_of": "baselines",
        "surroundings": "similarity",
        "switch_off": "switching",
    },
)
