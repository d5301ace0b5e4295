"""Settings: what is impossible is refused with the setting's name, what is possible round-trips."""

from __future__ import annotations

import math

import numpy as np
import pytest

from so3krates_lite.config import So3kratesConfig
from so3krates_lite.errors import UserError
from so3krates_lite.runtime.settings import precision_of

IMPOSSIBLE = [
    {"variant": "newest"},
    {"features": 130},
    {"features": 0},
    {"layers": True},
    {"heads": 2.0},
    {"degrees": ()},
    {"degrees": 3},
    {"degrees": (2, 1)},
    {"degrees": (1, 1)},
    {"degrees": (-1, 0)},
    {"degrees": (1.5,)},
    {"cutoff": 0.0},
    {"cutoff": math.inf},
    {"cutoff": "5"},
    {"radial_hidden": 0},
    {"sphc_start": "warm"},
    {"sphc_invariant": "cone"},
    {"sphc_normalization": 0},
]


@pytest.mark.parametrize("setting", IMPOSSIBLE, ids=str)
def test_impossible_setting_is_named(setting):
    with pytest.raises(UserError, match=next(iter(setting))):
        So3kratesConfig(**setting)


@pytest.mark.usefixtures("unchecked")
def test_numpy_numbers_are_numbers():
    config = So3kratesConfig(features=np.int64(24), degrees=[np.int64(1), 2], cutoff=np.float64(4))
    assert config.degrees == (1, 2)


@pytest.mark.parametrize(
    "config", [So3kratesConfig(), So3kratesConfig(variant="v0.3", degrees=(0, 2))]
)
def test_settings_survive_a_round_trip(config):
    assert So3kratesConfig.from_dict(config.to_dict()) == config


def test_variant_sets_what_it_stands_for():
    paper, smooth = So3kratesConfig(variant="paper"), So3kratesConfig()
    assert (paper.sphc_start, paper.sphc_invariant) == ("mean", "norm")
    assert (smooth.variant, smooth.sphc_start, smooth.sphc_invariant) == ("smooth",) * 3
    later = So3kratesConfig(variant="v0.3")
    assert (later.sphc_start, later.sphc_invariant) == ("zero", "contraction")
    assert (later.radial_hidden, later.spherical_hidden) == (132, 33)


def test_a_file_of_before_there_was_a_choice_means_the_paper_s_norm():
    saved = {k: v for k, v in So3kratesConfig("paper").to_dict().items() if k != "sphc_invariant"}
    assert So3kratesConfig.from_dict(saved) == So3kratesConfig("paper")


@pytest.mark.parametrize("name", ["float16", "double-ish", None, 64])
def test_unknown_precision_is_refused(name):
    with pytest.raises(UserError, match="float32 or float64"):
        precision_of(name)
