"""Total charge and spin: shared out among the atoms, asked for where the model reads them."""

from __future__ import annotations

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from ase import Atoms
from small import deviation, frame_of, molecule, small_config, small_potential, stack

from so3krates_lite.datasets.splits import random_split
from so3krates_lite.embedding import N_ELEMENTS, ElectronEmbedding
from so3krates_lite.errors import UserError
from so3krates_lite.potential import Potential
from so3krates_lite.simulate.calculator import So3kratesCalculator
from so3krates_lite.structures.batching import make_batch
from so3krates_lite.structures.frames import Frames
from so3krates_lite.training import TrainConfig, train

pytestmark = pytest.mark.usefixtures("quick_compilation")

PLAIN = small_config(sphc_start="smooth")
CONFIG = dataclasses.replace(PLAIN, charge_embedding=True, spin_embedding=True)
FIELDS = ("total_charge", "spin_multiplicity")
FAR = np.array([100.0, 0.0, 0.0])


def with_electrons(frame: Frames, charge: float, multiplicity: int) -> Frames:
    n = len(frame)
    return frame.replace(
        total_charge=np.full(n, charge), spin_multiplicity=np.full(n, multiplicity)
    )


BARE = molecule(5, seed=3)
ORDER = np.array([3, 1, 4, 0, 2])
TWICE = frame_of(
    np.tile(BARE.numbers[0], 2), np.concatenate([BARE.positions[0], BARE.positions[0] + FAR])
)
FRAMES = {
    "neutral": with_electrons(BARE, 0, 1),
    "cation": with_electrons(BARE, 1, 1),
    "anion": with_electrons(BARE, -1, 1),
    "dication": with_electrons(BARE, 2, 1),
    "triplet": with_electrons(BARE, 0, 3),
    "triplet anion": with_electrons(BARE, -1, 3),
    "two triplet anions": with_electrons(TWICE, -2, 5),
    "reordered": with_electrons(Frames(BARE.numbers[:, ORDER], BARE.positions[:, ORDER]), -1, 3),
}
PLACE = {name: k for k, name in enumerate(FRAMES)}
ALL = stack(*FRAMES.values())


@pytest.fixture(scope="module")
def potential() -> Potential:
    return small_potential(CONFIG)


@pytest.fixture(scope="module")
def found(potential):
    return potential.predict(ALL)


def of(found, name: str) -> tuple[float, np.ndarray]:
    return found.energy[PLACE[name]], found.forces[PLACE[name], : FRAMES[name].max_atoms]


def test_the_same_geometry_with_other_electrons_is_another_molecule(found):
    names = ("neutral", "cation", "anion", "dication", "triplet", "triplet anion")
    energies = np.sort([of(found, name)[0] for name in names])
    assert np.diff(energies).min() > 1e-3
    assert np.abs(of(found, "cation")[1] - of(found, "neutral")[1]).max() > 1e-3


def test_no_charge_and_no_unpaired_electron_change_nothing(potential, found):
    """Apart from the division by sqrt(3): element, charge and spin are three parts of one sum."""
    params = {name: leaf for name, leaf in potential.params.items() if "_embedding" not in name}
    params["embedding"] = params["embedding"] / np.sqrt(3)
    plain = Potential(PLAIN, params).predict(BARE)
    energy, forces = of(found, "neutral")
    assert deviation([energy], plain.energy) < 1e-13
    assert deviation(forces, plain.forces[0]) < 1e-12


def test_two_separate_equal_ions_have_twice_the_energy(found):
    energy, forces = of(found, "triplet anion")
    both, both_forces = of(found, "two triplet anions")
    assert both == pytest.approx(2 * energy, rel=1e-10)
    assert deviation(both_forces, np.concatenate([forces, forces])) < 1e-10


def test_another_order_of_atoms_reorders_the_forces_of_an_ion(found):
    energy, forces = of(found, "triplet anion")
    other, reordered = of(found, "reordered")
    assert other == pytest.approx(energy, rel=1e-12)
    assert deviation(reordered, forces[ORDER]) < 1e-12


