"""Files as programs write them: other names, some frames only, words for numbers."""

from __future__ import annotations

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk, molecule
from ase.calculators.singlepoint import SinglePointCalculator
from ase.db import connect
from ase.io import write
from small import small_config

from so3krates_lite.datasets import load
from so3krates_lite.errors import UserError
from so3krates_lite.structures.batching import make_batch
from so3krates_lite.structures.frames import Frames
from so3krates_lite.structures.stated import meaning, told
from so3krates_lite.units import BOHR, HARTREE, KCAL_PER_MOL

FORCES = np.arange(9.0).reshape(3, 3)


def water(**info) -> Atoms:
    atoms = molecule("H2O")
    atoms.info.update(info)
    return atoms


def labelled(atoms: Atoms, **results) -> Atoms:
    atoms.calc = SinglePointCalculator(atoms, **results)
    return atoms


# -- names of labels ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("key", "kind"),
    [
        *[(k, "energy") for k in "REF_energy dft_energy DFT_energy Energy TotEnergy".split()],
        *[(k, "energy") for k in "total_energy energy_ref potential-energy".split()],
        *[(k, "forces") for k in "REF_forces dft_forces DFT_force force Forces".split()],
        *[(k, "virial") for k in "virial virials REF_virials".split()],
        *[(k, "stress") for k in "stress REF_stress".split()],
        ("free_energy", "free_energy"),
        *[(k, None) for k in "mace_energy formation_energy gradient density E F".split()],
    ],
)
def test_usual_names_are_known_and_others_are_not(key, kind):
    assert meaning(key) == kind


@pytest.mark.parametrize(
    ("energy", "forces"),
    [("REF_energy", "REF_forces"), ("dft_energy", "dft_forces"), ("TotEnergy", "force")],
)
@pytest.mark.parametrize("name", ["x.extxyz", "x.db"])
def test_labels_under_usual_names_are_read(tmp_path, name, energy, forces, caplog):
    atoms = water()
    if name == "x.db":
        with connect(tmp_path / name) as database:
            database.write(atoms, key_value_pairs={energy: -2.0}, data={forces: FORCES})
    else:
        atoms.info[energy], atoms.arrays[forces] = -2.0, FORCES
        write(tmp_path / name, atoms)
    frames = load(tmp_path / name)
    assert frames.energy.tolist() == [-2.0]
    np.testing.assert_allclose(frames.forces[0], FORCES)
    assert frames.info["energy_labels"] == energy and frames.info["forces_labels"] == forces
    assert not caplog.records


def test_a_free_energy_counts_where_it_is_alone():
    alone, both = labelled(water(), free_energy=-3.0), labelled(water(), free_energy=-3.0, energy=1)
    assert Frames.from_atoms(alone).energy.tolist() == [-3.0]
    assert Frames.from_atoms(both).energy.tolist() == [1.0]


def test_other_names_can_be_given_and_are_named_where_they_are_not(tmp_path, caplog):
    atoms = water(b3lyp_energy=-2.0, density=1.5)
    atoms.arrays["b3lyp_grad"] = FORCES
    write(tmp_path / "x.extxyz", [atoms, atoms])
    frames = load(tmp_path / "x.extxyz")
    assert frames.energy is None and frames.forces is None
    assert "b3lyp_energy: if this is it, name it by energy_key" in frames.lacking("energy")
    assert "b3lyp_grad" in frames.lacking("forces")
    assert len(caplog.records) == 1 and caplog.text.count("not read: b3lyp_energy") == 1
    assert frames.info["notes"] in caplog.text and "density" in caplog.text
    keys = {"energy_key": "b3lyp_energy", "forces_key": "b3lyp_grad"}
    named = load(tmp_path / "x.extxyz", **keys)
    assert named.energy.tolist() == [-2.0] * 2 and (named.forces[1] == FORCES).all()
    with pytest.raises(UserError, match=r"under the key 'other'; they hold .*b3lyp_energy"):
        load(tmp_path / "x.extxyz", energy_key="other")
    with pytest.raises(UserError, match="'b3lyp_grad' does not hold energy"):
        load(tmp_path / "x.extxyz", energy_key="b3lyp_grad")


def test_two_names_that_differ_are_asked_about():
    one = labelled(water(REF_energy=-2.0), energy=-2.5, forces=FORCES)
    frames = Frames.from_atoms(one)
    assert frames.energy is None and frames.forces is not None
    assert "energy and REF_energy do not say the same: choose one" in frames.lacking("energy")
    assert Frames.from_atoms(one, energy_key="REF_energy").energy.tolist() == [-2.0]
    assert Frames.from_atoms(one, energy_key="energy").energy.tolist() == [-2.5]
    same = labelled(water(REF_energy=-2.5), energy=-2.5)
    assert Frames.from_atoms(same).energy.tolist() == [-2.5]
    mixed = Frames.from_atoms([water(REF_energy=-2.0), water(dft_energy=-3.0)])
    assert mixed.energy is None and "do not say the same" in mixed.lacking("energy")


