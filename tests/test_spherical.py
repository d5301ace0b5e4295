"""The spherical neighbourhood: who belongs to it, and that it is smooth, finite and far-reaching.

Two models stand for all, one without a long cutoff and one with it. Most of what is asked of them
is computed in one batch each, so that little needs to be compiled.
"""

from __future__ import annotations

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from ase import Atoms
from small import deviation, frame_of, molecule, small_config, small_potential, stack

from so3krates_lite import passes
from so3krates_lite.basis import polynomial_cutoff
from so3krates_lite.energies import energy_and_forces
from so3krates_lite.errors import UserError
from so3krates_lite.record.attention_record import QUANTITIES
from so3krates_lite.runtime.settings import Compiled
from so3krates_lite.simulate.calculator import So3kratesCalculator
from so3krates_lite.spherical import spherical_weights
from so3krates_lite.structures.batching import make_batch
from so3krates_lite.structures.frames import Frames
from so3krates_lite.structures.graph import Pairs
from so3krates_lite.training.objective import Labelled, Weights, loss_and_gradient

pytestmark = pytest.mark.usefixtures("quick_compilation")

LONG = 4.0  # Å
CONFIGS = {
    "endless": small_config(variant="v0.3", spherical_radius=1.5, sphc_start="smooth"),
    "long cutoff": small_config(spherical_radius=2.5, long_cutoff=LONG, sphc_start="smooth"),
}
CUTOFF, LAYERS = 3.0, 2


# -- the weights themselves ------------------------------------------------------------------


jitted_weights = jax.jit(spherical_weights)


def weights(X, phi=None, *, radius=1.0, extra=(), dtype=np.float64) -> np.ndarray:
    """phi_chi of [receiver, sender] for a table X of SPHC distances; ``extra`` pads the list.

    ``extra`` holds (first, second, distance) of padded pairs.
    """
    X = np.asarray(X, dtype)
    phi = np.ones_like(X) if phi is None else np.asarray(phi, dtype)
    n = len(X)
    first, second = np.triu_indices(n, 1)
    fill = np.array(extra).reshape(-1, 3)
    ends = [np.append(a, fill[:, k]).astype(int) for k, a in enumerate((first, second))]
    distance = np.append(X[first, second], fill[:, 2]).astype(dtype)
    reach = np.append(phi[first, second], np.zeros(len(fill))).astype(dtype)
    with jax.enable_x64(np.dtype(dtype) == np.float64):
        pairs = Pairs(*map(jnp.asarray, ends), n)
        of_first, of_second = jax.device_get(
            jitted_weights(jnp.asarray(distance), jnp.asarray(reach), pairs, radius)
        )
    out = np.zeros((n, n), of_first.dtype)
    out[first, second], out[second, first] = of_first[: len(first)], of_second[: len(first)]
    return out


def random_distances(n: int, seed: int = 0) -> np.ndarray:
    points = np.random.default_rng(seed).normal(size=(n, 4))
    return np.linalg.norm(points[:, None] - points, axis=-1)


def all_but_diagonal(n: int) -> np.ndarray:
    return ~np.eye(n, dtype=bool)


@pytest.mark.parametrize("n", [2, 3, 9])
@pytest.mark.parametrize("distance", [0.0, 0.7, 30.0])
def test_equal_distances_make_nobody_a_neighbour_at_the_paper_s_radius(n, distance):
    """s = 1/(n - 1) is more than 1/n: whoever is near has to be nearer than others."""
    assert not weights(np.full((n, n), distance)).any()


def test_a_much_nearer_atom_is_a_neighbour_and_the_others_are_not():
    X = np.full((6, 6), 3.0)
    X[0, 1] = X[1, 0] = 0.1
    found = weights(X)
    assert found[0, 1] > 0.999 and found[1, 0] > 0.999
    found[0, 1] = found[1, 0] = 0
    assert not found.any()


def test_weights_are_the_polynomial_of_the_share_over_the_border():
    X = random_distances(7)
    share = np.where(all_but_diagonal(7), np.exp(X), 0)
    t = 1.3**-1 * 7 * share / share.sum(axis=1, keepdims=True)
    expected = np.where(t < 1, 1 - 28 * t**6 + 48 * t**7 - 21 * t**8, 0) * all_but_diagonal(7)
    found = weights(X, radius=1.3)
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-13)
    assert ((found >= 0) & (found <= 1)).all()
    assert (found == 0)[all_but_diagonal(7)].any() and (found > 0.5).any()
    assert not np.allclose(found, found.T)  # who is near to me may have nearer ones


