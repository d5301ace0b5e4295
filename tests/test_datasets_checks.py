import numpy as np
import pytest

from so3krates_lite.datasets import check_plausible, load
from so3krates_lite.datasets.checks import nearest_neighbour_ratio, work_slope
from so3krates_lite.errors import UserError
from so3krates_lite.frames import Frames
from so3krates_lite.units import BOHR, HARTREE, KCAL_PER_MOL


@pytest.fixture(scope="module", params=["ethanol-gfn2", "carbon-chains-gfn2"])
def right(request):
    return load(request.param)


def all_electron(frames):
    """The same frames on the energy scale of all-electron calculations."""
    from so3krates_lite.datasets.checks import _FREE_ATOM

    zero = -HARTREE * _FREE_ATOM[frames.numbers].sum(axis=1)
    return frames.replace(energy=frames.energy - frames.energy.mean() + 1.005 * zero)


def test_bundled_data_are_plausible(right):
    check_plausible(right)
    assert 0.75 < nearest_neighbour_ratio(right[:50]) < 1.1
    slope, correlation = work_slope(right[:200])
    assert 0.6 < slope < 1.4 and correlation > 0.8


@pytest.mark.parametrize(
    ("factor", "message"),
    [
        (1 / BOHR, "in bohr, not Å"),
        (BOHR, "already but were converted from bohr"),
        (0.1, "in nm, not Å"),
        (100.0, "in pm, not Å"),
    ],
)
def test_wrong_length_unit_is_recognised(right, factor, message):
    with pytest.raises(UserError, match=message):
        check_plausible(right.replace(positions=right.positions * factor))


def test_energies_and_forces_in_kcal_per_mol_are_recognised(right):
    wrong = right.replace(energy=right.energy / KCAL_PER_MOL, forces=right.forces / KCAL_PER_MOL)
    with pytest.raises(UserError, match="in kcal/mol/Å, not eV/Å"):
        check_plausible(wrong)


def test_forces_alone_in_another_unit_are_recognised(right):
    with pytest.raises(UserError, match="in kcal/mol/Å, not eV/Å"):
        check_plausible(right.replace(forces=right.forces / KCAL_PER_MOL))
    with pytest.raises(UserError, match="in eV and forces in Hartree/Å"):
        check_plausible(right[:100].replace(forces=right.forces[:100] / HARTREE))


def test_energies_alone_in_another_unit_are_recognised(right):
    with pytest.raises(UserError, match="in kcal/mol and forces in eV/Å"):
        check_plausible(right.replace(energy=right.energy / KCAL_PER_MOL))


@pytest.mark.parametrize("n", [1, 2, 8, 20, 50])
def test_few_frames_are_not_suspected(right, n):
    for start in range(0, 500, 100):
        check_plausible(right[start : start + n])


@pytest.mark.parametrize(
    ("factor", "message"),
    [
        (1 / KCAL_PER_MOL, "in kcal/mol, not eV"),
        (1 / HARTREE, "in Hartree, not eV"),
        (1e3, "in meV, not eV"),
        (KCAL_PER_MOL, "in eV already but were converted from kcal/mol"),
    ],
)
def test_total_energies_of_atoms_reveal_the_unit(right, factor, message):
    frames = all_electron(right)
    check_plausible(frames)
    with pytest.raises(UserError, match=message):
        check_plausible(frames.replace(energy=frames.energy * factor))


def test_wrong_sign_of_forces_is_recognised(right):
    with pytest.raises(UserError, match="wrong sign"):
        check_plausible(right.replace(forces=-right.forces))


def test_other_energy_zeros_pass(right):
    check_plausible(right.replace(energy=right.energy - right.energy.mean()))
    check_plausible(right.replace(energy=right.energy + 1e4))


def test_work_does_not_depend_on_orientation(right):
    few = right[:60]
    rng = np.random.default_rng(0)
    turns = np.linalg.qr(rng.standard_normal((60, 3, 3)))[0]
    turns *= np.sign(np.linalg.det(turns))[:, None, None]
    turned = few.replace(
        positions=np.einsum("bni,bij->bnj", few.positions, turns),
        forces=np.einsum("bni,bij->bnj", few.forces, turns),
    )
    np.testing.assert_allclose(work_slope(turned), work_slope(few), rtol=1e-8)


def test_unusual_but_right_data_pass():
    check_plausible(Frames(np.zeros((0, 3), int), np.zeros((0, 3, 3))))
    one = Frames([[18]], np.zeros((1, 1, 3)), energy=[-14354.0], forces=np.zeros((1, 1, 3)))
    check_plausible(one)
    argon = Frames([[18, 18]], [[[0, 0, 0], [0, 0, 3.8]]])  # noble gases have no bonds
    check_plausible(argon)
    far = Frames([[11, 17]], [[[0, 0, 0], [0, 0, 30.0]]], energy=[0.0])
    check_plausible(far)
    still = Frames(np.ones((20, 2), int), np.tile([[0, 0, 0], [0, 0, 0.74]], (20, 1, 1)))
    check_plausible(still.replace(energy=np.zeros(20), forces=np.zeros((20, 2, 3))))
