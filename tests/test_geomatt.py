"""GeomAtt: the original's numbers, an independent oracle, and what it promises by construction."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import jax
import numpy as np
import pytest
from numpy_geomatt import correlation, geomatt
from small import deviation, frame_of, molecule, one_atom_batch, small_potential, stack

from so3krates_lite.config import GeomAttConfig, ModelConfig
from so3krates_lite.energies import initialise
from so3krates_lite.errors import UserError
from so3krates_lite.geomatt import GeomAtt
from so3krates_lite.potential import Potential
from so3krates_lite.runtime import settings
from so3krates_lite.structures.frames import Frames

pytestmark = pytest.mark.usefixtures("quick_compilation")

SMALL = GeomAttConfig(features=6, inner=8, layers=2, grid_end=2.0, grid_spacing=0.1, gamma=10.0)
VARIANTS = {
    "2, 3, 4": SMALL,
    "shared 3, 4, 5": replace(SMALL, orders=(3, 4, 5), shared=True),
    "6 alone": replace(SMALL, orders=(6,), inner=16, layers=1),
}
ORIGINAL = Path(__file__).parent / "reference" / "geomatt.npz"


# -- the original's numbers -----------------------------------------------------------------------


def original(name: str) -> tuple[GeomAttConfig, dict, dict[str, np.ndarray]]:
    """Configuration, parameters in our form, and results of one case."""
    with np.load(ORIGINAL) as archive:
        values = {key.removeprefix(f"{name}/"): archive[key] for key in archive.files}
    state = {
        key.removeprefix("params/"): v for key, v in values.items() if key.startswith("params")
    }
    config = replace(
        SMALL,
        orders=tuple(values["orders"].tolist()),
        gamma=20.0,
        shared=name == "shared",
    )
    embedding = np.zeros((100, 6))
    for symbol, number in (("H", 1), ("C", 6), ("O", 8)):
        embedding[number] = state[f"{symbol}_embeddings"][0, 0]
    params = {
        "embedding": embedding,
        "head_hidden": linear(state, "energy_extractor.Q"),
        "head_out": linear(state, "energy_extractor.R"),
    }
    for number, order in enumerate(config.orders):
        layers = [f"geom_att.streams.{number}.interactions.{layer}" for layer in range(2)]
        letters = "QRST"[: config.factors(order)]
        maps = {}
        for ours, theirs in (("centre", "_0"), ("neighbour", "")):
            for part in ("kernel", "bias"):
                maps[f"{ours}_{part}"] = np.stack(
                    [
                        [linear(state, f"{at}.correlator.{q}{theirs}")[part] for q in letters]
                        for at in layers
                    ]
                )
        params[f"order_{order}"] = {
            "correlator": maps,
            **{f"value_{layer}": linear(state, f"{at}.W") for layer, at in enumerate(layers)},
        }
    return config, params, values


def linear(state: dict, name: str) -> dict[str, np.ndarray]:
    return {"kernel": state[f"{name}.weight"].T, "bias": state[f"{name}.bias"]}


@pytest.mark.parametrize("name", ["default", "shared", "five"])
def test_energy_forces_and_attention_are_the_original_s(name):
    config, params, expected = original(name)
    frames = Frames(numbers=np.tile(expected["numbers"], (2, 1)), positions=expected["positions"])
    potential = Potential(config, params)
    found = potential.predict(frames, allow_unknown_elements=True)
    assert deviation(found.energy, expected["energy"]) < 1e-12
    assert deviation(found.forces, expected["forces"]) < 1e-12
    record = potential.attention(frames)
    for layer in range(2):
        for channel, order in enumerate(config.orders):
            for frame in range(2):
                alpha = record.matrix(frame, "correlation", layer, channel)
                assert deviation(alpha, expected[f"alpha_{order}"][layer, frame]) < 1e-12


def test_the_paper_s_defaults_have_the_original_s_number_of_parameters():
    config = GeomAttConfig()
    batch = one_atom_batch(config)
    shapes = jax.eval_shape(lambda: initialise.function(jax.random.key(0), batch, config))
    sizes = jax.tree.map(lambda leaf: leaf.size, shapes)
    table = sizes.pop("embedding")
    assert table == 100 * 128
    assert sum(jax.tree.leaves(sizes)) + 4 * 128 == 436_545


# -- an independent oracle ------------------------------------------------------------------------


@pytest.fixture(scope="module", params=VARIANTS, ids=str)
def variant(request) -> GeomAttConfig:
    return VARIANTS[request.param]


@pytest.fixture(scope="module")
def frames() -> Frames:
    """Four atoms, one atom, three atoms: padded in one batch."""
    return stack(molecule(4, 1, span=2.5), molecule(1, 2), molecule(3, 3, span=2.0))


MOVED = molecule(5, 7)
STEP = 1e-4
ODD = stack(
    frame_of([1, 6, 6], [[0, 0, 0], [0, 0, 0], [1, 0, 0]]),  # two atoms on one place
    frame_of([8], [[0, 0, 0]]),
)


def moves() -> dict[str, tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """Elements and places of `MOVED` as it stands and elsewhere, and how its forces turn."""
    rng = np.random.default_rng(0)
    Q = np.linalg.qr(rng.normal(size=(3, 3)))[0]
    Q = Q * np.sign(np.linalg.det(Q))
    R, Z = MOVED.positions[0], MOVED.numbers[0]
    return {
        "at rest": (Z, R, np.eye(3)),
        "rotation": (Z, R @ Q.T, Q),
        "reflection": (Z, R @ (-Q).T, -Q),
        "translation": (Z, R + np.array([30.0, -7.0, 2.0]), np.eye(3)),
        "permutation": (Z[ORDER], R[ORDER], np.eye(3)),
    }


ORDER = np.random.default_rng(1).permutation(5)


def displaced() -> Frames:
    """Four atoms, and each of their coordinates a step further and a step back."""
    frame = molecule(4, 9, span=2.5)
    R = np.repeat(frame.positions, 25, axis=0)
    for k in range(12):
        R[2 * k + 1, k // 3, k % 3] += STEP
        R[2 * k + 2, k // 3, k % 3] -= STEP
    return Frames(np.repeat(frame.numbers, 25, axis=0), R)


@pytest.fixture(scope="module")
def answers(variant, frames):
    """What a model says of all structures of the tests below, in one batch; by their names."""
    images = stack(*(frame_of(Z, R) for Z, R, _ in moves().values()))
    parts = {"frames": frames, "images": images, "displaced": displaced(), "odd": ODD}
    potential = small_potential(variant)
    found = potential.predict(stack(*parts.values()))
    ends = np.cumsum([len(part) for part in parts.values()])
    energy, forces = (np.split(values, ends[:-1]) for values in found[:2])
    by_name = dict(zip(parts, zip(energy, forces, strict=True), strict=True))
    record = potential.attention(stack(frames, images))
    return by_name, record


def test_energy_and_correlations_agree_with_the_oracle(variant, frames, answers):
    params, (energies, _), record = (
        small_potential(variant).params,
        answers[0]["frames"],
        answers[1],
    )
    for k in range(len(frames)):
        n = int(frames.n_atoms[k])
        Z, R = frames.numbers[k, :n], frames.positions[k, :n]
        energy, correlations = geomatt(params, Z, R, variant)
        assert energies[k] == pytest.approx(energy, rel=1e-10)
        for channel, order in enumerate(variant.orders):
            for layer in range(variant.layers):
                C = record.matrix(k, "correlation", layer, channel, "coefficient")
                assert deviation(C, correlations[order][layer]) < 1e-10


ORDERS = (2, 3, 4, 5, 6, 7)


@pytest.fixture(scope="module", params=[False, True], ids=["each its own", "shared"])
def of_all_orders(request):
    """Is it shared, parameters, and correlations of three atoms by one network of all orders."""
    config = replace(SMALL, orders=ORDERS, inner=32, layers=1, shared=request.param)
    potential = small_potential(config)
    return request.param, config, potential.params, potential.attention(THREE)


THREE = molecule(3, 5, span=2.0)


@pytest.mark.parametrize("order", ORDERS)
def test_one_correlator_serves_all_orders(order, of_all_orders):
    shared, config, params, record = of_all_orders
    C = record.matrix(0, "correlation", 0, ORDERS.index(order), quantity="coefficient")
    p = params[f"order_{order}"]["correlator"]
    expected = correlation(p, 0, order, THREE.positions[0], config)
    assert deviation(C, expected) < 1e-10
    if order == 2 or shared:  # equal factors read the same from both ends
        np.testing.assert_allclose(C, C.T, rtol=1e-10)
    elif order > 2:
        assert deviation(C, C.T) > 1e-3


# -- what holds by construction -------------------------------------------------------------------


def test_rotations_reflections_translations_and_permutations_change_nothing(
    variant, frames, answers
):
    (energy, forces), record = answers[0]["images"], answers[1]
    first = len(frames)
    for k, (name, (_, _, turn)) in enumerate(moves().items()):
        order = ORDER if name == "permutation" else np.arange(5)
        assert energy[k] == pytest.approx(energy[0], rel=1e-10), name
        assert deviation(forces[k], forces[0][order] @ turn.T) < 1e-9, name
        for channel in range(len(variant.orders)):
            before = record.matrix(first, "correlation", -1, channel)[np.ix_(order, order)]
            found = record.matrix(first + k, "correlation", -1, channel)
            assert deviation(found, before) < 1e-9, name


def test_a_structure_does_not_notice_its_batch(variant, frames, answers):
    potential, (energy, forces) = small_potential(variant), answers[0]["frames"]
    for k in range(len(frames)):
        alone = potential.predict(frames[k].trimmed())
        assert energy[k] == pytest.approx(alone.energy[0], rel=1e-12)
        n = int(frames.n_atoms[k])
        np.testing.assert_allclose(forces[k, :n], alone.forces[0], atol=1e-12)
        assert not forces[k, n:].any()


def test_forces_are_the_energy_s_slope(answers):
    energy, forces = answers[0]["displaced"]
    slope = (energy[1::2] - energy[2::2]) / (2 * STEP)
    assert deviation(forces[0, :4].reshape(-1), -slope) < 1e-6


def test_atoms_on_one_place_and_atoms_alone_give_finite_numbers(answers):
    energy, forces = answers[0]["odd"]
    assert np.isfinite(energy).all() and np.isfinite(forces).all()
    np.testing.assert_allclose(forces[1], 0, atol=1e-12)


def test_both_precisions_agree(variant, frames, answers):
    single, (energy, forces) = small_potential(variant, "float32"), answers[0]["frames"]
    assert single.dtype == np.float32
    found = single.predict(frames)
    assert deviation(found.energy, energy) < 1e-4
    assert deviation(found.forces, forces[:, : frames.max_atoms]) < 1e-3


def test_it_is_not_size_consistent_and_says_so():
    """Without a cutoff, and with biases in the maps, atoms 100 Å apart still correlate."""
    potential = small_potential(SMALL)
    one = frame_of([6, 1], [[0, 0, 0], [1.1, 0, 0]])
    two = frame_of([6, 1, 6, 1], [[0, 0, 0], [1.1, 0, 0], [100, 0, 0], [101.1, 0, 0]])
    single, double = potential.predict(one).energy[0], potential.predict(two).energy[0]
    assert abs(double - 2 * single) > 1e-3
    assert "Not size-consistent" in GeomAtt.__doc__


# -- shortcuts ------------------------------------------------------------------------------------


def test_parameters_begin_as_the_original_s():
    """Even draws within 1/sqrt(D) for maps and biases, sqrt(6/F) for elements."""
    config = GeomAttConfig(features=64, inner=64, orders=(3,))
    params = Potential.random(config).params
    maps = params["order_3"]["correlator"]
    for name, bound in (
        ("centre_kernel", 0.1),
        ("neighbour_kernel", 0.1),
        ("centre_bias", 0.1),
        ("neighbour_bias", 0.1),
    ):
        values = np.asarray(maps[name])
        assert 0.97 * bound < np.abs(values).max() <= bound
        assert values.std() == pytest.approx(bound / 3**0.5, rel=0.1)
    table = np.asarray(params["embedding"])
    assert np.abs(table).max() == pytest.approx((6 / 64) ** 0.5, rel=0.01)
    assert np.abs(np.asarray(params["order_3"]["value_0"]["kernel"])).max() <= 1 / 8


# -- refusals -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "setting",
    [
        {"orders": ()},
        {"orders": (1, 2)},
        {"orders": (3, 2)},
        {"orders": 3},
        {"features": 0},
        {"layers": 1.5},
        {"inner": 6, "orders": (2, 4)},
        {"grid_end": 0},
        {"grid_spacing": -0.1},
        {"grid_spacing": 9.0},
        {"gamma": float("inf")},
    ],
    ids=str,
)
def test_impossible_setting_is_named(setting):
    with pytest.raises(UserError, match=next(iter(setting))):
        GeomAttConfig(**setting)


def test_settings_survive_a_round_trip_and_say_which_model_they_are():
    values = VARIANTS["shared 3, 4, 5"].to_dict()
    assert values["architecture"] == "geomatt" and values["orders"] == [3, 4, 5]
    assert ModelConfig.from_dict(values) == VARIANTS["shared 3, 4, 5"]
    with pytest.raises(UserError, match=r"'schnet'.*knows so3krates, geomatt"):
        ModelConfig.from_dict({"architecture": "schnet"})


def test_a_periodic_structure_is_refused():
    periodic = frame_of([6], [[0, 0, 0]], cell=np.eye(3)[None] * 5, pbc=np.ones((1, 3), bool))
    with pytest.raises(UserError, match=r"periodic.*takes all pairs"):
        small_potential(SMALL).predict(periodic)


def test_too_large_a_structure_is_refused_before_memory_runs_out(monkeypatch):
    monkeypatch.setattr(settings, "available_memory", lambda: 2**20)
    large = Frames(np.ones((1, 300), int), np.random.default_rng(0).normal(size=(1, 300, 3)) * 9)
    with pytest.raises(UserError, match=r"300 atoms needs about .* GB.*fewer orders"):
        small_potential(SMALL).predict(large)