def test_a_distance_more_to_all_changes_nothing():
    X = random_distances(7)
    found = weights(X + 5.0, radius=1.3)
    np.testing.assert_allclose(found, weights(X, radius=1.3), rtol=0, atol=1e-12)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_long_distances_do_not_overflow(dtype):
    X = random_distances(5)
    X[0] = X[:, 0] = 1e4  # far from all others
    X[0, 1] = X[1, 0] = 1e4 - 20
    found = weights(X, dtype=dtype)
    assert found.dtype == dtype and np.isfinite(found).all()
    rounding = float(np.finfo(dtype).eps)
    assert found[0, 1] == pytest.approx(1, rel=4 * rounding) and not found[0, 2:].any()
    # for the others, all are near but the far one
    near = found[2:, 1:][all_but_diagonal(5)[2:, 1:]]
    np.testing.assert_allclose(near, 1, rtol=4 * rounding)
    assert not found[2:, 0].any()


def test_a_large_radius_takes_everybody_in():
    found = weights(random_distances(6), radius=1e3)
    np.testing.assert_allclose(found[all_but_diagonal(6)], 1, rtol=0, atol=1e-9)


def test_a_long_cutoff_weighs_what_counts_in_the_sum_the_number_and_the_result():
    X, phi = random_distances(6), np.random.default_rng(1).uniform(0, 1, (6, 6))
    phi = np.where(all_but_diagonal(6), (phi + phi.T) / 2, 0)
    phi[0, 2] = phi[2, 0] = 0
    n = 1 + phi.sum(axis=1, keepdims=True)
    t = np.exp(X) / (phi * np.exp(X)).sum(axis=1, keepdims=True) * n / 2.0
    expected = phi * np.where(t < 1, 1 - 28 * t**6 + 48 * t**7 - 21 * t**8, 0)
    np.testing.assert_allclose(weights(X, phi, radius=2.0), expected, rtol=0, atol=1e-13)


def test_an_atom_out_of_reach_is_as_if_it_were_not_there():
    X = random_distances(6)
    phi = np.where(all_but_diagonal(6), 0.8, 0)
    phi[5] = phi[:, 5] = 0
    X[5] = X[:, 5] = 1e3
    found = weights(X, phi, radius=2.0)
    np.testing.assert_array_equal(found[:5, :5], weights(X[:5, :5], phi[:5, :5], radius=2.0))
    assert not found[5].any() and not found[:, 5].any()


@pytest.mark.parametrize("distance", [0.0, 1e3])
def test_padded_pairs_never_enter_the_weights(distance):
    X = random_distances(5)
    extra = [(0, 0, distance), (0, 0, distance), (1, 3, distance)]
    np.testing.assert_array_equal(weights(X, radius=1.3, extra=extra), weights(X, radius=1.3))


# -- what stands beside a molecule -----------------------------------------------------------


def joined(*parts: Frames, apart: float = 0.0) -> Frames:
    """One structure of several, each ``apart`` Å further along x than the one before."""
    shift = np.array([apart, 0, 0])
    return frame_of(
        np.concatenate([part.numbers[0] for part in parts]),
        np.concatenate([part.positions[0] + k * shift for k, part in enumerate(parts)]),
    )


def chain(move: float) -> Frames:
    """Atoms in a zigzag of 2.6 Å each, the last one moved."""
    k = np.arange(9)
    positions = np.stack([2.55 * k, 0.5 * (k % 2), 0.1 * (k % 3)], axis=1)
    positions[-1] += move * np.array([0.3, 0.5, -0.2])
    return frame_of([1, 6, 8, 7, 6, 8, 1, 6, 7], positions)