def shares(frames: Frames, atoms: int) -> np.ndarray:
    """a_i of every atom, by a network behind it that gives back what it gets.

    With v = (1, 0), the hidden values (a, -a) and silu(a) - silu(-a) = a, e_i is (a_i, 0).
    """
    rng = np.random.default_rng(0)
    parameters = {
        "query": rng.normal(size=(N_ELEMENTS, 2)),
        "key": rng.normal(size=(2, 2)),
        "value": np.array([[1.0, 0.0], [1.0, 0.0]]),
        "hidden": {"kernel": np.array([[1.0, -1.0], [0.0, 0.0]])},
        "out": {"kernel": np.array([[1.0, 0.0], [-1.0, 0.0]])},
    }
    with jax.enable_x64(True):
        batch = jax.tree.map(jnp.asarray, make_batch(frames, CONFIG, atoms=atoms, dtype=np.float64))
        module = ElectronEmbedding(small_config(features=2, degrees=(1,), heads=1))
        e = jax.jit(module.apply)({"params": parameters}, batch.total_charge, batch)
        return np.asarray(e)[:, 0].reshape(len(frames), atoms)


def test_shares_sum_to_the_charge_whatever_the_padding():
    small = with_electrons(molecule(3, seed=1), 1.5, 1)
    frames = stack(ALL, small)
    tight, roomy = shares(frames, 10), shares(frames, 17)
    np.testing.assert_allclose(tight.sum(axis=1), frames.total_charge, rtol=0, atol=1e-13)
    np.testing.assert_allclose(roomy[:, :10], tight, rtol=0, atol=1e-15)
    assert not roomy[:, 10:].any() and not tight[-1, 3:].any()
    # all of one sign, by the element, and with an affinity for either sign of its own
    cation, anion = tight[PLACE["cation"], :5], tight[PLACE["anion"], :5]
    assert (cation > 0).all() and (anion < 0).all() and not np.allclose(cation, -anion)
    for z in np.unique(BARE.numbers):
        assert np.ptp(cation[BARE.numbers[0] == z]) < 1e-15
    assert np.ptp(cation) > 1e-3
    np.testing.assert_allclose(tight[PLACE["dication"], :5], 2 * cation, rtol=1e-12)


@pytest.mark.parametrize("name", FIELDS)
def test_frames_without_a_charge_or_spin_are_refused_by_name(potential, name):
    frames = FRAMES["cation"].replace(**{name: None})
    for ask in (potential.predict, potential.attention):
        with pytest.raises(UserError, match=f"reads the {name} of every structure") as error:
            ask(frames)
        assert f"frames.replace({name}=" in str(error.value)


@pytest.mark.parametrize("name", FIELDS)
def test_training_without_a_charge_or_spin_is_refused_by_name(name):
    n = 8
    frames = stack(*[FRAMES["cation"]] * n).replace(
        energy=np.arange(n, dtype=float),
        forces=np.random.default_rng(0).normal(size=(n, 5, 3)),
        **{name: None},
    )
    split = random_split(frames, 4, 2, seed=0)
    with pytest.raises(UserError, match=f"reads the {name} of every structure"):
        train(frames, split, model=CONFIG, settings=TrainConfig(epochs=1, batch_size=2))


def test_a_model_that_reads_no_charge_needs_none():
    batch = make_batch(BARE, PLAIN)
    assert not batch.total_charge.any() and not batch.unpaired_electrons.any()


def test_a_saved_potential_still_reads_the_charge(potential, found, tmp_path):
    potential.save(tmp_path / "ions.safetensors")
    again = Potential.load(tmp_path / "ions.safetensors")
    assert again.config == CONFIG
    result = again.predict(ALL)
    np.testing.assert_array_equal(result.energy, found.energy)
    np.testing.assert_array_equal(result.forces, found.forces)


# -- the calculator --------------------------------------------------------------------------


def atoms(**info) -> Atoms:
    image = Atoms(BARE.numbers[0], BARE.positions[0])
    image.info.update(info)
    return image


@pytest.fixture(scope="module")
def calculator(potential) -> So3kratesCalculator:
    return So3kratesCalculator(potential)


def test_a_changed_charge_or_spin_gives_new_results_without_a_move(calculator, found):
    image = atoms(charge=0, spin_multiplicity=1)
    image.calc = calculator
    for name in ("neutral", "cation", "anion", "triplet anion", "triplet", "neutral"):
        frame = FRAMES[name]
        image.info["charge"] = float(frame.total_charge[0])
        image.info["spin_multiplicity"] = int(frame.spin_multiplicity[0])
        energy, forces = of(found, name)
        assert image.get_potential_energy() == pytest.approx(energy, rel=1e-12)
        np.testing.assert_allclose(image.get_forces(), forces, rtol=0, atol=1e-12)


