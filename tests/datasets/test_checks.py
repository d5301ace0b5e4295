import numpy as np
import pytest

from so3krates_lite.datasets import check_plausible, load
from so3krates_lite.datasets.checks import _FREE_ATOM
from so3krates_lite.datasets.evidence import (
    bonds_to_hydrogen,
    energy_per_work,
    nearest_neighbour_ratio,
)
from so3krates_lite.errors import UserError
from so3krates_lite.structures.frames import Frames
from so3krates_lite.units import BOHR, HARTREE, KCAL_PER_MOL, KJ_PER_MOL


@pytest.fixture(scope="module", params=["ethanol-gfn2", "carbon-chains-gfn2"])
def right(request):
    return load(request.param)


def all_electron(frames):
    """The same frames on the energy scale of all-electron calculations."""
    zero = -HARTREE * _FREE_ATOM[frames.numbers].sum(axis=1)
    return frames.replace(energy=frames.energy - frames.energy.mean() + 1.005 * zero)


def test_bundled_data_are_plausible(right):
    check_plausible(right)
    assert 0.75 < nearest_neighbour_ratio(right[:50]) < 1.1
    slope = energy_per_work(right[:200], None)
    assert 0.6 < slope < 1.4 and slope != 1  # a line, not the answer where only sizes are compared


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


def valence_only(frames):
    """The same frames on a scale between all-electron and semi-empirical energies."""
    valence = np.zeros(100)
    valence[[1, 6, 8]] = 0.46, 5.4, 15.9  # Hartree, as with pseudopotentials
    return frames.replace(energy=frames.energy - HARTREE * valence[frames.numbers].sum(axis=1))


SCALES = {
    "semi-empirical": lambda frames: frames,
    "all electrons": all_electron,
    "valence": valence_only,
    "less its mean": lambda frames: frames.replace(energy=frames.energy - frames.energy.mean()),
    "moved far": lambda frames: frames.replace(energy=frames.energy + 1e4),
    "less a sum over elements": lambda frames: frames.replace(
        energy=frames.energy + 71.3 * frames.element_counts().sum(axis=1)
    ),
}
# energy in eV, force in eV/Å of the unit that the file's numbers are in, and what is to be said
MISTAKES = {
    "both kcal/mol": (KCAL_PER_MOL, KCAL_PER_MOL, "forces look to be in kcal/mol/Å, not eV/Å"),
    "both kJ/mol": (KJ_PER_MOL, KJ_PER_MOL, "forces look to be in kJ/mol/Å, not eV/Å"),
    "both Hartree": (HARTREE, HARTREE, "forces look to be in Hartree/Å"),
    "atomic units": (HARTREE, HARTREE / BOHR, "forces look to be in Hartree/bohr, not eV/Å"),
    "converted twice": (
        1 / HARTREE,
        1 / HARTREE,
        "converted from Hartree although they were in eV",
    ),
    "energies kcal/mol": (
        KCAL_PER_MOL,
        1,
        "energies (look to be )?in kcal/mol(, not eV| and forc)",
    ),
    "energies kJ/mol": (KJ_PER_MOL, 1, "energies (look to be )?in kJ/mol(, not eV| and forces)"),
    "energies meV": (1e-3, 1, "energies (look to be )?in meV(, not eV| and forces)"),
    "energies Hartree": (HARTREE, 1, "energies (look to be )?in Hartree(, not eV| and forces in)"),
    "forces kcal/mol/Å": (1, KCAL_PER_MOL, "forces look to be in kcal/mol/Å, not eV/Å"),
    "forces Hartree/bohr": (1, HARTREE / BOHR, "forces look to be in Hartree/bohr, not eV/Å"),
}


@pytest.mark.parametrize("scale", SCALES)
def test_right_units_pass_and_wrong_ones_do_not_whatever_the_zero_of_energy(right, scale):
    frames = SCALES[scale](right[::20])  # of all trajectories
    check_plausible(frames)
    for energy, force, message in MISTAKES.values():
        with pytest.raises(UserError, match=message) as caught:
            check_plausible(
                frames.replace(energy=frames.energy / energy, forces=frames.forces / force)
            )
        assert "load with check=False (--no-check)" in str(caught.value)


def test_energies_that_go_with_wrong_forces_are_told_from_those_that_do_not(right):
    frames = right[::20]
    with pytest.raises(UserError, match=r"and energies with them.*: state energy_unit"):
        check_plausible(
            frames.replace(energy=frames.energy / HARTREE, forces=frames.forces / HARTREE)
        )
    with pytest.raises(UserError, match=r"usual\): convert the forces to eV/Å;"):
        check_plausible(frames.replace(forces=frames.forces / HARTREE))


def test_few_frames_far_apart_are_enough(right):
    """Twelve frames, of which no two are near: energy differences do not follow the work."""
    frames = right[::170][:12]
    check_plausible(frames)
    assert energy_per_work(frames, bonds_to_hydrogen(frames)) == 1
    for energy, unit in ((KCAL_PER_MOL, "kcal/mol"), (HARTREE, "Hartree")):
        with pytest.raises(UserError, match=f"energies in {unit} and forces in eV"):
            check_plausible(frames.replace(energy=frames.energy / energy))