LARGE, SMALL = molecule(5, seed=11), molecule(4, seed=2)
METHANE = frame_of(
    [6, 1, 1, 1, 1],
    [[0, 0, 0], *(0.63 * np.array([[1, 1, 1], [1, -1, -1], [-1, 1, -1], [-1, -1, 1]]))],
)
OCTAHEDRON = [
    [3.02, 0, 0],
    [-3.05, 0, 0],
    [0, 3.1, 0],
    [0, -3.03, 0],
    [0, 0, 3.06],
    [0.1, 0, -3.04],
]
FRAMES = {
    "large": LARGE,
    "small": SMALL,
    "apart": joined(LARGE, SMALL, apart=12.0),
    "chain": chain(0.0),
    "chain moved": chain(1.0),
    # what may divide by zero
    "atom": frame_of([6], [[1, 2, 3]]),
    "two atoms": frame_of([6, 8], [[0, 0, 0], [0.3, 1.1, 0.2]]),
    "coincident": frame_of([6, 6], [[1, 1, 1], [1, 1, 1]]),
    "coincident beside": frame_of([8, 6, 1], [[0.3, 0, 0], [0.3, 0, 0], [0.4, 1.1, 0.2]]),
    "isolated": frame_of([1, 6, 1], [[0, 0, 0], [50, 0, 0], [0, 70, 0]]),
    # within the long cutoff only, so that all SPHCs are zero and equal
    "spread": frame_of(
        [8, 1, 6, 7, 1, 6, 8],
        [[0, 0, 0], *OCTAHEDRON],
    ),
    "methane": METHANE,
}
PLACE = {name: k for k, name in enumerate(FRAMES)}
ALL = stack(*FRAMES.values())


@pytest.fixture(scope="module", params=CONFIGS)
def model(request):
    """A model, and its predictions for `ALL` in one batch."""
    potential = small_potential(CONFIGS[request.param])
    return potential, potential.predict(ALL)


@pytest.fixture(scope="module")
def endless():
    potential = small_potential(CONFIGS["endless"])
    return potential, potential.predict(ALL)


@pytest.fixture(scope="module")
def ending():
    potential = small_potential(CONFIGS["long cutoff"])
    return potential, potential.predict(ALL)


def alone(result, name: str) -> tuple[float, np.ndarray]:
    return result.energy[PLACE[name]], result.forces[PLACE[name], : FRAMES[name].max_atoms]


def test_a_molecule_alone_is_as_among_others(model):
    potential, expected = model
    found = potential.predict(LARGE)
    energy, forces = alone(expected, "large")
    assert deviation(found.energy, [energy]) < 1e-12
    assert deviation(found.forces[0], forces) < 1e-12
    mixed, lone = potential.attention(ALL).frames(PLACE["large"]), potential.attention(LARGE)
    assert (lone.spherical.nearness > 0.05).any()
    for name in ("receiver", "sender"):
        found, wanted = getattr(mixed.spherical, name), getattr(lone.spherical, name)
        np.testing.assert_array_equal(found, wanted)
    for name in ("distance", "sphc_distance", "nearness"):
        assert deviation(getattr(mixed.spherical, name), getattr(lone.spherical, name)) < 1e-12
    for block in lone.blocks:
        for quantity in QUANTITIES:
            found, wanted = (record._quantity(block, quantity) for record in (mixed, lone))
            assert deviation(found, wanted) < 1e-12


def test_more_room_and_passes_change_nothing(ending, monkeypatch):
    potential, expected = ending
    usual, n = make_batch(ALL, potential.config), ALL.max_atoms
    room = {"atoms": n + 3, "pairs": usual.local.room + 7, "far_pairs": usual.far.room + 11}
    batch = make_batch(ALL, potential.config, **room, dtype=np.float64)
    monkeypatch.setattr(passes, "PAIRS_PER_PASS_ON_CPU", 5 * batch.room)
    assert passes.structures_per_pass(len(batch), batch.room) < len(batch)
    with jax.enable_x64(True):
        params, batch = jax.device_put((potential.params, batch))
        function = partial(energy_and_forces, params, config=potential.config)
        found = Compiled(lambda batch: passes.map_in_passes(function, batch), once=True)(batch)
        energy, forces = jax.device_get(found)
    assert deviation(energy, expected.energy) < 1e-12
    assert deviation(forces[:, :n], expected.forces) < 1e-12
    assert not forces[:, n:].any()


def test_another_order_of_molecules_changes_nothing(model):
    potential, expected = model
    order = np.random.default_rng(0).permutation(len(ALL))
    found = potential.predict(ALL[order])
    assert deviation(found.energy, expected.energy[order]) < 1e-12
    assert deviation(found.forces, expected.forces[order]) < 1e-12


