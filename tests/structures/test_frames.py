import copy
import dataclasses
import multiprocessing
import pickle
from concurrent.futures import ProcessPoolExecutor

import numpy as np
import pytest

from so3krates_lite.errors import UserError
from so3krates_lite.structures.frames import Frames, frame_fields


def water(n=3, width=4, seed=0):
    """n slightly different water molecules with everything a frame may carry but a cell."""
    rng = np.random.default_rng(seed)
    numbers = np.zeros((n, width), int)
    numbers[:, :3] = [8, 1, 1]
    positions = np.zeros((n, width, 3))
    positions[:, :3] = [[0, 0, 0], [0.96, 0, 0], [-0.24, 0.93, 0]]
    positions[:, :3] += 0.02 * rng.standard_normal((n, 3, 3))
    forces = np.zeros((n, width, 3))
    forces[:, :3] = rng.standard_normal((n, 3, 3))
    charges = np.zeros((n, width))
    charges[:, :3] = [-0.8, 0.4, 0.4]
    return Frames(
        numbers,
        positions,
        energy=rng.standard_normal(n),
        forces=forces,
        total_charge=np.zeros(n),
        spin_multiplicity=np.ones(n, int),
        partial_charges=charges,
        group=np.arange(n),
        info={"name": "water"},
    )


def copper(n=2):
    from ase.build import bulk

    return Frames.from_atoms([bulk("Cu")] * n)


def assert_same(a, b):
    for name in frame_fields():
        x, y = getattr(a, name), getattr(b, name)
        assert (x is None) == (y is None), name
        if x is not None:
            np.testing.assert_array_equal(x, y, err_msg=name)


def test_types_and_sizes_are_as_stated():
    frames = water()
    assert len(frames) == 3 and frames.max_atoms == 4
    assert frames.n_atoms.tolist() == [3, 3, 3]
    assert frames.elements.tolist() == [1, 8]
    assert frames.element_counts().tolist() == [[2, 1]] * 3
    assert frames.element_counts([6, 8]).tolist() == [[0, 1]] * 3
    assert frames.positions.dtype == frames.energy.dtype == np.float64
    assert "water" in repr(frames) and not frames.is_periodic


def test_arrays_cannot_be_changed_by_accident():
    with pytest.raises(ValueError, match="read-only"):
        water().positions[0] = 0
    mine = np.zeros((1, 1, 3))
    Frames([[1]], mine)
    mine[0] = 1.0  # the caller's own array stays writable


def test_index_slice_mask_and_int_choose_frames():
    frames = water(5)
    assert_same(frames[2], frames[2:3])
    assert_same(frames[-1], frames[[4]])
    assert_same(frames[np.arange(5) % 2 == 0], frames[::2])
    assert len(frames[[]]) == 0
    assert [len(frame) for frame in frames] == [1] * 5
    assert frames[1].info == {"name": "water"}
    with pytest.raises(IndexError):
        frames[5]


@pytest.mark.parametrize(
    "copied",
    [copy.copy, copy.deepcopy, lambda frames: pickle.loads(pickle.dumps(frames))],
    ids=["copy", "deepcopy", "pickle"],
)
def test_a_copy_is_equal_and_as_safe(copied):
    stress = np.arange(18.0).reshape(2, 3, 3)
    for frames in (water(), water()[[]], copper(2).replace(stress=stress), water().trimmed()):
        again = copied(frames)
        assert_same(again, frames)
        assert again.info == frames.info
        with pytest.raises(ValueError, match="read-only"):
            again.positions[:] = 1
        with pytest.raises(TypeError):
            again.info["name"] = "other"
        with pytest.raises(dataclasses.FrozenInstanceError):
            again.energy = None


def test_frames_go_to_another_process_and_back():
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
        assert_same(pool.submit(copy.copy, water()).result(), water())


def test_a_deep_copy_shares_nothing():
    mine = np.zeros((1, 1, 3))
    frames = Frames([[1]], mine)
    again = copy.deepcopy(frames)
    mine[0] = 1.0
    assert not again.positions.any()


def test_empty_set_is_allowed():
    empty = water()[[]]
    assert len(empty) == 0 and empty.energy.shape == (0,)
    assert len(Frames.from_atoms([])) == 0


def test_concatenation_widens_with_padding():
    narrow = water(2, width=3)
    both = Frames.concatenate([narrow, water(1, width=6, seed=1)])
    assert both.max_atoms == 6 and both.n_atoms.tolist() == [3, 3, 3]
    assert_same(both[:2].trimmed(), narrow)


def test_concatenation_demands_the_same_knowledge():
    with pytest.raises(UserError, match="set 1 has no energy"):
        Frames.concatenate([water(), water().replace(energy=None)])
    with pytest.raises(UserError, match="no sets"):
        Frames.concatenate([])


