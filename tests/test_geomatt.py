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
from so3krates_lite.errors import UserError
from so3krates_lite.geomatt import GeomAtt
from so3krates_lite.potential import Potential, initialise
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


def test_energy_and_correlations_agree_with_the_oracle(variant, frames):
    potential = small_potential(variant)
    found, record = potential.predict(frames), potential.attention(frames)
    for k in range(len(frames)):
        n = int(frames.n_atoms[k])
        Z, R = frames.numbers[k, :n], frames.positions[k, :n]
        energy, correlations = geomatt(potential.params, Z, R, variant)
        assert found.energy[k] == pytest.approx(energy, rel=1e-10)
        for channel, order in enumerate(variant.orders):
            for layer in range(variant.layers):
                C = record.matrix(k, "correlation", layer, channel, "coefficient")
                assert deviation(C, correlations[order][layer]) < 1e-10


@pytest.mark.parametrize("order", [2, 3, 4, 5, 6, 7])
@pytest.mark.parametrize("shared", [False, True])
def test_one_correlator_serves_all_orders(order, shared):
    config = replace(SMALL, orders=(order,), inner=32, layers=1, shared=shared)
    potential, frames = small_potential(config), molecule(3, 5, span=2.0)
    C = potential.attention(frames).matrix(0, "correlation", quantity="coefficient")
    p = potential.params[f"order_{order}"]["correlator"]
    expected = correlation(p, 0, order, frames.positions[0], config)
    assert deviation(C, expected) < 1e-10
    if order == 2 or shared:  # equal factors read the same from both ends
        np.testing.assert_allclose(C, C.T, rtol=1e-10)
    elif order > 2:
        assert deviation(C, C.T) > 1e-3


# -- what holds by construction -------------------------------------------------------------------


def test_rotations_reflections_translations_and_permutations_change_nothing(variant):
    frames = molecule(5, 7)
    rng = np.random.default_rng(0)
    Q = np.linalg.qr(rng.normal(size=(3, 3)))[0]
    Q = Q * np.sign(np.linalg.det(Q))
    index = rng.permutation(5)
    R, Z = frames.positions[0], frames.numbers[0]
    moves = {
        "rotation": (Z, R @ Q.T, Q),
        "reflection": (Z, R @ (-Q).T, -Q),
        "translation": (Z, R + np.array([30.0, -7.0, 2.0]), np.eye(3)),
        "permutation": (Z[index], R[index], np.eye(3)),
    }
    images = stack(frames, *(frame_of(Z, R) for Z, R, _ in moves.values()))
    potential = small_potential(variant)
    found, record = potential.predict(images), potential.attention(images)
    for k, (name, (_, _, turn)) in enumerate(moves.items(), start=1):
        order = index if name == "permutation" else np.arange(5)
        assert found.energy[k] == pytest.approx(found.energy[0], rel=1e-10), name
        assert deviation(found.forces[k], found.forces[0][order] @ turn.T) < 1e-9, name
        for channel in range(len(variant.orders)):
            before = record.matrix(0, "correlation", -1, channel)[np.ix_(order, order)]
            assert deviation(record.matrix(k, "correlation", -1, channel), before) < 1e-9, name


def test_a_structure_does_not_notice_its_batch(variant, frames):
    potential = small_potential(variant)
    together = potential.predict(frames)
    for k in range(len(frames)):
        alone = potential.predict(frames[k].trimmed())
        assert together.energy[k] == pytest.approx(alone.energy[0], rel=1e-12)
        n = int(frames.n_atoms[k])
        np.testing.assert_allclose(together.forces[k, :n], alone.forces[0], atol=1e-12)
        assert not together.forces[k, n:].any()


def test_forces_are_the_energy_s_slope(variant):
    frames, potential, step = molecule(4, 9, span=2.5), small_potential(variant), 1e-4
    moved = np.repeat(frames.positions, 24, axis=0)
    for k in range(12):
        moved[2 * k, k // 3, k % 3] += step
        moved[2 * k + 1, k // 3, k % 3] -= step
    energy = potential.predict(Frames(np.repeat(frames.numbers, 24, axis=0), moved)).energy
    slope = (energy[::2] - energy[1::2]) / (2 * step)
    assert deviation(potential.predict(frames).forces[0].reshape(-1), -slope) < 1e-6


def test_atoms_on_one_place_and_atoms_alone_give_finite_numbers(variant):
    together = frame_of([1, 6, 6], [[0, 0, 0], [0, 0, 0], [1, 0, 0]])
    alone = frame_of([8], [[0, 0, 0]])
    found = small_potential(variant).predict(stack(together, alone))
    assert np.isfinite(found.energy).all() and np.isfinite(found.forces).all()
    np.testing.assert_allclose(found.forces[1], 0, atol=1e-12)


def test_both_precisions_agree(variant, frames):
    single, double = (small_potential(variant, p) for p in ("float32", "float64"))
    assert single.dtype == np.float32
    a, b = single.predict(frames), double.predict(frames)
    assert deviation(a.energy, b.energy) < 1e-4
    assert deviation(a.forces, b.forces) < 1e-3


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