def test_another_order_of_atoms_reorders_the_forces(model):
    potential, expected = model
    order = np.random.default_rng(1).permutation(LARGE.max_atoms)
    other = Frames(LARGE.numbers[:, order], LARGE.positions[:, order])
    found = potential.predict(other)
    energy, forces = alone(expected, "large")
    assert deviation(found.energy, [energy]) < 1e-12
    assert deviation(found.forces[0], forces[order]) < 1e-12


def test_a_list_that_is_too_short_is_named():
    with pytest.raises(UserError, match="36 far_pairs, but the batch was made for 4"):
        make_batch(ALL, CONFIGS["endless"], far_pairs=4)


# -- far and near ----------------------------------------------------------------------------


def test_far_ends_of_a_chain_feel_each_other(endless):
    """A local model's forces depend on what two atoms' reaches can bridge, and on no more."""
    _, found = endless
    reach = (LAYERS + 1) * CUTOFF  # the start of the SPHCs is one more step
    positions = FRAMES["chain"].positions[0]
    assert np.linalg.norm(positions[-1] - positions[0]) > 2 * reach
    first = [alone(found, name)[1][0] for name in ("chain", "chain moved")]
    assert np.abs(first[1] - first[0]).max() > 1e-5 * np.abs(first[0]).max()
    local = small_potential(small_config(sphc_start="smooth"))
    forces = local.predict(stack(FRAMES["chain"], FRAMES["chain moved"])).forces
    np.testing.assert_array_equal(forces[1, 0], forces[0, 0])
    assert np.abs(forces[1, -1] - forces[0, -1]).max() > 1e-3 * np.abs(forces[0]).max()


def test_with_a_long_cutoff_separate_molecules_have_the_sum_of_their_energies(ending):
    """An atom's spherical neighbourhood is taken from those within the long cutoff alone."""
    _, found = ending
    parts = [alone(found, name) for name in ("large", "small")]
    energy, forces = alone(found, "apart")
    assert energy == pytest.approx(sum(part[0] for part in parts), rel=1e-12)
    assert deviation(forces, np.concatenate([part[1] for part in parts])) < 1e-12


def test_without_a_long_cutoff_separate_molecules_are_not_the_sum(endless):
    """The paper's form is not size-consistent: every atom counts in the softmax and in 1/n.

    However far apart two molecules are, the energy of both is not the sum of their energies.
    """
    _, found = endless
    both = sum(alone(found, name)[0] for name in ("large", "small"))
    assert abs(alone(found, "apart")[0] - both) > 1e-4 * abs(both)


def test_a_lone_atom_has_no_force_and_no_neighbours(model):
    potential, found = model
    assert not alone(found, "atom")[1].any()
    assert not alone(found, "isolated")[1].any()
    record = potential.attention(ALL).frames(PLACE["atom"])
    assert record.spherical.n_pairs == 0 and record.matrix(block="spherical").shape == (1, 1)


def test_equal_sphcs_within_the_long_cutoff_are_neighbours(ending):
    """Atoms without local neighbours, all alike at the start, meet in SPHC space."""
    potential, found = ending
    record = potential.attention(ALL).frames(PLACE["spread"])
    far = record.spherical
    assert record.n_pairs == 0 and far.n_pairs == 12 and not far.sphc_distance[0].any()
    assert (far.nearness[0, far.receiver == 0] > 0).all()
    assert record.sphc[1, 0, 0].any() and np.isfinite(alone(found, "spread")[1]).all()
    assert alone(found, "spread")[1].any()


# -- smoothness ------------------------------------------------------------------------------

STEP = 1e-4
RULE = {-2: 1 / 12, -1: -8 / 12, 1: 8 / 12, 2: -1 / 12}  # five points, error of order STEP^4
POINTS = 161


