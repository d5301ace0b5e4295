"""`predict` leaves what was the user's as it was, and adds its own under its own names."""

from __future__ import annotations

import numpy as np
import pytest
from ase import Atoms
from ase.build import molecule
from ase.calculators.singlepoint import SinglePointCalculator
from ase.constraints import FixAtoms, FixBondLength
from ase.io import read, write
from small import small_config, small_potential

from so3krates_lite.cli import main
from so3krates_lite.cli.predicted import own_structures
from so3krates_lite.datasets import load
from so3krates_lite.datasets.frames_file import write_atoms
from so3krates_lite.structures.frames import Frames
from so3krates_lite.units import convert

pytestmark = pytest.mark.usefixtures("quick_compilation")

POTENTIAL = small_potential(small_config(sphc_start="smooth"))
ENERGY, FORCES = -2080.5, np.arange(9.0).reshape(3, 3)


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    path = tmp_path_factory.mktemp("model") / "small.safetensors"
    POTENTIAL.save(path)
    return path


def a_user_s_structure(shift: float = 0.0) -> Atoms:
    """With something in every place that a structure has, results apart."""
    atoms = molecule("H2O")
    atoms.positions[0] += shift
    atoms.cell, atoms.pbc = np.diag([7.0, 8.0, 9.0]), [True, True, False]
    atoms.info.update(name="mine", smiles="O", weight=0.25, good=True, REF_energy=-2079.25)
    atoms.info["dipole_of_mine"] = np.array([0.1, 0.2, 0.3])
    atoms.set_array("layer", np.array([1, 2, 3]))
    atoms.set_array("field", np.arange(9.0).reshape(3, 3) / 8)
    atoms.set_tags([4, 5, 6])
    atoms.set_momenta(np.arange(9.0).reshape(3, 3) / 4)
    atoms.set_initial_charges([-0.5, 0.25, 0.25])
    atoms.set_constraint(FixAtoms([1]))
    return atoms


def labelled(atoms: Atoms, **more) -> Atoms:
    atoms.calc = SinglePointCalculator(atoms, energy=ENERGY, forces=FORCES, **more)
    return atoms


def predict(model, images, tmp_path, *more, given="in.extxyz", out="out.extxyz"):
    write_atoms([images] if isinstance(images, Atoms) else images, tmp_path / given)
    arguments = ["predict", model, tmp_path / given, "--out", tmp_path / out, *more]
    assert main([str(argument) for argument in arguments]) == 0
    return tmp_path / out


def assert_kept(found: Atoms, given: Atoms, atol: float = 1e-7) -> None:
    for key, value in given.info.items():
        np.testing.assert_array_equal(found.info[key], value, err_msg=key)
    for key, value in given.arrays.items():
        if key not in found.arrays:  # a form without a place for it
            assert key in ("layer", "field") and np.array_equal(found.info[key], value)
            continue
        np.testing.assert_allclose(found.arrays[key], value, rtol=0, atol=atol, err_msg=key)
    assert np.array_equal(found.cell, given.cell) and np.array_equal(found.pbc, given.pbc)
    assert [c.todict() for c in found.constraints] == [c.todict() for c in given.constraints]


def assert_predicted(found: Atoms, given: Atoms, prefix="so3krates_", atol=1e-7) -> None:
    expected = POTENTIAL.predict(Frames.from_atoms(Atoms(given)))
    assert found.info[f"{prefix}energy"] == pytest.approx(expected.energy[0], rel=1e-9)
    name = f"{prefix}forces"
    forces = found.arrays[name] if name in found.arrays else found.info[name]
    np.testing.assert_allclose(forces, expected.forces[0], rtol=0, atol=atol)


@pytest.mark.parametrize("given", ["in.traj", "in.extxyz"])
@pytest.mark.parametrize("out", ["out.traj", "out.extxyz", "out.xyz"])
def test_what_was_the_user_s_is_kept(model, tmp_path, given, out):
    images = [labelled(a_user_s_structure(shift)) for shift in (0.0, 0.1)]
    path = predict(model, images, tmp_path, given=given, out=out)
    again = read(path, index=":")
    assert len(again) == 2
    for found, image in zip(again, images, strict=True):
        assert_kept(found, image)
        assert found.calc.results.keys() == {"energy", "forces"}
        assert found.get_potential_energy() == ENERGY
        assert np.array_equal(found.get_forces(apply_constraint=False), FORCES)
        assert_predicted(found, image)


