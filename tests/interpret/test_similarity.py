"""Similar surroundings: a copy of a molecule far away is found, turned or not."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.spatial.transform import Rotation
from small import molecule, small_config, small_potential, stack

from so3krates_lite.config import GeomAttConfig
from so3krates_lite.errors import UserError
from so3krates_lite.interpret.similarity import (
    alike,
    alike_figure,
    map_figure,
    principal,
    surroundings,
)
from so3krates_lite.structures.frames import Frames

pytestmark = pytest.mark.usefixtures("quick_compilation")

TURN = Rotation.random(rng=np.random.default_rng(3)).as_matrix()


@pytest.fixture(scope="module")
def potential():
    return small_potential(small_config(variant="smooth"))


def two(turn: np.ndarray) -> Frames:
    """A molecule and its turned copy, 30 Å away, in one structure."""
    one = molecule(5, 3, span=3.0)
    copy = one.positions @ turn.T + [30.0, 0, 0]
    return Frames(np.tile(one.numbers, 2), np.concatenate([one.positions, copy], axis=1))


@pytest.mark.parametrize("by", ["chi", "lengths"])
def test_the_same_atom_of_a_copy_is_found_far_away(potential, by):
    frame = two(np.eye(3))
    among = surroundings(potential, frame, by=by)
    for atom in range(5):
        found = alike(among, atom, most=1, same_element=False)
        assert among.atom[found.place].tolist() == [atom + 5]
        assert found.apart[0] < 1e-9 and found.distance[0] == pytest.approx(30)


def test_a_turned_copy_is_found_by_lengths_only(potential):
    frame = two(TURN)
    found = alike(surroundings(potential, frame), 2, most=1)
    assert found.place.tolist() == [7] and found.apart[0] < 1e-7
    by_chi = surroundings(potential, frame, by="chi")
    again = alike(by_chi, 2, most=9, same_element=False)
    assert again.apart[again.place == 7] > 0.05


def test_atoms_of_other_frames_have_no_distance_and_are_found(potential):
    one = molecule(5, 3, span=3.0)
    frames = stack(one, molecule(6, 1), one.replace(positions=one.positions @ TURN.T))
    among = surroundings(potential, frames)
    assert len(among) == 16 and among.names[5].endswith("0 of frame 1")
    found = alike(among, 1, frame=0, most=1)
    assert (among.frame[found.place], among.atom[found.place]) == (2, 1)
    assert np.isnan(found.distance[0])


def test_beyond_and_element_are_kept(potential):
    among = surroundings(potential, two(np.eye(3)))
    found = alike(among, 0, most=20, beyond=20.0, same_element=False)
    assert set(found.place.tolist()) == {5, 6, 7, 8, 9} and (found.distance >= 20).all()
    assert (np.diff(found.apart) >= 0).all()
    same = alike(among, 0, most=20)
    assert set(among.number[same.place]) == {among.number[0]}


def test_degrees_and_layers_choose_parts_of_chi(potential):
    frame = two(np.eye(3))
    both = surroundings(potential, frame, by="chi", layer=1)
    one = surroundings(potential, frame, by="chi", layer=1, degrees=(2,))
    np.testing.assert_array_equal(both.description[:, 3:], one.description)
    assert surroundings(potential, frame).description.shape == (10, 6)  # 2 degrees, 3 states


def test_components_are_those_of_the_covariance(potential):
    among = surroundings(potential, two(TURN))
    places, shares = principal(among, 2)
    values = np.linalg.eigvalsh(np.cov(among.description.T))[::-1]
    np.testing.assert_allclose(shares, values[:2] / values.sum(), rtol=1e-9)
    np.testing.assert_allclose(places.var(axis=0, ddof=1), values[:2], rtol=1e-9)
    assert sum(len(t.x) for t in map_figure(among).data) == 10


def test_the_figure_shows_every_other_atom(potential):
    among = surroundings(potential, two(np.eye(3)))
    figure = alike_figure(among, 0)
    assert sum(len(t.x) for t in figure.data) == 9
    same = next(t for t in figure.data if t.name == "same element")
    assert len(same.x) == (among.number == among.number[0]).sum() - 1


def test_what_cannot_be_searched_is_said(potential):
    frames = stack(molecule(5, 3), molecule(5, 4))
    with pytest.raises(UserError, match="chi turns with the molecule, and 2 frames"):
        surroundings(potential, frames, by="chi")
    with pytest.raises(UserError, match="by = 'x' is not possible"):
        surroundings(potential, frames, by="x")
    with pytest.raises(UserError, match="no degree 7"):
        surroundings(potential, frames, degrees=(7,))
    among = surroundings(potential, frames)
    with pytest.raises(UserError, match="no atom 9 in frame 0"):
        alike(among, 9)
    with pytest.raises(UserError, match="No other atom fits"):
        alike(surroundings(potential, molecule(5, 3)), 0, beyond=100.0)
    with pytest.raises(UserError, match="components = 99"):
        principal(among, 99)
    geomatt = GeomAttConfig(features=6, inner=8, layers=2, grid_end=2.0, grid_spacing=0.1)
    with pytest.raises(UserError, match="no SPHCs"):
        surroundings(small_potential(geomatt), frames)