class Path:
    """Geometries R(t), t from 0 to 1, with energies and forces at and around evenly spaced t."""

    def __init__(self, numbers, start, end) -> None:
        self.start, self.along, self.numbers = start, end - start, numbers
        t = np.linspace(0, 1, POINTS)
        around = t[:, None] + STEP * np.array(list(RULE))
        self.points, self.around = self.at(t), self.at(around.ravel())

    def at(self, t: np.ndarray) -> Frames:
        positions = self.start + t[:, None, None] * self.along
        return Frames(np.tile(self.numbers, (len(t), 1)), positions)

    def read(self, energy, forces, record) -> Path:
        """Take what the model says about the points, and the energies around them."""
        self.slope = energy[POINTS:].reshape(POINTS, len(RULE)) @ list(RULE.values()) / STEP
        self.forces, self.record = forces[:POINTS], record
        return self

    def assert_forces_are_slopes(self) -> None:
        expected = -(self.forces * self.along).sum(axis=(1, 2))
        assert deviation(self.slope, expected) < 1e-6

    def assert_forces_do_not_jump(self) -> None:
        """Second differences of a force that jumped would not shrink with the step."""
        bends = []
        for every in (4, 2, 1):
            forces = self.forces[::every]
            bends.append(np.abs(np.diff(forces, n=2, axis=0)).max())
        assert bends[1] < 0.65 * bends[0] and bends[2] < 0.65 * bends[1]


CLUSTER = np.array([[0, 0, 0], [-1.1, 0.3, 0], [-0.2, 1.2, 0.4], [-0.9, -1.0, 0.6], [-1, 0.9, 1.4]])
LEAVER = np.array([6, 8, 7, 6, 1, 1])


def beside_cluster(*place: float) -> np.ndarray:
    return np.concatenate([CLUSTER, [place]])


# one molecule turns into another, by name of the model; an atom leaves a cluster
A, B = molecule(6, seed=6), molecule(6, seed=8)
PATHS = {
    **{name: Path(A.numbers[0], A.positions[0], B.positions[0]) for name in CONFIGS},
    "leaving": Path(LEAVER, beside_cluster(1.6, 0.3, 0.5), beside_cluster(4.6, 0.2, 0.1)),
}
ENDS = LONG - 1e-5, LONG + 1e-5
# the leaving atom just within the reach of the last other one, just beyond, and far off; two atoms
# just within each other's reach and just beyond
AT_THE_END = stack(
    *(frame_of(LEAVER, beside_cluster(d, 0, 0)) for d in (*ENDS, LONG + 2)),
    *(frame_of([6, 1], [[0, 0, 0], [d, 0, 0]]) for d in ENDS),
)


def walk(potential, *paths: Path, more: Frames):
    """Have all paths read in one batch; energies and forces of ``more``, computed with them."""
    size = len(paths[0].points) + len(paths[0].around)
    frames = [part for path in paths for part in (path.points, path.around)]
    energy, forces, _ = potential.predict(stack(*frames, more))
    record = potential.attention(stack(*(path.points for path in paths)))
    for k, path in enumerate(paths):
        own = slice(k * size, (k + 1) * size)
        path.read(energy[own], forces[own], record.frames(slice(k * POINTS, (k + 1) * POINTS)))
    return energy[len(paths) * size :], forces[len(paths) * size :]


@pytest.fixture(scope="module")
def with_end():
    """Paths of the model with a long cutoff, and what happens at the end of it."""
    paths = PATHS["long cutoff"], PATHS["leaving"]
    return walk(small_potential(CONFIGS["long cutoff"]), *paths, more=AT_THE_END)


@pytest.fixture(scope="module")
def without_end():
    return walk(small_potential(CONFIGS["endless"]), PATHS["endless"], more=AT_THE_END)


@pytest.fixture(scope="module", params=CONFIGS)
def path(request) -> Path:
    request.getfixturevalue("without_end" if request.param == "endless" else "with_end")
    return PATHS[request.param]


def test_the_path_crosses_the_border_in_both_directions(path):
    far = path.record.spherical
    ways = set()
    for layer in range(LAYERS):
        for i in range(6):
            for j in range(6):
                chosen = (far.receiver == i) & (far.sender == j)
                inside = np.zeros(POINTS, bool)
                inside[far.frame[chosen]] = far.nearness[layer, chosen] > 0
                # by the softmax: the pair itself is well within a long cutoff all the while
                if chosen.sum() == POINTS and far.distance[chosen].max() < 0.95 * LONG:
                    ways |= set(np.diff(inside.astype(int)).tolist())
    assert ways == {-1, 0, 1}


def test_forces_on_the_path_are_minus_the_slope_of_the_energy(path):
    path.assert_forces_are_slopes()


def test_forces_on_the_path_do_not_jump(path):
    path.assert_forces_do_not_jump()