def test_bonds_to_hydrogen_give_the_force_constant_and_the_temperature():
    """Springs between oxygen and hydrogen: k d² and kT are what they were made with."""
    rng = np.random.default_rng(0)
    k, length, kT, n = 45.0, 0.96, 0.03, 400
    stretch = rng.normal(scale=np.sqrt(kT / k), size=n)
    along = np.array([2.0, -1.0, 2.0]) / 3
    positions = np.zeros((n, 2, 3))
    positions[:, 1] = (length + stretch)[:, None] * along
    forces = np.zeros((n, 2, 3))
    forces[:, 1] = -k * stretch[:, None] * along
    frames = Frames(np.tile([8, 1], (n, 1)), positions, forces=forces - forces[:, ::-1])
    found = bonds_to_hydrogen(frames)
    assert found.stiffness == pytest.approx(k * length**2, rel=1e-2)
    assert found.kT == pytest.approx(kT, rel=0.15)
    check_plausible(frames)
    for still in (
        frames[:5],  # too few
        frames.replace(positions=0.1 * positions + 0.9 * positions[:1]),  # hardly moving
        frames.replace(forces=rng.normal(size=forces.shape)),  # forces of other causes
        frames.replace(forces=None),
        frames.replace(numbers=np.tile([8, 3], (n, 1))),
    ):
        assert bonds_to_hydrogen(still) is None


def test_molecules_at_rest_are_not_suspected():
    """At minima bonds differ and energies differ, but forces, next to none, follow neither."""
    from ase.collections import g2

    names = [name for name in g2.names if 1 in g2[name].numbers and len(g2[name]) > 2]
    rng = np.random.default_rng(0)
    still = Frames.from_atoms([g2[name] for name in names])
    still = still.replace(
        energy=-13.6 * still.n_atoms + rng.normal(size=len(still)),
        forces=rng.normal(scale=2e-3, size=still.positions.shape) * still.mask[:, :, None],
    )
    check_plausible(still)
    conformers = still[np.zeros(40, int)].trimmed()
    moved = conformers.positions + 1e-3 * rng.normal(size=conformers.positions.shape)
    noise = rng.normal(scale=2e-3, size=moved.shape)
    check_plausible(conformers.replace(positions=moved, energy=rng.normal(size=40), forces=noise))


def test_free_atoms_follow_the_statistical_theory():
    """Thomas and Fermi's energy with the corrections of Scott and Schwinger, Hartree."""
    z = np.arange(1.0, len(_FREE_ATOM))
    expected = 0.768745 * z ** (7 / 3) - z**2 / 2 + 0.269900 * z ** (5 / 3)
    np.testing.assert_allclose(_FREE_ATOM[1:], expected, rtol=0.1)
    np.testing.assert_allclose(_FREE_ATOM[6:], expected[5:], rtol=0.01)


def test_semi_empirical_energies_in_eV_are_not_taken_for_all_electron_ones():
    """Of tetramethylsilane, GFN2-xTB's -445.5 eV are near the -449 Hartree of all electrons."""
    atoms = _FREE_ATOM[[14, 6, 1]] @ [1, 4, 12]
    numbers = np.array([[14, *[6] * 4, *[1] * 12]])
    alone = Frames(numbers, 2.0 * np.arange(51.0).reshape(1, 17, 3))
    check_plausible(alone.replace(energy=[-445.55]))
    with pytest.raises(UserError, match=r"energies may be in Hartree.*come near by chance"):
        check_plausible(alone.replace(energy=[-1.005 * atoms]))
    # forces in eV/Å speak against energies that would be too small for them, few as they are
    ethanol = load("ethanol-gfn2")[::400]
    moved = ethanol.replace(energy=ethanol.energy - ethanol.energy.mean() - 154.9)
    check_plausible(moved)
    with pytest.raises(UserError, match="energies may be in Hartree"):
        check_plausible(moved.replace(forces=None))
    with pytest.raises(UserError, match="energies may be in Hartree"):  # at rest, in atomic units
        check_plausible(moved[:1].replace(forces=moved.forces[:1] / 1000))


@pytest.mark.parametrize("n", [1, 2, 8, 20, 50])
def test_few_frames_are_not_suspected(right, n):
    for start in range(0, 500, 100):
        check_plausible(right[start : start + n])


@pytest.mark.parametrize(
    ("factor", "message"),
    [
        (1 / KCAL_PER_MOL, "look to be in kcal/mol, not eV"),
        (1 / KJ_PER_MOL, "look to be in kJ/mol, not eV"),
        (1 / HARTREE, "in Hartree, not eV"),
        (1e3, "look to be in meV, not eV"),
        (KCAL_PER_MOL, "in eV already but were converted from kcal/mol"),
    ],
)
def test_total_energies_of_atoms_reveal_the_unit(right, factor, message):
    frames = all_electron(right)
    check_plausible(frames)
    for known in (frames, frames.replace(forces=None)):
        with pytest.raises(UserError, match=message):
            check_plausible(known.replace(energy=known.energy * factor))


def test_wrong_sign_of_forces_is_recognised(right):
    for frames in (right, right[:12]):
        with pytest.raises(UserError, match="wrong sign"):
            check_plausible(frames.replace(forces=-frames.forces))


def test_work_does_not_depend_on_orientation(right):
    few = right[:60]
    rng = np.random.default_rng(0)
    turns = np.linalg.qr(rng.standard_normal((60, 3, 3)))[0]
    turns *= np.sign(np.linalg.det(turns))[:, None, None]
    turned = few.replace(
        positions=np.einsum("bni,bij->bnj", few.positions, turns),
        forces=np.einsum("bni,bij->bnj", few.forces, turns),
    )
    slope = energy_per_work(few, None)
    assert slope != 1
    assert energy_per_work(turned, None) == pytest.approx(slope, rel=1e-8)
    np.testing.assert_allclose(bonds_to_hydrogen(turned), bonds_to_hydrogen(few), rtol=1e-8)


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
