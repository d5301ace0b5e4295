"""Each physical term against numbers made by hand, in plain numpy."""

from __future__ import annotations

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from small import PHYSICS, frame_of, molecule, small_config, small_potential, stack

from so3krates_lite.basis import BERNSTEIN_DECAY, bernstein_basis, cutoff_function
from so3krates_lite.config import So3kratesConfig
from so3krates_lite.datasets.splits import random_split
from so3krates_lite.errors import UserError
from so3krates_lite.physics.constants import BOHR, COULOMB, HARTREE
from so3krates_lite.physics.dispersion import FREE_ATOMS, Polarisability, dispersion, polarisability
from so3krates_lite.physics.electrostatics import electrostatics
from so3krates_lite.physics.repulsion import Screening, repulsion
from so3krates_lite.physics.switch import smooth_switch
from so3krates_lite.training import TrainConfig, train

pytestmark = pytest.mark.usefixtures("quick_compilation")

CONFIG = small_config((1, 2), "so3lr", **PHYSICS)


@pytest.fixture(autouse=True)
def double():
    with jax.enable_x64(True):
        yield


def test_the_switch_is_one_then_zero_and_smooth_in_between():
    d = jnp.linspace(0, 6, 60001)
    found = np.asarray(smooth_switch(d, 2.0, 5.0))
    assert (found[d <= 2] == 1).all() and (found[d >= 5] == 0).all()
    c = 1 / 3  # at 3 Å
    expected = math.exp(-1 / (1 - c)) / (math.exp(-1 / (1 - c)) + math.exp(-1 / c))
    assert found[30000] == pytest.approx(expected, rel=1e-12)
    assert found[35000] == pytest.approx(0.5, abs=1e-12)
    for _ in range(3):  # no derivative jumps, where the formula takes over from a constant neither
        found = np.diff(found) / 1e-4
        assert np.abs(np.diff(found)).max() < 0.02 * np.ptp(found)
    slope = jax.grad(lambda d: smooth_switch(d, 2.0, 5.0))
    assert [float(slope(x)) for x in (1.0, 2.0, 5.0, 9.0)] == [0, 0, 0, 0]


def test_repulsion_by_hand():
    a, c, p, D = [1.1, 0.9, 0.5, 0.2], [0.2, 0.5, 0.25, 0.05], 0.25, 2.2
    screening = Screening(*map(jnp.asarray, (a, c, p, D)))
    z = jnp.asarray([6.0]), jnp.asarray([8.0])
    found = repulsion(jnp.asarray([1.2]), jnp.asarray([0.9]), z, screening)
    rho = 2.2 * 1.2 * (6**0.25 + 8**0.25)
    s = sum(weight * math.exp(-exponent * rho) for weight, exponent in zip(c, a, strict=True))
    x = 1.2 / 1.5
    switch = 1 / (1 + math.exp(1 / (1 - x) - 1 / x))
    assert float(found[0]) == pytest.approx(COULOMB * 48 / 1.2 * 0.9 * switch * s, rel=1e-12)
    assert float(repulsion(jnp.asarray([1.51]), jnp.asarray([0.9]), z, screening)[0]) == 0


def test_electrostatics_by_hand():
    def energy(distances, cutoff=None):
        d = jnp.asarray(distances)
        return electrostatics(d, (jnp.full(d.shape, 0.4), jnp.full(d.shape, -0.7)), cutoff)

    def V(r):
        return math.erf(r / 4) / r

    free = energy([3.0])
    assert float(free[0]) == pytest.approx(-0.28 * COULOMB * V(3.0), rel=1e-12)
    far = energy([60.0])
    assert float(far[0]) == pytest.approx(-0.28 * COULOMB / 60, rel=1e-12)  # point charges
    # near each other the cutoff adds a constant only, near the cutoff energy and force are zero
    near = energy([3.0, 5.0], 12.0)
    shift = near - energy([3.0, 5.0])
    np.testing.assert_allclose(shift, 0.28 * COULOMB * V(12.0), rtol=1e-12)
    slope = jax.grad(lambda d: energy(d[None], 12.0)[0])
    for d in (12.0 - 1e-6, 12.0, 13.0):
        assert abs(float(energy([d], 12.0)[0])) < 1e-11
        assert abs(float(slope(jnp.asarray(d)))) < 1e-6
    h = 1e-5  # V'(c), by which the slope is shifted at 11 Å, where all of the shift acts almost
    gradient = (V(12 + h) - V(12 - h)) / (2 * h)
    x = (11 - 5.4) / 6.6
    f = 1 / (1 + math.exp(1 / (1 - x) - 1 / x))
    expected = -0.28 * COULOMB * (V(11.0) - V(12.0) - (1 - f) * gradient * (11 - 12))
    found = energy([11.0], 12.0)
    assert float(found[0]) == pytest.approx(expected, rel=1e-8)