def test_an_atom_leaves_smoothly(with_end):
    leaving = PATHS["leaving"]
    counts = [len(leaving.record.pairs(k, "spherical")) for k in range(POINTS)]
    assert counts[0] == 30 and counts[-1] == 20 and len(set(counts)) >= 5
    assert (np.diff(counts) <= 0).all()
    leaving.assert_forces_are_slopes()
    leaving.assert_forces_do_not_jump()


def test_the_energy_does_not_jump_where_an_atom_becomes_isolated(with_end):
    energy, forces = with_end
    within, beyond, off, pair_within, pair_beyond = range(5)
    assert abs(energy[within] - energy[beyond]) < 1e-8
    assert abs(energy[pair_within] - energy[pair_beyond]) < 1e-8
    change = np.abs(forces[within] - forces[beyond]).max()
    assert change < 1e-3 * np.abs(forces[beyond]).max()
    assert energy[beyond] == pytest.approx(energy[off], rel=1e-12)
    assert not forces[beyond, -1].any()


# -- nothing that is not a number ------------------------------------------------------------


def test_odd_molecules_have_finite_energies_and_forces(model):
    _, found = model
    assert np.isfinite(found.energy).all() and np.isfinite(found.forces).all()
    np.testing.assert_allclose(alone(found, "coincident")[1], 0, atol=1e-12)


def test_forces_keep_the_symmetry_of_methane(model):
    """Equal atoms have SPHCs of equal distance; what rounding leaves must not act."""
    _, found = model
    forces, corners = alone(found, "methane")[1], METHANE.positions[0, 1:]
    size = (forces[1:] * corners).sum(axis=1) / (corners[0] @ corners[0])
    assert deviation(forces[1:], size[:, None] * corners) < 1e-9
    assert np.ptp(size) < 1e-9 * abs(size[0]) and np.abs(forces[0]).max() < 1e-9 * abs(size[0])


def test_odd_molecules_leave_the_gradient_of_the_loss_finite_in_float32():
    potential = small_potential(CONFIGS["long cutoff"], "float32")
    rng = np.random.default_rng(2)
    batch = make_batch(ALL, potential.config)
    energy = rng.normal(size=len(ALL)).astype(np.float32)
    forces = rng.normal(size=batch.displacement.shape).astype(np.float32)
    target = Labelled(batch, energy, forces, np.ones_like(energy))
    weights = Weights(energy=0.01, forces=0.99)
    gradient = Compiled(loss_and_gradient, once=True, static_argnums=2)
    found = gradient(potential.params, target, potential.config, weights)
    value, gradient = jax.device_get(found)
    assert np.isfinite(value)  # and so are all energies and forces
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(gradient))


# -- periodic cells --------------------------------------------------------------------------

# a strained, rattled diamond cell: two atoms, every vector shorter than the cutoff
RNG = np.random.default_rng(5)
CELL = 1.785 * (np.ones((3, 3)) - np.eye(3)) @ (np.eye(3) + RNG.normal(size=(3, 3)) * 0.03)
SITES = np.array([[0.0, 0.0, 0.0], [0.25, 0.25, 0.25]]) @ CELL + RNG.normal(size=(2, 3)) * 0.05
VOIGT = [(0, 0), (1, 1), (2, 2), (1, 2), (0, 2), (0, 1)]


def crystal(cell=CELL, positions=SITES, numbers=(6, 8)) -> Frames:
    return frame_of(numbers, positions, cell=cell[None], pbc=np.ones((1, 3), bool))


def strained(component: tuple[int, int], size: float) -> Frames:
    strain = np.eye(3)
    strain[component] += size / 2
    strain[component[::-1]] += size / 2
    return crystal(CELL @ strain, SITES @ strain)


def test_a_periodic_structure_without_long_cutoff_is_refused_in_a_sentence():
    potential = small_potential(CONFIGS["endless"])
    for ask in (potential.predict, potential.attention):
        with pytest.raises(UserError, match=r"^Frame 0 is periodic .* long_cutoff.*\.$") as error:
            ask(crystal())
        assert "\n" not in str(error.value) and len(str(error.value)) < 200


