"""npz as others write it: cells, other names, charges and stress; nothing is dropped in silence."""

from __future__ import annotations

import numpy as np
import pytest

from so3krates_lite.datasets import load, save_frames
from so3krates_lite.errors import UserError
from so3krates_lite.units import BOHR, HARTREE, KCAL_PER_MOL

SKEW = np.array([[12.0, 0.0, 0.0], [3.0, 13.0, 0.0], [1.0, 2.0, 14.0]])  # rows
STRESS = np.array([[1.0, 0.1, 0.2], [0.1, 2.0, 0.3], [0.2, 0.3, 3.0]])
SGDML = {"type": "d", "code_version": "1.0.2", "md5": "0", "name": "x", "theory": "y"}


@pytest.fixture(scope="module")
def few():
    return load("ethanol-gfn2")[:6]


@pytest.fixture
def read(tmp_path, few):
    """Write MD17's form of six frames with more arrays, leaving out those that are None; load."""

    def write_and_read(options=None, **more):
        arrays = {"z": few.numbers[0], "R": few.positions, "E": few.energy / KCAL_PER_MOL}
        arrays |= {"F": few.forces / KCAL_PER_MOL, **more}
        np.savez(tmp_path / "x.npz", **{k: v for k, v in arrays.items() if v is not None})
        return load(tmp_path / "x.npz", **(options or {}))

    return write_and_read


# -- cells ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("key", ["lattice", "unit_cell", "cell"])
@pytest.mark.parametrize("shape", ["one", "each", "lengths"])
def test_a_cell_makes_frames_periodic(read, few, key, shape):
    cell = np.diag([12.0, 13.0, 14.0])
    given = {"one": cell, "each": np.tile(cell, (6, 1, 1)), "lengths": np.diag(cell)}[shape]
    frames = read(**{key: given})
    np.testing.assert_array_equal(frames.cell, np.tile(cell, (6, 1, 1)))
    assert frames.pbc.all() and frames.is_periodic
    np.testing.assert_allclose(frames.energy, few.energy, rtol=1e-14)


def test_a_skew_lattice_is_rows_but_columns_from_sgdml(read, caplog):
    frames = read(lattice=SKEW)
    np.testing.assert_array_equal(frames.cell[0], SKEW)
    assert caplog.text.count("lattice is read with lattice vectors as rows") == 1
    caplog.clear()
    # sGDML writes the transpose of ASE's cell, whose rows are the vectors
    frames = read(lattice=SKEW.T, **SGDML)
    np.testing.assert_array_equal(frames.cell[0], SKEW)
    assert not caplog.records
    read(lattice=np.diag([12.0, 13.0, 14.0]))  # symmetric: both readings are one
    assert not caplog.records


@pytest.mark.parametrize("pbc", [[True, True, False], np.tile([True, True, False], (6, 1))])
def test_unit_cell_is_rows_and_pbc_is_kept(read, pbc):
    frames = read(unit_cell=SKEW, pbc=pbc)
    np.testing.assert_array_equal(frames.cell[5], SKEW)
    assert frames.pbc.tolist() == [[True, True, False]] * 6


def test_cells_are_in_the_unit_of_length(read, few):
    more = {"R": few.positions / BOHR, "E": few.energy / HARTREE, "F": few.forces / HARTREE * BOHR}
    units = {"R_unit": "bohr", "E_unit": "Hartree", "F_unit": "Hartree/bohr"}
    frames = read(lattice=np.diag([20.0, 20.0, 30.0]), **more, **units)
    np.testing.assert_allclose(frames.cell[0], BOHR * np.diag([20.0, 20.0, 30.0]))
    np.testing.assert_allclose(frames.forces, few.forces)