def strained(strain: np.ndarray) -> tuple[float, Atoms]:
    """A crystal, and an energy that is linear in its strain, in eV."""
    atoms = bulk("Cu", cubic=True)
    atoms.set_cell(atoms.cell @ (np.eye(3) + strain), scale_atoms=True)
    return 0.7 * strain[0, 0] + 0.2 * (strain[0, 1] + strain[1, 0]), atoms


def test_a_virial_is_minus_the_derivative_of_the_energy_by_strain():
    step, slope = 1e-5, np.zeros((3, 3))
    for i in range(3):
        for j in range(3):
            strain = np.zeros((3, 3))
            strain[i, j] = step
            slope[i, j] = (strained(strain)[0] - strained(-strain)[0]) / (2 * step)
    atoms = strained(np.zeros((3, 3)))[1]
    expected = slope / atoms.get_volume()  # ASE's stress
    for name, value in (("virial", -slope), ("REF_virials", -slope.reshape(-1))):
        one = atoms.copy()
        one.info[name] = value
        np.testing.assert_allclose(Frames.from_atoms(one).stress[0], expected, atol=1e-12)
    assert expected[0, 0] == pytest.approx(0.7 / atoms.get_volume())
    six = labelled(atoms.copy(), stress=expected[[0, 1, 2, 1, 0, 0], [0, 1, 2, 2, 2, 1]])
    six.info["virial"] = -slope
    np.testing.assert_allclose(Frames.from_atoms(six).stress[0], expected, atol=1e-12)
    six.info["virial"] = slope  # the wrong sign beside the right stress
    assert Frames.from_atoms(six).stress is None


def test_schnetpack_data_base_is_converted_from_the_units_it_states(tmp_path):
    with connect(tmp_path / "x.db") as database:
        for k in range(3):
            data = {"energy": np.array([-2.0 - k]), "forces": FORCES, "total_charge": np.ones(1)}
            database.write(water(), data=data)
        database.metadata = {
            "_property_unit_dict": {"energy": "Hartree", "forces": "kcal/mol/Ang"},
            "_distance_unit": "Ang",
        }
    frames = load(tmp_path / "x.db", check=False)
    np.testing.assert_allclose(frames.energy, HARTREE * np.array([-2.0, -3.0, -4.0]))
    np.testing.assert_allclose(frames.forces[2], FORCES * KCAL_PER_MOL)
    np.testing.assert_allclose(frames.positions[0], water().positions)
    assert frames.total_charge.tolist() == [1.0] * 3
    by_hand = load(tmp_path / "x.db", energy_unit="eV", check=False)
    np.testing.assert_allclose(by_hand.energy, [-2.0, -3.0, -4.0])


def test_units_given_by_hand_reach_cell_and_stress(tmp_path):
    crystal = labelled(bulk("Cu"), energy=-2.0, forces=np.ones((1, 3)), stress=np.arange(6.0))
    write(tmp_path / "x.traj", crystal)
    units = {"energy_unit": "Hartree", "length_unit": "bohr"}
    frames = load(tmp_path / "x.traj", check=False, **units)
    np.testing.assert_allclose(frames.cell[0], BOHR * np.array(crystal.cell))
    np.testing.assert_allclose(frames.forces[0], HARTREE / BOHR)
    np.testing.assert_allclose(frames.stress[0, 1, 2], 3 * HARTREE / BOHR**3)


def test_data_base_as_json_keeps_charges(tmp_path):
    with connect(tmp_path / "x.json") as database:
        database.write(labelled(water(), energy=-1.0), key_value_pairs={"total_charge": -1})
    frames = load(tmp_path / "x.json")
    assert frames.total_charge.tolist() == [-1] and frames.energy.tolist() == [-1.0]


# -- some frames only -----------------------------------------------------------------------------


def test_what_training_needs_is_refused_there_and_nowhere_else(tmp_path):
    from so3krates_lite.datasets.splits import group_split, random_split
    from so3krates_lite.training import train
    from so3krates_lite.training.evaluation import evaluate

    images = [labelled(water(group=0), energy=-1.0, forces=FORCES) for _ in range(4)]
    images += [water(), water()]
    write(tmp_path / "x.extxyz", images)
    frames = load(tmp_path / "x.extxyz", check=False)
    some = r"\(2 of 6 structures have none: 4, 5\)"
    make_batch(frames, small_config())  # all that a prediction needs
    with pytest.raises(UserError, match=f"Training needs energy, .*{some}"):
        train(frames, random_split(frames, 3, 1))
    with pytest.raises(UserError, match=f"neither {some}"):
        evaluate(None, frames)
    with pytest.raises(UserError, match=f"no groups {some}"):
        group_split(frames, 3, 1)