def test_dispersion_by_hand():
    atoms = polarisability(jnp.asarray([0.9, 0.6]), jnp.asarray([8, 1]))
    np.testing.assert_allclose(atoms.a, [5.4 * 0.9, 4.5 * 0.6], rtol=1e-12)
    np.testing.assert_allclose(atoms.C6, [15.6 * 0.81, 6.5 * 0.36], rtol=1e-12)
    both = Polarisability(*(v[:1] for v in atoms)), Polarisability(*(v[1:] for v in atoms))
    (a1, C1), (a2, C2) = (
        (float(v) for v in one) for one in ([x[0] for x in both[0]], [x[0] for x in both[1]])
    )
    C6 = 2 * C1 * C2 * a1 * a2 / (a1**2 * C2 + a2**2 * C1)
    a = (a1 + a2) / 2
    r = 0.0072973525664 ** (-4 / 21) * a ** (1 / 7)
    w = -0.00433008 + 0.24428889 * r + 0.04125273 * r**2 - 0.00078893 * r**3
    g = 1 / (2 * w**2)
    p, R = 1.2 * 2 * 2.54 * a ** (1 / 7), 3.1 / BOHR
    C8, C10 = 5 * C6 / g, 245 * C6 / (8 * g**2)
    expected = -HARTREE * (C6 / (R**6 + p**6) + C8 / (R**8 + p**8) + C10 / (R**10 + p**10))
    found = dispersion(jnp.asarray([3.1]), both, None)
    assert float(found[0]) == pytest.approx(expected, rel=1e-12)
    cut = dispersion(jnp.asarray([3.1, 9.0, 10.0]), both, 10.0)
    alone = dispersion(jnp.asarray([3.1, 9.0, 10.0]), both, None)
    np.testing.assert_allclose(cut / alone, [1, 0.5, 0], atol=1e-12)
    # two atoms of one element have the coefficient of that element
    same = polarisability(jnp.ones(1), jnp.asarray([6]))
    far = dispersion(jnp.asarray([200.0]), (same, same), None)
    assert float(far[0]) == pytest.approx(-HARTREE * 46.6 / (200 / BOHR) ** 6, rel=1e-2)


def test_bernstein_polynomials_and_their_cutoff_by_hand():
    assert BERNSTEIN_DECAY == 0.9448630809783936  # single precision, as SO3LR has it
    d = np.array([0.0, 0.4, 2.0, 4.4])
    y = np.exp(-BERNSTEIN_DECAY * d)[:, None]
    k = np.arange(6)
    binomial = np.array([math.comb(5, n) for n in k])
    found = np.asarray(bernstein_basis(jnp.asarray(d), 6))
    np.testing.assert_allclose(found, binomial * y**k * (1 - y) ** (5 - k), atol=1e-14)
    np.testing.assert_allclose(found.sum(axis=1), 1, rtol=1e-13)
    slopes = jax.jacfwd(jax.jacfwd(lambda d: bernstein_basis(d, 32)))(jnp.asarray([0.0, 0.7, 4.0]))
    assert np.isfinite(slopes).all()
    t = 2.0 / 4.5
    phi = cutoff_function(
        jnp.asarray([2.0, 4.5, 6.0]), So3kratesConfig(variant="so3lr", cutoff=4.5)
    )
    np.testing.assert_allclose(phi, [1 - 10 * t**3 + 15 * t**4 - 6 * t**5, 0, 0], atol=1e-15)