def test_a_cell_of_zeros_is_none(read):
    assert read(lattice=np.zeros((3, 3))).cell is None
    assert not read(unit_cell=np.zeros((6, 3, 3)), pbc=np.zeros((6, 3), bool)).is_periodic
    cells = np.tile(SKEW, (6, 1, 1))
    cells[:2] = 0
    assert read(cell=cells).pbc.all(axis=1).tolist() == [False] * 2 + [True] * 4


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ({"lattice": np.zeros(4)}, r"lattice must have the shape \(3, 3\)"),
        ({"unit_cell": np.zeros((5, 3, 3))}, "unit_cell must have the shape"),
        ({"unit_cell": SKEW, "pbc": [True] * 4}, "pbc must have the shape"),
        ({"pbc": [True] * 3}, "pbc is given without cell"),
        ({"lattice": SKEW, "cell": 2 * SKEW}, "cell and lattice do not say the same"),
        ({"unit_cell": np.zeros((3, 3)), "pbc": [True] * 3}, "periodic but has no volume"),
        ({"E": np.zeros(5)}, r"E must have the shape \(6,\); found \(5,\)"),
        ({"Q": np.zeros(4)}, "Q must be one number per frame"),
        ({"S": np.zeros(6, int), "multiplicity": np.full(6, 2)}, "do not say the same"),
        ({"R": np.zeros((6, 9, 3)), "coords": np.ones((6, 9, 3))}, "do not say the same"),
    ],
)
def test_what_cannot_be_meant_is_refused(read, more, message):
    with pytest.raises(UserError, match=message):
        read(**more)


# -- labels ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "names", [("energy", "forces"), ("REF_energy", "REF_forces"), ("TotEnergy", "force")]
)
def test_usual_names_are_read(read, few, names):
    more = {names[0]: few.energy / KCAL_PER_MOL, names[1]: few.forces / KCAL_PER_MOL}
    frames = read(E=None, F=None, **more)
    np.testing.assert_allclose(frames.energy, few.energy)
    np.testing.assert_allclose(frames.forces, few.forces)
    assert frames.info["energy_labels"] == names[0]


def test_plain_words_are_taken_to_be_in_ev_and_that_is_said(tmp_path, few, caplog):
    arrays = {"numbers": few.numbers, "positions": few.positions, "energy": few.energy}
    np.savez(tmp_path / "x.npz", **arrays, forces=few.forces)
    frames = load(tmp_path / "x.npz")
    np.testing.assert_array_equal(frames.energy, few.energy)
    np.testing.assert_array_equal(frames.forces, few.forces)
    assert caplog.text.count("taken to be in eV") == 1
    caplog.clear()
    load(tmp_path / "x.npz", energy_unit="eV")
    np.savez(tmp_path / "x.npz", **arrays, forces=few.forces, energy_unit="eV")
    load(tmp_path / "x.npz")
    assert not caplog.records


def test_what_the_original_code_writes_is_in_ev(read, few, caplog):
    mask = np.ones((6, 9), bool)
    more = {"unit_cell": SKEW, "pbc": [True] * 3, "E": few.energy[:, None], "F": few.forces}
    frames = read(**more, node_mask=mask)
    np.testing.assert_array_equal(frames.energy, few.energy)
    assert not caplog.records
    read(unit_cell=SKEW)
    assert "taken to be in kcal/mol" in caplog.text


def test_names_can_be_given_and_are_named(read, few, caplog):
    more = {"b3lyp_energy": few.energy / KCAL_PER_MOL, "b3lyp_f": few.forces / KCAL_PER_MOL}
    frames = read(E=None, F=None, **more)
    assert frames.energy is None and "b3lyp_energy: if this is it" in frames.lacking("energy")
    assert "not read: b3lyp_energy, b3lyp_f" in caplog.text and len(caplog.records) == 1
    named = read(**more, options={"energy_key": "b3lyp_energy", "forces_key": "b3lyp_f"})
    np.testing.assert_allclose(named.forces, few.forces)
    assert named.info["energy_labels"] == "b3lyp_energy"
    with pytest.raises(UserError, match="holds no 'other'"):
        read(options={"energy_key": "other"})


def test_two_names_that_differ_are_asked_about(read, few):
    frames = read(REF_energy=few.energy)
    assert frames.energy is None and frames.forces is not None
    assert "E and REF_energy do not say the same: choose one by energy_key" in frames.lacking(
        "energy"
    )
    assert read(REF_energy=few.energy / KCAL_PER_MOL).energy is not None
    named = read(REF_energy=few.energy, options={"energy_key": "E"})
    np.testing.assert_allclose(named.energy, few.energy)


