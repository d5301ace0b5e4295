"""Shapes an order is blind to: the degeneracy is proved, and models answer as the proof says."""

from __future__ import annotations

import json

import jax
import numpy as np
import pytest
from small import random_parameters

from so3krates_lite.cli import main
from so3krates_lite.config import GeomAttConfig
from so3krates_lite.errors import UserError
from so3krates_lite.experiments import shapes
from so3krates_lite.potential import Potential
from so3krates_lite.runtime.settings import precision_context
from so3krates_lite.structures.frames import Frames


def distances(positions) -> np.ndarray:
    return np.linalg.norm(positions[:, None] - positions[None], axis=-1)


@pytest.mark.parametrize(("which", "blind", "seeing"), [("A", 2, 3), ("B", 3, 4)])
def test_shapes_agree_in_every_chain_of_one_order_and_differ_in_the_next(which, blind, seeing):
    one, other = shapes.SHAPES[which]
    for order in range(2, blind + 1):
        assert shapes.chains(one, order) == shapes.chains(other, order)
    assert shapes.chains(one, seeing) != shapes.chains(other, seeing)
    assert len(shapes.chains(one, seeing)) == len(one) ** (seeing - 1)


def test_equal_chains_are_equal_multisets_of_distances():
    """Set A: from the centre. Set B: from every atom, so that the whole molecules agree in them."""
    one, other = (np.sort(distances(each)[0]) for each in shapes.SHAPES["A"])
    np.testing.assert_allclose(one, other, atol=1e-12)
    rows = [
        sorted(tuple(np.sort(row).round(9)) for row in distances(each))
        for each in shapes.SHAPES["B"]
    ]
    assert rows[0] == rows[1]


@pytest.mark.parametrize("which", "AB")
def test_the_two_shapes_are_no_images_of_each_other(which):
    """An isometry keeps all distances between corresponding atoms; here no order of atoms does."""
    one, other = (np.sort(np.linalg.eigvalsh(distances(each))) for each in shapes.SHAPES[which])
    assert np.abs(one - other).max() > 0.05


@pytest.mark.parametrize(("which", "blind", "seeing"), [("A", 2, 3), ("B", 3, 4)])
def test_random_networks_answer_as_the_chains_say(which, blind, seeing):
    """For any parameters the blind order gives the centre the same features, to rounding."""
    from so3krates_lite.structures.batching import make_batch

    one, other = shapes.SHAPES[which]
    frames = Frames(np.ones((2, len(one)), int), np.stack([one, other]))
    for order, differs in ((blind, False), (seeing, True)):
        config = shapes.classifier_config(order)
        batch = make_batch(frames, config, dtype=np.float64)
        model = shapes.ShapeClassifier(order)
        with precision_context(np.dtype(np.float64)):
            params = model.init(jax.random.key(3), batch)
            params = jax.tree.map(lambda leaf: np.asarray(leaf, np.float64) * 3 + 0.1, params)
            logit = np.asarray(model.apply(params, batch))
        assert (abs(logit[0] - logit[1]) > 1e-6 * abs(logit).max()) == differs
        if not differs:
            assert abs(logit[0] - logit[1]) < 1e-12 * abs(logit).max()


def test_set_b_is_one_molecule_to_a_whole_network_of_order_2():
    """One layer, all atoms summed: energies agree, since every atom has the same distances."""
    config = GeomAttConfig(orders=(2,), features=4, layers=1, inner=4, grid_end=2, grid_spacing=0.1)
    one, other = shapes.SHAPES["B"]
    potential = Potential(config, random_parameters(config))
    energy = potential.predict(Frames(np.ones((2, 6), int), np.stack([one, other]))).energy
    assert energy[0] == pytest.approx(energy[1], rel=1e-12)


def test_frames_are_turned_shaken_shapes_of_both_kinds():
    frames, kind = shapes.shape_frames("A", 40, noise=0.0, seed=4)
    assert len(frames) == 40 and kind.sum() == 20
    for k in range(40):
        expected = distances(shapes.SHAPES["A"][kind[k]])
        np.testing.assert_allclose(distances(frames.positions[k]), expected, atol=1e-12)
    assert np.abs(frames.positions[0, 1] - shapes.SHAPES["A"][kind[0]][1]).max() > 0.1
    shaken, _ = shapes.shape_frames("A", 40, noise=0.05, seed=4)
    assert (shaken.positions - frames.positions).std() == pytest.approx(0.05, rel=0.15)


def test_training_tells_shapes_apart_where_the_order_can(tmp_path):
    results = shapes.classify_shapes(("A",), seeds=(0,), frames=60, steps=300, folder=tmp_path)
    accuracy = {result.model: result.accuracy for result in results}
    assert accuracy["order 3"] == 1.0
    assert accuracy["order 2"] < 0.75 and accuracy["distance convolution"] < 0.75
    content = json.loads((tmp_path / "shapes.json").read_text())
    assert content["noise"] == "0.02 Å" and len(content["results"]) == 3


def test_unknown_set_and_impossible_noise_are_refused(tmp_path, capsys):
    with pytest.raises(UserError, match="C"):
        shapes.shape_frames("C", 4)
    assert main(["experiment", "shapes", "--folder", str(tmp_path), "--noise", "-1"]) == 2
    assert "--noise -1.0 is not possible" in capsys.readouterr().err