FRAMES = stack(molecule(6, seed=1), molecule(4, seed=2)).replace(
    total_charge=np.array([1.0, -2.0]), spin_multiplicity=np.array([1, 2])
)


@pytest.fixture(scope="module")
def found():
    potential = small_potential(CONFIG)
    return potential.predict(FRAMES), potential.properties(FRAMES)


def test_terms_sum_to_the_energy_and_charges_to_the_charge(found):
    prediction, properties = found
    assert tuple(properties.energies) == ("network", *CONFIG.physics)
    np.testing.assert_allclose(sum(properties.terms.values()), prediction.energy, rtol=1e-12)
    np.testing.assert_allclose(properties.charges.sum(axis=1), [1, -2], atol=1e-12)
    assert min(np.abs(energy).max() for energy in properties.terms.values()) > 1e-6
    padding = FRAMES.numbers == 0
    for values in (*properties.energies.values(), properties.charges, properties.ratios):
        assert not values[padding].any()
    assert (properties.ratios[~padding] > 0).all()
    expected = [
        (q[:, None] * R).sum(axis=0)
        for q, R in zip(properties.charges, FRAMES.positions, strict=True)
    ]
    np.testing.assert_allclose(properties.dipole, expected, atol=1e-12)


def test_each_frame_alone_has_the_same_properties(found):
    potential = small_potential(CONFIG)
    for k in range(2):
        alone = potential.properties(FRAMES[k])
        n = int(FRAMES.n_atoms[k])
        np.testing.assert_allclose(alone.charges[0, :n], found[1].charges[k, :n], atol=1e-12)
        for name, energy in alone.terms.items():
            assert energy[0] == pytest.approx(found[1].terms[name][k], abs=1e-11)


def test_terms_are_their_formulas_of_charges_and_ratios(found):
    """Pair by pair in numpy loops, from the charges and ratios that the model has."""
    _, properties = found
    R, q = FRAMES.positions[0], properties.charges[0]
    energy = sum(
        COULOMB * q[i] * q[j] * math.erf(d / 4) / d
        for i in range(6)
        for j in range(i)
        if (d := np.linalg.norm(R[i] - R[j]))
    )
    assert properties.terms["electrostatics"][0] == pytest.approx(energy, rel=1e-10)
    atoms = polarisability(jnp.asarray(properties.ratios[0]), jnp.asarray(FRAMES.numbers[0]))
    energy = sum(
        float(
            dispersion(
                jnp.asarray([np.linalg.norm(R[i] - R[j])]),
                tuple(Polarisability(*(v[k][None] for v in atoms)) for k in (i, j)),
                None,
            )[0]
        )
        for i in range(6)
        for j in range(i)
    )
    assert properties.terms["dispersion"][0] == pytest.approx(energy, rel=1e-10)


def test_a_long_cutoff_is_asked_for_in_a_cell_and_images_are_summed():
    potential = small_potential(CONFIG)
    R = [[0.0, 0, 0], [1.1, 0.3, 0.2], [0.2, 1.2, -0.4]]
    cell = np.diag([4.0, 5.0, 6.0])
    box = frame_of([8, 1, 6], R, cell=cell[None], pbc=np.ones((1, 3), bool))
    with pytest.raises(UserError, match="long_cutoff"):
        potential.predict(box)
    cut = potential.with_long_cutoff(7.0)  # more than half of every edge
    eight = np.concatenate([np.asarray(R) + np.array(n) @ cell for n in np.ndindex(2, 2, 2)])
    large = frame_of([8, 1, 6] * 8, eight, cell=2 * cell[None], pbc=np.ones((1, 3), bool))
    one, many = cut.predict(box), cut.predict(large)
    assert many.energy[0] == pytest.approx(8 * one.energy[0], rel=1e-11)
    np.testing.assert_allclose(many.forces[0, :3], one.forces[0], atol=1e-10)
    assert np.isnan(cut.properties(box).dipole).all()
    with pytest.raises(UserError, match="long_cutoff = 9"):
        small_potential(small_config()).with_long_cutoff(9.0)


