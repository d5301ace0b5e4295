"""A form of So3krates is its pieces and one line of a table: everything else follows from those."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from small import molecule, small_config, small_potential

from so3krates_lite.config import ARCHITECTURES, FORMS, Form, GeomAttConfig, So3kratesConfig
from so3krates_lite.errors import UserError
from so3krates_lite.exchange import EXCHANGES
from so3krates_lite.harmonics import degree_invariants
from so3krates_lite.interpret.switching import channels_of, switch_off
from so3krates_lite.potential import Potential
from so3krates_lite.record.blocks import BLOCKS
from so3krates_lite.record.parts import QUANTITIES

NEW = Form("smooth", "contraction", 10, None, "gated", biases=True)


@pytest.fixture
def new_form(monkeypatch) -> So3kratesConfig:
    monkeypatch.setitem(FORMS, "new", NEW)
    small = small_config()
    return dataclasses.replace(
        small,
        variant="new",
        **dict.fromkeys(("sphc_start", "sphc_invariant", "radial_hidden", "spherical_hidden")),
    )


def test_a_new_line_of_the_table_is_a_form_that_works_from_end_to_end(new_form, tmp_path):
    assert new_form.sphc_invariant == "contraction" and new_form.radial_hidden == 10
    assert new_form.spherical_hidden == new_form.features // 4
    frame = molecule(4, seed=2)
    potential = small_potential(new_form)
    found = potential.predict(frame)
    potential.save(tmp_path / "new.safetensors")
    again = Potential.load(tmp_path / "new.safetensors")
    assert again.config == new_form
    np.testing.assert_array_equal(again.predict(frame).forces, found.forces)
    record = potential.attention(frame)
    assert record.blocks == new_form.blocks
    effect = switch_off(potential, frame)
    assert np.abs(effect.forces).max() > 1e-6
    layer = potential.params["layers"]
    assert "from_mixed" not in layer["exchange"]  # gated
    assert "bias" in layer["feature_attention"]["value"]
    assert layer["feature_filter"]["radial"]["hidden"]["kernel"].shape[-1] == 10


def test_a_form_that_is_not_in_the_table_is_refused_with_those_that_are():
    with pytest.raises(UserError, match=r"variant.*paper.*smooth.*v0\.3"):
        So3kratesConfig(variant="new")


def test_every_piece_that_a_form_names_is_there():
    for form in FORMS.values():
        assert form.exchange in EXCHANGES
        config = So3kratesConfig(sphc_invariant=form.sphc_invariant)
        assert degree_invariants(np.ones((2, 15), np.float32), config).shape == (2, 3)


@pytest.mark.parametrize(
    "config",
    [
        small_config(),
        small_config(spherical_radius=1.0),
        GeomAttConfig(orders=(2, 3), features=8, layers=1, inner=4, grid_end=2.0),
    ],
    ids=lambda config: "+".join(config.blocks),
)
def test_channels_names_and_words_of_every_block_come_from_its_line(config):
    assert ARCHITECTURES[config.architecture] is type(config)
    record = small_potential(config).attention(molecule(3, seed=1))
    assert record.blocks == config.blocks
    for name, channels in channels_of(config).items():
        kind = BLOCKS[name]
        assert record.n_channels(name) == channels == len(record.channel_names(name))
        listed = getattr(config, kind.channels)
        listed = range(listed) if isinstance(listed, int) else listed
        assert record.channel_names(name) == [f"{kind.channel} {one}" for one in listed]
        assert set(kind.formula) == set(kind.axis) == set(QUANTITIES)
        assert kind.explained