def test_molecules_and_crystals_can_stand_together():
    molecules = Frames(water().numbers, water().positions)
    both = Frames.concatenate([molecules, copper()])
    assert both.is_periodic
    assert both.pbc.all(axis=1).tolist() == [False, False, False, True, True]


def test_concatenation_keeps_what_info_says():
    one, two = (
        water().replace(info={"a": "1", "b": "x"}),
        water().replace(info={"a": "2", "b": "x"}),
    )
    assert dict(Frames.concatenate([one, two]).info) == {"a": "1; 2", "b": "x"}


def test_ase_round_trip_keeps_everything():
    frames = water(3, width=3)
    assert_same(Frames.from_atoms(frames.to_atoms()), frames)


def test_ase_round_trip_keeps_cell_and_stress():
    stress = np.array([[1.0, 0.1, 0.2], [0.1, 2.0, 0.3], [0.2, 0.3, 3.0]])
    frames = copper(2).replace(energy=[1.0, 2.0], stress=[stress, 2 * stress])
    assert_same(Frames.from_atoms(frames.to_atoms()), frames)


def test_energy_and_forces_may_stand_under_other_names():
    from ase.build import molecule

    atoms = molecule("H2O")
    atoms.info["REF_energy"] = -1.5
    atoms.arrays["REF_forces"] = np.ones((3, 3))
    frames = Frames.from_atoms(atoms, energy_key="REF_energy", forces_key="REF_forces")
    assert frames.energy.tolist() == [-1.5] and frames.forces.sum() == 9
    with pytest.raises(UserError, match="'other'"):
        Frames.from_atoms(atoms, energy_key="other")


def test_nothing_is_calculated_when_reading_ase_atoms():
    from ase.build import molecule
    from ase.calculators.emt import EMT

    atoms = molecule("H2O")
    atoms.calc = EMT()
    assert Frames.from_atoms(atoms).energy is None


def test_what_some_structures_lack_is_left_out_and_said(caplog):
    images = water().to_atoms()
    images[1].calc = None
    frames = Frames.from_atoms(images)
    assert frames.energy is None and frames.forces is None
    assert frames.lacking("energy") == " (1 of 3 structures have none: 1)"
    assert "no energy: 1 of 3" in caplog.text and len(caplog.records) == 1
    assert frames.lacking("stress") == ""  # which nobody has
    assert frames[:1].replace(energy=[1.0]).energy.tolist() == [1.0]


@pytest.mark.parametrize("name", ["positions", "energy", "forces", "partial_charges"])
@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_nan_is_named_by_field_and_frame(name, bad):
    array = np.array(getattr(water(), name))
    array[(1, *(0,) * (array.ndim - 1))] = bad
    with pytest.raises(UserError, match=f"{name} of frame 1"):
        water().replace(**{name: array})


@pytest.mark.parametrize("z", [-1, 100])
def test_unknown_element_is_named(z):
    numbers = water().numbers.copy()
    numbers[2, 0] = z
    with pytest.raises(UserError, match=f"frame 2 hold the atomic number {z}"):
        water().replace(numbers=numbers)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"energy": np.zeros(2)}, r"energy must have the shape \(3,\)"),
        ({"forces": np.zeros((3, 4))}, "forces must have the shape"),
        ({"numbers": np.zeros(3, int)}, "numbers must have the shape"),
        ({"numbers": np.zeros((3, 4), int)}, "frame 0 holds no atoms"),
        ({"numbers": np.full((3, 4), 1.5)}, "whole numbers"),
        ({"energy": np.array(["a", "b", "c"])}, "energy must be numbers"),
        ({"forces": np.ones((3, 4, 3))}, "forces of frame 0 is not zero on a padding atom"),
        ({"pbc": np.ones((3, 3), bool)}, "pbc is given without cell"),
        ({"cell": np.zeros((3, 3, 3))}, "no volume"),
        ({"stress": np.zeros((3, 3, 3))}, "stress is given without cell"),
    ],
)
def test_inconsistent_fields_are_refused(change, message):
    with pytest.raises(UserError, match=message):
        water().replace(**change)


def test_cell_is_periodic_unless_said_otherwise():
    frames = water().replace(cell=np.tile(10 * np.eye(3), (3, 1, 1)))
    assert frames.pbc.all() and frames.is_periodic


def test_importing_is_lean():
    import subprocess
    import sys

    heavy = "{'jax', 'ase', 'scipy', 'plotly'}"
    code = f"import sys, so3krates_lite.datasets; print(sorted({heavy} & set(sys.modules)))"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.strip() == "[]"


def test_padding_before_an_atom_is_refused():
    with pytest.raises(UserError, match="padding comes after"):
        Frames(numbers=[[6, 0, 1]], positions=np.zeros((1, 3, 3)))