def test_a_cutoff_beyond_all_pairs_shifts_the_electrostatic_energy_only():
    potential = small_potential(CONFIG)
    free, cut = (
        one.properties(FRAMES).terms for one in (potential, potential.with_long_cutoff(40.0))
    )
    charges = potential.properties(FRAMES).charges
    V = math.erf(10) / 40
    expected = -COULOMB * V / 2 * (charges.sum(axis=1) ** 2 - (charges**2).sum(axis=1))
    np.testing.assert_allclose(cut["electrostatics"] - free["electrostatics"], expected, rtol=1e-9)
    for name in ("network", "repulsion", "dispersion"):
        np.testing.assert_allclose(cut[name], free[name], rtol=1e-12)


@pytest.mark.parametrize("alone", PHYSICS["physics"])
def test_each_term_alone(alone):
    config = small_config((1, 2), "so3lr", physics=(alone,))
    potential = small_potential(config)
    properties = potential.properties(FRAMES)
    assert tuple(properties.energies) == ("network", alone)
    assert (properties.charges is None) == (alone != "electrostatics")
    assert (properties.ratios is None) == (alone != "dispersion")
    assert np.isfinite(potential.predict(FRAMES).forces).all()


def test_an_atom_alone_has_its_charge_and_no_forces():
    potential = small_potential(CONFIG)
    atom = frame_of([8], [[0.0, 0, 0]], total_charge=[-1.0], spin_multiplicity=[2])
    properties = potential.properties(atom)
    assert properties.charges[0, 0] == pytest.approx(-1, abs=1e-12)
    assert not potential.predict(atom).forces.any()
    assert properties.terms["electrostatics"][0] == 0


def test_nuclei_that_coincide_are_refused():
    two = frame_of([6, 1, 8], [[0.0, 0, 0], [1.1, 0, 0], [1.1, 0.01, 0]])
    with pytest.raises(UserError, match=r"Frame 0: atoms 1 and 2 are 0\.01 Å apart"):
        small_potential(CONFIG).predict(two)


def test_a_charge_that_is_not_stated_is_zero_and_said_once(caplog):
    potential = small_potential(small_config((1, 2), "so3lr", **PHYSICS, layers=1))
    bare = FRAMES.replace(total_charge=None, spin_multiplicity=None)
    neutral = FRAMES.replace(total_charge=np.zeros(2), spin_multiplicity=np.ones(2, int))
    np.testing.assert_array_equal(potential.predict(bare).energy, potential.predict(neutral).energy)
    potential.predict(bare)
    assert len(caplog.records) == 1
    message = caplog.records[0].getMessage()
    assert "no total charge: 0 is assumed" in message
    odd = [k for k in range(2) if FRAMES.numbers[k].sum() % 2]
    assert ("odd number of electrons" in message) == bool(odd)


def test_it_trains_and_elements_without_numbers_are_refused(tmp_path):
    rng = np.random.default_rng(0)
    frames = molecule(4, seed=3)
    frames = stack(*[frames] * 6)
    frames = frames.replace(
        positions=frames.positions + rng.normal(size=frames.positions.shape) * 0.05,
        energy=rng.normal(size=6),
        forces=rng.normal(size=frames.positions.shape),
        total_charge=np.zeros(6),
        spin_multiplicity=np.ones(6, int),
    )
    split = random_split(frames, 4, 2, 0, seed=0)
    settings = TrainConfig(epochs=60, batch_size=2, learning_rate=1e-2)
    result = train(frames, split, model=CONFIG, settings=settings)
    losses = [row["train_loss"] for row in result.metrics]
    assert losses[-1] < 0.8 * losses[0]
    assert result.potential.energy_scale == 1  # physical terms are in eV
    assert set(FREE_ATOMS) == {1, 6, 7, 8, 9, 15, 16, 17}
    silicon = frames.replace(numbers=np.where(frames.numbers > 0, 14, 0))
    with pytest.raises(UserError, match="Dispersion has numbers for"):
        train(silicon, split, model=CONFIG, settings=settings)
    with pytest.raises(UserError, match="physics"):
        small_config(variant="so3lr", physics=("gravity",))