def test_not_a_number_is_no_label(read, few):
    energy = few.energy / KCAL_PER_MOL
    energy[[2, 4]] = np.nan
    frames = read(E=energy, Q=np.array([0, 0, np.nan, 0, 0, 0]))
    assert frames.energy is None and frames.forces is not None and frames.total_charge is None
    assert frames.lacking("energy") == " (2 of 6 structures have none: 2, 4)"
    assert frames.lacking("total_charge") == " (1 of 6 structures have none: 2)"


# -- stress, charges ------------------------------------------------------------------------------


def test_stress_and_virial_are_one_quantity(read):
    volume = np.linalg.det(SKEW)
    assert volume == pytest.approx(12 * 13 * 14)
    cell = {"unit_cell": SKEW, "E_unit": "kcal/mol"}
    stress = np.tile(STRESS, (6, 1, 1))
    six = stress[:, [0, 1, 2, 1, 0, 0], [0, 1, 2, 2, 2, 1]]
    expected = KCAL_PER_MOL * STRESS
    for more in ({"stress": stress}, {"stress": six}, {"REF_virial": -volume * stress}):
        np.testing.assert_allclose(read(**cell, **more).stress[3], expected)
    both = read(**cell, stress=stress, virial=-volume * stress)
    np.testing.assert_allclose(both.stress[3], expected)
    assert read(**cell, stress=stress, virial=volume * stress).stress is None
    in_gpa = read(**cell, stress=stress, stress_unit="GPa").stress[0]
    np.testing.assert_allclose(in_gpa, STRESS / 160.21766, rtol=1e-6)


def test_stress_of_molecules_is_left_out_and_that_is_said(read, caplog):
    assert read(stress=np.zeros((6, 3, 3))).stress is None
    assert "stress left out, for there is no cell" in caplog.text


def test_one_charge_counts_for_all_frames(read):
    frames = read(total_charge=np.array(-1), spin_multiplicity=np.array(2))
    assert frames.total_charge.tolist() == [-1] * 6
    assert frames.spin_multiplicity.tolist() == [2] * 6
    assert read(S=np.array(1)).spin_multiplicity.tolist() == [2] * 6


def test_partial_charges_under_another_name_are_read(read):
    charges = np.tile(np.linspace(-0.4, 0.4, 9), (6, 1))
    np.testing.assert_array_equal(read(charges=charges).partial_charges, charges)


# -- nothing in silence ---------------------------------------------------------------------------


def test_what_is_not_read_is_named_once(read, caplog):
    remarks = {"E_min": 0.0, "F_var": 1.0, "note": "mine", "idx": np.arange(6), "R_unit": "Å"}
    read(**remarks)
    assert not caplog.records
    frames = read(dipole=np.zeros((6, 3)), field=np.ones(3), **remarks)
    assert len(caplog.records) == 1 and "x.npz: not read: dipole, field" in caplog.text
    assert frames.info["notes"] == "not read: dipole, field"


def test_own_form_with_more_in_it_is_named(tmp_path, few, caplog):
    path = save_frames(few, tmp_path / "x.npz")
    load(path)
    assert not caplog.records
    with np.load(path) as archive:
        np.savez(path, **archive, efield=np.ones(3))
    load(path)
    assert "not read: efield" in caplog.text


def test_registered_sets_stay_quiet(tmp_path, monkeypatch, few, caplog):
    monkeypatch.setenv("SO3KRATES_DATA", str(tmp_path))
    arrays = {"z": few.numbers[0], "R": few.positions, "E": few.energy, "F": few.forces}
    np.savez(tmp_path / "md17_ethanol.npz", **arrays, dipole=np.zeros(6), E_unit="eV")
    assert len(load("md17-ethanol")) == 6 and not caplog.records
    load(tmp_path / "md17_ethanol.npz")
    assert "not read: dipole" in caplog.text