def test_unchanged_electrons_are_not_computed_again(calculator):
    image = atoms(charge=1, spin_multiplicity=1, note="kept")
    energy = calculator.get_potential_energy(image)
    assert not calculator.calculation_required(image, ["energy"])
    image.info["note"] = "changed"  # of no matter
    assert not calculator.calculation_required(image, ["energy"])
    image.info["charge"] = 2
    assert calculator.calculation_required(image, ["energy"])
    assert calculator.get_potential_energy(image) != energy


def test_arguments_of_the_calculator_win_over_info(potential, found):
    calculator = So3kratesCalculator(potential, total_charge=-1, spin_multiplicity=3)
    for image in (atoms(charge=2, spin_multiplicity=1), atoms()):
        expected = of(found, "triplet anion")[0]
        assert calculator.get_potential_energy(image) == pytest.approx(expected, rel=1e-12)
    zero = So3kratesCalculator(potential, total_charge=0.0, spin_multiplicity=1)
    expected = of(found, "neutral")[0]
    assert zero.get_potential_energy(atoms(charge=1)) == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize(
    ("lost", "name"), [("charge", FIELDS[0]), ("spin_multiplicity", FIELDS[1])]
)
def test_the_calculator_refuses_atoms_that_do_not_state_them(calculator, found, lost, name):
    image = atoms(charge=1, spin_multiplicity=1)
    image.calc = calculator
    image.get_potential_energy()
    del image.info[lost]
    with pytest.raises(UserError, match=rf"reads the {name}.*atoms\.info\['{lost}'\]"):
        image.get_potential_energy()
    image.info[lost] = 1  # and it goes on
    expected = of(found, "cation")[0]
    assert image.get_potential_energy() == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("bad", [True, "T", np.nan, [1, 2], np.bool_(True)])
def test_what_is_no_number_is_no_charge(potential, calculator, bad):
    with pytest.raises(UserError, match="total_charge, which is not stated as a number"):
        calculator.get_potential_energy(atoms(charge=bad, spin_multiplicity=1))
    with pytest.raises(UserError, match=r"total_charge is stated as .* not a number"):
        So3kratesCalculator(potential, total_charge=bad)


@pytest.mark.parametrize("bad", [0, 1.5, -1])
def test_a_multiplicity_is_a_whole_number_from_1_upwards(potential, bad):
    with pytest.raises(UserError, match=r"spin_multiplicity is stated as .* 2S\+1"):
        So3kratesCalculator(potential, spin_multiplicity=bad)


def test_none_states_no_charge_and_any_kind_of_number_states_one(calculator, found):
    with pytest.raises(UserError, match="which is not stated as a number"):
        calculator.get_potential_energy(atoms(charge=None, spin_multiplicity=1))
    expected = of(found, "cation")[0]
    for one in (1, 1.0, "1", np.float32(1), np.int64(1), np.array(1), np.array([1.0])):
        image = atoms(charge=one, spin_multiplicity=one)
        assert calculator.get_potential_energy(image) == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize(
    ("key", "name", "usual", "other"),
    [("charge", "total_charge", 0, -1), ("multiplicity", "spin_multiplicity", 1, 2)],
)
def test_a_charge_that_the_model_cannot_read_is_refused_or_said(caplog, key, name, usual, other):
    plain = small_potential(PLAIN).astype("float64")
    with pytest.raises(UserError, match=rf"{name} = {other} is given, .* does not read it"):
        So3kratesCalculator(plain, **{name: other})
    calculator = So3kratesCalculator(plain, **{name: usual})
    expected = calculator.get_potential_energy(atoms())
    for silent in (usual, None, "neutral", True):
        assert calculator.get_potential_energy(atoms(**{key: silent})) == expected
    assert not caplog.messages
    for _ in range(2):
        assert calculator.get_potential_energy(atoms(**{key: other})) == expected
        calculator.reset()
    (said,) = caplog.messages
    assert f"does not read the {name}, so that {other} " in said
    caplog.clear()
    for _ in range(2):
        plain.predict(stack(BARE, BARE).replace(**{name: [usual, other]}))
    assert len(caplog.messages) == 1
