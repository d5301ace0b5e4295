"""The checks of lesson 11, and the molecules that it builds."""

from __future__ import annotations

import numpy as np
import pytest
from answers import wrong
from scipy.special import erf

from so3krates_lite import lessons
from so3krates_lite.lessons import so3lr_molecules as built
from so3krates_lite.physics.constants import COULOMB


def energy(q, R, *, k=COULOMB, twice=False, width=4.0, power=1, sizes=False, damped=True):
    total = 0.0
    for i in range(len(q)):
        for j in range(len(q)):
            if i == j or (j < i and not twice):
                continue
            r = np.linalg.norm(R[i] - R[j])
            qq = abs(q[i] * q[j]) if sizes else q[i] * q[j]
            total += k * qq * (erf(r / width) if damped else 1) / r**power
    return total


def test_electrostatic_energy_right():
    check = lessons.check_electrostatic_energy
    assert check(energy).passed
    assert check(lambda q, R: energy(q, R, k=14.4)).passed
    assert check(lambda q, R: 0.5 * energy(q, R, twice=True)).passed


@pytest.mark.parametrize(
    ("answer", "word"),
    [
        (lambda q, R: energy(q, R, twice=True), "stands twice"),
        (lambda q, R: energy(q, R) / 2, "counts once"),
        (lambda q, R: energy(q, R, damped=False), "bare charges"),
        (lambda q, R: energy(q, R, width=4 * np.sqrt(2)), "root of two"),
        (lambda q, R: energy(q, R, width=1), "yours is r"),
        (lambda q, R: energy(q, R, damped=False) - energy(q, R), "erfc"),
        (lambda q, R: energy(q, R, k=1), "14.40"),
        (lambda q, R: energy(q, R, power=2), "force"),
        (lambda q, R: energy(q, R, sizes=True), "like ones repel"),
        (lambda q, R: np.nan, "NaN"),
        (lambda q, R: 1.0, "is expected, yours gives 1.0000"),
    ],
)
def test_electrostatic_energy_wrong(answer, word):
    wrong(lessons.check_electrostatic_energy(answer), word)


def debye(vector):
    return 4.8032 * np.linalg.norm(vector)


def test_dipole_length_right():
    assert lessons.check_dipole_length(lambda q, R: debye(q @ R)).passed
    from_centre = lessons.check_dipole_length(lambda q, R: debye(q @ (R - R.mean(axis=0))))
    assert from_centre.passed  # a neutral molecule has no origin


@pytest.mark.parametrize(
    ("answer", "word"),
    [
        (lambda q, R: np.linalg.norm(q @ R), "in e Å"),
        (lambda q, R: np.linalg.norm(q @ R) / 4.8032, "must grow"),
        (lambda q, R: 4.8032 * np.linalg.norm(q[:, None] * R, axis=1).sum(), "vectors first"),
        (lambda q, R: debye(np.abs(q) @ R), "signs"),
        (lambda q, R: debye((q[:, None] * R).mean(axis=0)), "not a mean"),
        (lambda q, R: 4.8032 * (q @ R).sum(), "summed squares"),
        (lambda q, R: 1.0, "is expected, yours gives 1.0000"),
    ],
)
def test_dipole_length_wrong(answer, word):
    wrong(lessons.check_dipole_length(answer), word)


def test_spread_missing_right():
    assert lessons.check_spread_missing(lambda q, Q: q + (Q - q.sum()) / len(q)).passed


@pytest.mark.parametrize(
    ("answer", "word"),
    [
        (lambda q, Q: q + Q - q.sum(), "divide by their number"),
        (lambda q, Q: q - (Q - q.sum()) / len(q), "turned round"),
        (lambda q, Q: q - q.mean(), "sum to 0"),
        (lambda q, Q: q + Q / len(q), "lack of it"),
        (lambda q, Q: np.full(len(q), (Q - q.sum()) / len(q)), "what the atom has"),
        (lambda q, Q: q * Q / q.sum(), "stretches"),
        (lambda q, Q: q + (Q - q.sum()) * np.abs(q) / np.abs(q).sum(), "go by the size"),
        (lambda q, Q: q, "your charges sum to"),
        (lambda q, Q: np.append(q[:-1], Q - q[:-1].sum()), "not in equal parts"),
        (lambda q, Q: q[1:], "one charge per atom, shape (5,), is expected"),
    ],
)
def test_spread_missing_wrong(answer, word):
    wrong(lessons.check_spread_missing(answer), word)