def test_any_constraint_is_kept_by_a_form_that_holds_it(model, tmp_path):
    atoms = a_user_s_structure()
    atoms.set_constraint([FixBondLength(0, 1), FixAtoms([2])])
    found = read(predict(model, atoms, tmp_path, given="in.traj", out="out.traj"))
    assert_kept(found, atoms)
    assert len(found.constraints) == 2


def test_without_energies_of_its_own_a_file_gets_the_prediction_as_ase_s_too(model, tmp_path):
    atoms = a_user_s_structure()
    del atoms.info["REF_energy"]
    atoms.calc = SinglePointCalculator(atoms, dipole=[1.0, 2.0, 3.0])
    found = read(predict(model, atoms, tmp_path))
    assert_kept(found, atoms)
    assert_predicted(found, atoms)
    assert found.get_potential_energy() == found.info["so3krates_energy"]
    forces = found.arrays["so3krates_forces"]
    assert np.array_equal(found.get_forces(apply_constraint=False), forces)
    assert found.calc.results["dipole"].tolist() == [1.0, 2.0, 3.0]


@pytest.mark.parametrize("place", ["energy only", "info", "one of two"])
def test_one_label_is_enough_for_a_file_to_have_its_own(model, tmp_path, place):
    images = [a_user_s_structure(), a_user_s_structure(0.1)][: 2 if place == "one of two" else 1]
    if place == "info":
        images[0].info["energy"] = ENERGY
    else:
        images[0].calc = SinglePointCalculator(images[0], energy=ENERGY)
    if place == "one of two":  # read by ASE alone: the loader wants labels on all or on none
        images[1].calc = SinglePointCalculator(images[1], energy=ENERGY / 2)
    for found, image in zip(
        read(predict(model, images, tmp_path, given="in.traj", out="out.traj"), index=":"),
        images,
        strict=True,
    ):
        assert_predicted(found, image)
        results = {} if found.calc is None else found.calc.results
        assert results == ({} if place == "info" else {"energy": image.get_potential_energy()})


def test_stress_has_its_own_name_and_ase_s_order(model, tmp_path):
    atoms = a_user_s_structure()
    atoms.pbc = True
    mine = np.arange(6.0)
    found = read(predict(model, labelled(atoms, stress=mine), tmp_path, "--stress"))
    expected = POTENTIAL.predict(Frames.from_atoms(atoms), stress=True).stress[0]
    xx, yy, zz, yz, xz, xy = found.info["so3krates_stress"]
    again = [[xx, xy, xz], [xy, yy, yz], [xz, yz, zz]]
    np.testing.assert_allclose(again, expected, rtol=1e-6, atol=1e-12)
    assert np.abs(expected).max() > 1e-6
    assert np.array_equal(found.get_stress(apply_constraint=False), mine)


def test_none_is_not_written_as_something_that_reads_as_true(model, tmp_path):
    atoms = a_user_s_structure()
    atoms.info["charge"] = None
    write(tmp_path / "in.traj", atoms)  # which does hold None
    assert "charge" in read(tmp_path / "in.traj").info
    arguments = ["predict", model, tmp_path / "in.traj", "--out", tmp_path / "out.extxyz"]
    assert main(list(map(str, arguments))) == 0
    assert "charge" not in read(tmp_path / "out.extxyz").info


def test_data_bases_keep_it_in_pairs_and_data(model, tmp_path):
    atoms = labelled(a_user_s_structure())
    atoms.info["charge"] = 0
    found = read(predict(model, atoms, tmp_path, out="out.db"))  # as ASE reads it, without info
    assert found.get_potential_energy() == ENERGY
    assert found.get_tags().tolist() == [4, 5, 6] and len(found.constraints) == 1
    # and on from there, into a form that has places for all of it
    on = ["predict", model, tmp_path / "out.db", "--out", tmp_path / "on.extxyz"]
    assert main([*map(str, on), "--prefix", "again_"]) == 0
    text = read(tmp_path / "on.extxyz")
    for name in ("name", "smiles", "weight", "good", "REF_energy", "dipole_of_mine"):
        assert np.array_equal(text.info[name], atoms.info[name]), name
    assert text.info["total_charge"] == 0
    for name in ("layer", "field"):
        assert np.array_equal(text.info[name], atoms.arrays[name]), name
    assert text.info["so3krates_energy"] == pytest.approx(text.info["again_energy"], rel=1e-9)
    np.testing.assert_allclose(
        text.info["so3krates_forces"], text.arrays["again_forces"], rtol=0, atol=1e-6
    )