def test_a_charge_on_some_frames_is_missed_only_by_a_model_that_reads_it():
    frames = Frames.from_atoms([water(charge=0), water(charge=1), water()])
    assert frames.total_charge is None
    make_batch(frames, small_config())
    with pytest.raises(UserError, match=r"none \(1 of 3 structures have none: 2\): set it"):
        make_batch(frames, small_config(charge_embedding=True))


def test_not_a_number_is_no_label():
    images = [labelled(water(), energy=e, forces=FORCES * e) for e in (1.0, np.nan)]
    frames = Frames.from_atoms(images)
    assert frames.energy is None and frames.forces is None
    assert frames.lacking("forces") == " (1 of 2 structures have none: 1)"


def test_the_force_on_a_single_atom_is_zero():
    atom = labelled(Atoms("O"), energy=-400.0)
    frames = Frames.from_atoms([labelled(water(), energy=-1.0, forces=FORCES), atom])
    assert frames.energy.tolist() == [-1.0, -400.0]
    assert (frames.forces[1] == 0).all() and (frames.forces[0] == FORCES).all()


def test_a_molecule_has_no_stress(caplog):
    stress = np.arange(6.0)
    alone = Frames.from_atoms(labelled(water(), energy=-1.0, stress=np.zeros(6)))
    assert alone.stress is None and alone.energy is not None
    assert "stress is left out of 1 structures" in caplog.text
    crystal = labelled(bulk("Cu"), energy=-2.0, stress=stress)
    both = Frames.from_atoms([labelled(water(), energy=-1.0), crystal])
    assert both.stress[1, 0].tolist() == [0.0, 5.0, 4.0] and not both.stress[0].any()
    back = both.to_atoms()
    assert "stress" not in back[0].calc.results
    assert back[1].calc.results["stress"].tolist() == stress.tolist()
    some = Frames.from_atoms([crystal, labelled(bulk("Cu"), energy=-2.0)])
    assert some.stress is None and some.energy is not None


# -- charge, spin, group --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("stated", "read"),
    [
        (None, None),
        (True, None),
        (np.True_, None),
        (False, None),
        ("None", None),
        ("T", None),
        ("anion", None),
        (np.nan, None),
        ([1.0, 2.0], None),
        ("neutral", 0),
        ("+1", 1),
        ("2-", -2),
        (-1, -1),
        (np.array([1.0]), 1),
        (0.5, 0.5),
    ],
)
def test_a_charge_is_a_number_or_a_word_for_one(stated, read):
    assert told(water(charge=stated), "total_charge") == read


@pytest.mark.parametrize(
    ("stated", "read"), [("singlet", 1), ("Triplet", 3), (True, None), (0, None), (2, 2)]
)
def test_a_multiplicity_is_a_whole_number_from_one(stated, read):
    assert told(water(multiplicity=stated), "spin_multiplicity") == read


def test_none_that_ase_has_written_is_no_charge(tmp_path, caplog):
    write(tmp_path / "x.extxyz", [water(charge=None)] * 3)
    assert load(tmp_path / "x.extxyz").total_charge is None
    assert caplog.text.count("charge = True is not read") == 1


def test_words_become_numbers_and_that_is_said(caplog):
    images = [water(group=g, charge="neutral") for g in ("train", "test", "train")]
    frames = Frames.from_atoms(images)
    assert frames.group.tolist() == [1, 0, 1] and frames.total_charge.tolist() == [0, 0, 0]
    assert "groups are numbered: test = 0, train = 1" in caplog.text
    assert "charge = neutral is read as 0" in caplog.text


def test_two_charges_are_one_too_many():
    with pytest.raises(UserError, match="states charge = 0 but total_charge = 1"):
        Frames.from_atoms(water(charge=0, total_charge=1))


def test_remarks_are_not_named(tmp_path, caplog):
    atoms = water(config_type="dimer", name="water")
    atoms.set_velocities(np.ones((3, 3)))
    atoms.set_tags([1, 2, 3])
    write(tmp_path / "x.extxyz", atoms)
    load(tmp_path / "x.extxyz")
    (tmp_path / "x.xyz").write_text("1\nany words of a user\nO 0 0 0\n")
    load(tmp_path / "x.xyz")
    assert not caplog.records