def test_stress_and_forces_of_a_crystal_are_slopes_of_the_energy():
    doubled = np.diag([2.0, 1.0, 1.0]) @ CELL
    frames = [crystal(), crystal(doubled, np.concatenate([SITES, SITES + CELL[0]]), (6, 8) * 2)]
    for step in RULE:
        frames += [strained(component, step * STEP) for component in VOIGT]
        moves = step * STEP * np.eye(6).reshape(6, 2, 3)
        frames += [crystal(positions=SITES + move) for move in moves]
    potential = small_potential(CONFIGS["long cutoff"])
    energy, forces, stress = potential.predict(stack(*frames), stress=True)
    slopes = np.tensordot(list(RULE.values()), energy[2:].reshape(4, 12), axes=1) / STEP
    volume = abs(np.linalg.det(CELL))
    assert deviation([stress[0][c] for c in VOIGT], slopes[:6] / volume) < 1e-7
    assert deviation(forces[0, :2], -slopes[6:].reshape(2, 3)) < 1e-7
    # a supercell is several cells: images count as atoms do
    assert energy[1] == pytest.approx(2 * energy[0], rel=1e-11)
    assert deviation(stress[1], stress[0]) < 1e-10


# -- the calculator --------------------------------------------------------------------------


def rattled(atoms: Atoms, steps: int, size: float) -> list[Atoms]:
    rng, images = np.random.default_rng(3), []
    for _ in range(steps):
        atoms = atoms.copy()
        atoms.positions += rng.normal(0, size, atoms.positions.shape)
        images.append(atoms)
    return images


def fresh(calculator: So3kratesCalculator, atoms: Atoms) -> tuple[np.ndarray, ...]:
    """What the potential says with lists made for these positions and cutoffs alone."""
    frames = Frames.from_atoms(atoms)
    kept = calculator._batch  # in arrays of the same size, which saves a compilation
    room = {"pairs": kept.local.room, "far_pairs": kept.far.room}
    potential = calculator.potential
    batch = make_batch(frames, potential.config, **room, dtype=np.float64)
    return potential.predict_batch(batch, stress=frames.is_periodic)


@pytest.mark.parametrize(
    ("name", "periodic"),
    [("endless", False), ("long cutoff", False), ("long cutoff", True)],
    ids=["endless", "long cutoff", "crystal"],
)
def test_kept_lists_equal_fresh_ones(name, periodic):
    if periodic:
        atoms = Atoms([6, 8], SITES, cell=CELL, pbc=True)
    else:
        atoms = Atoms(LARGE.numbers[0], LARGE.positions[0])
    calculator = So3kratesCalculator(small_potential(CONFIGS[name]))
    images = rattled(atoms, 40, 0.03)
    counts = set()
    for image in images:
        forces = calculator.get_forces(image)
        energy, *expected = fresh(calculator, image)
        assert calculator.get_potential_energy(image) == pytest.approx(energy[0], rel=1e-12)
        np.testing.assert_allclose(forces, expected[0][0], rtol=0, atol=1e-11)
        if periodic:
            stress = [expected[1][0][component] for component in VOIGT]
            np.testing.assert_allclose(calculator.get_stress(image), stress, rtol=0, atol=1e-11)
        lists = make_batch(Frames.from_atoms(image), CONFIGS[name])
        counts.add((int(lists.local.mask.sum()), int(lists.far.mask.sum())))
    assert 2 <= calculator.n_lists < len(images)
    assert len(counts) > 1  # pairs came and went


def test_the_calculator_equals_predict(endless):
    potential, _ = endless
    atoms = Atoms(LARGE.numbers[0], LARGE.positions[0])
    energy, forces, _ = potential.predict(LARGE)
    calculator = So3kratesCalculator(potential, skin=0.0)
    np.testing.assert_allclose(calculator.get_forces(atoms), forces[0], rtol=0, atol=1e-12)
    assert calculator.get_potential_energy(atoms) == pytest.approx(energy[0], rel=1e-12)


def test_the_calculator_refuses_a_crystal_without_long_cutoff():
    with pytest.raises(UserError, match="long_cutoff"):
        So3kratesCalculator(small_potential(CONFIGS["endless"])).get_potential_energy(
            Atoms([6, 8], SITES, cell=CELL, pbc=True)
        )


def test_no_weight_is_negative_by_rounding():
    ratio = np.linspace(0.9, 1.1, 20001, dtype=np.float32)
    value = np.asarray(polynomial_cutoff(ratio))
    assert (value >= 0).all() and (value[ratio >= 1] == 0).all() and value[0] > 0