def angles_at(atoms, i, others):
    return [atoms.get_angle(a, i, b) for a in others for b in others if a < b]


def test_ions_have_their_shape_and_say_their_charge():
    three, four, methyl = built.hydronium(), built.ammonium(), built.methylammonium()
    assert np.allclose(three.get_distances(0, [1, 2, 3]), 0.98)
    assert np.allclose(angles_at(three, 0, [1, 2, 3]), 112)
    assert np.allclose(four.get_distances(0, [1, 2, 3, 4]), 1.02)
    assert np.allclose(angles_at(four, 0, [1, 2, 3, 4]), 109.47, atol=0.01)
    for ion in (three, four, methyl):
        assert ion.info == {"charge": 1, "spin_multiplicity": 1}
        assert sum(ion.numbers) % 2 == 1  # so that one electron less is an even number
    assert built.methylammonium(0).info == {"charge": 0, "spin_multiplicity": 2}


def test_water_dimers_have_one_straight_hydrogen_bond_which_turning_breaks():
    bound, turned = (built.water_dimers([2.9, 6.0], turned=t).to_atoms() for t in (False, True))
    for dimer, other, d in zip(bound, turned, (2.9, 6.0), strict=True):
        assert np.isclose(dimer.get_distance(0, 3), d) and np.isclose(dimer.get_angle(0, 1, 3), 180)
        assert np.isclose(dimer.get_angle(4, 3, 5), built.HOH)
        assert np.allclose(dimer.positions[:4], other.positions[:4])
        assert np.allclose(other.get_distances(3, [4, 5]), built.OH)
    assert turned[0].get_distance(1, 4) < 2.2 < bound[0].get_distance(1, 4)


def test_butane_is_turned_about_its_middle_bond_only():
    stretched, cis = built.butane(180), built.butane(0)
    assert np.isclose(stretched.get_dihedral(*built.BACKBONE), 180)
    assert np.isclose(cis.get_dihedral(*built.BACKBONE) % 360, 0, atol=1e-6)
    bonds = stretched.get_all_distances() < 1.7
    assert np.allclose(stretched.get_all_distances()[bonds], cis.get_all_distances()[bonds])


def test_the_dipeptide_has_its_hydrogen_bond():
    hydrogen, oxygen = built.HYDROGEN_BOND
    atoms = built.alanine_dipeptide()
    assert atoms.get_chemical_formula() == "C6H12N2O2"
    assert atoms.symbols[hydrogen] == "H" and atoms.symbols[oxygen] == "O"
    assert 1.9 < atoms.get_distance(hydrogen, oxygen) < 2.2


def test_in_ice_every_inner_molecule_gives_two_hydrogens_and_takes_two():
    ice = built.ice()
    assert len(ice) == 3 * 29
    O, H = ice.positions[::3], np.delete(ice.positions, np.s_[::3], axis=0)
    assert np.allclose(O[0], 0)
    inner = np.linalg.norm(O, axis=1) < 2.8
    assert inner.sum() == 5
    d = np.linalg.norm(O[:, None] - H, axis=-1)
    assert ((d[inner] > 1.5) & (d[inner] < 2.0)).sum(axis=1).tolist() == [2] * 5
    assert ((d < 1.0).sum(axis=1) == 2).all()


def test_two_molecules_apart_share_their_charge_in_words_only():
    both = built.apart(built.molecule("H2O"), built.ammonium(), 50.0)
    assert len(both) == 8 and both.info["charge"] == 1
    assert both.get_all_distances()[:3, 3:].min() > 45