@pytest.mark.parametrize("own", [True, False])
def test_npz_keeps_labels_and_holds_predictions_beside_them(model, tmp_path, own):
    atoms = molecule("H2O")
    out = predict(model, labelled(atoms) if own else atoms, tmp_path, out="out.npz")
    expected = POTENTIAL.predict(Frames.from_atoms(Atoms(atoms)))
    with np.load(out) as content:
        np.testing.assert_allclose(content["so3krates_energy"], expected.energy, rtol=1e-12)
        np.testing.assert_allclose(content["so3krates_forces"], expected.forces, atol=1e-9)
    frames = load(out, check=False)
    wanted = ENERGY if own else expected.energy[0]
    assert frames.energy[0] == pytest.approx(wanted, rel=1e-12)
    np.testing.assert_allclose(frames.forces[0], FORCES if own else expected.forces[0], atol=1e-6)


def test_files_in_other_units_are_written_in_eV_and_angstrom(model, tmp_path):
    atoms = labelled(a_user_s_structure())
    inside = atoms.copy()
    atoms.positions = convert(atoms.positions, "Angstrom", "bohr")
    atoms.cell = convert(atoms.cell.array, "Angstrom", "bohr")
    units = ["--length-unit", "bohr", "--energy-unit", "kcal/mol", "--no-check"]
    found = read(predict(model, labelled(atoms), tmp_path, *units))
    inside.info = dict(atoms.info)
    np.testing.assert_allclose(found.positions, inside.positions, rtol=0, atol=1e-7)
    np.testing.assert_allclose(found.cell, inside.cell, rtol=0, atol=1e-7)
    assert found.get_potential_energy() == pytest.approx(convert(ENERGY, "kcal/mol", "eV"))
    assert found.info["name"] == "mine" and found.arrays["layer"].tolist() == [1, 2, 3]
    assert_predicted(found, inside, atol=1e-6)


def test_a_second_model_can_stand_beside_the_first(model, tmp_path):
    predict(model, labelled(a_user_s_structure()), tmp_path, "--prefix", "one_")
    more = ["--out", tmp_path / "two.extxyz", "--prefix", "two_"]
    assert main(list(map(str, ["predict", model, tmp_path / "out.extxyz", *more]))) == 0
    found = read(tmp_path / "two.extxyz")
    for prefix in ("one_", "two_"):
        assert_predicted(found, a_user_s_structure(), prefix, atol=1e-6)
    assert found.get_potential_energy() == ENERGY


def test_only_so_many_structures_are_kept_as_are_asked_for(model, tmp_path):
    images = [a_user_s_structure(shift) for shift in (0.0, 0.1, 0.2)]
    again = read(predict(model, images, tmp_path, "--limit", 2), index=":")
    assert [len(a.constraints) for a in again] == [1, 1]


def test_structures_that_are_not_those_of_the_frames_are_not_taken_for_them():
    frames = Frames.from_atoms([molecule("H2O"), molecule("H2O")])
    mine = a_user_s_structure()
    for other in ([mine], [mine, molecule("CH4")], [mine, a_user_s_structure(0.1)]):
        assert all(not image.info for image in own_structures(frames, other))
    assert own_structures(frames, [mine, mine])[1].info == mine.info


@pytest.mark.parametrize(
    ("more", "word"),
    [
        (["--prefix", ""], "prefix"),
        (["--prefix", "1_"], "prefix"),
        (["--prefix", "a b"], "prefix"),
        (["--out", "out.cif"], ".extxyz"),
        (["--out", "out"], ".extxyz"),
        (["--out", "out.nonsense"], ".extxyz"),
    ],
)
def test_names_and_forms_that_cannot_hold_predictions_are_refused(
    model, tmp_path, monkeypatch, capsys, more, word
):
    monkeypatch.chdir(tmp_path)
    write("in.xyz", molecule("H2O"))
    assert main(["predict", str(model), "in.xyz", "--out", "out.extxyz", *more]) == 2
    text = capsys.readouterr().err
    assert word in text and text.count("\n") == 1
    assert [path.name for path in tmp_path.iterdir()] == ["in.xyz"]
