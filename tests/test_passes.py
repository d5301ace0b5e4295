"""Cutting a batch into passes, dropping what the reverse sweep needs, and XLA's options change
how fast and in how much memory something is computed, never what."""

from __future__ import annotations

from functools import partial

import jax
import numpy as np
import pytest
from small import PHYSICS, deviation, molecule, quickly, small_config, small_potential, stack

from benchmarks.systems import water_box
from so3krates_lite import model, passes, potential
from so3krates_lite.energies import energy, energy_and_forces, energy_forces_and_stress
from so3krates_lite.runtime import settings
from so3krates_lite.structures.batching import make_batch
from so3krates_lite.training.objective import (
    Labelled,
    Weights,
    _loss_and_gradient,
    loss_and_gradient,
)

CONFIG = small_config()
FRAMES = stack(*(molecule(3 + seed % 3, seed=seed) for seed in range(7)))
PAIRS = 10


def labelled(config=CONFIG) -> Labelled:
    rng = np.random.default_rng(1)
    room = {"atoms": 5, "pairs": PAIRS, "far_pairs": PAIRS}
    batch = make_batch(FRAMES, config, **room, dtype=np.float64)
    weight = np.ones(len(FRAMES))
    weight[2] = 0
    energy, forces = rng.normal(size=len(FRAMES)), rng.normal(size=(len(FRAMES), 5, 3))
    return Labelled(batch, energy, forces, weight)


@pytest.mark.parametrize("graphs, most, expected", [(7, 3, 3), (8, 3, 3), (100, 28, 25), (5, 9, 5)])
def test_passes_are_even_and_fit(monkeypatch, graphs, most, expected):
    monkeypatch.setattr(passes, "PAIRS_PER_PASS_ON_CPU", most * PAIRS)
    assert passes.structures_per_pass(graphs, PAIRS) == expected


def test_a_structure_too_large_for_a_pass_is_one_of_its_own():
    assert passes.structures_per_pass(3, 10 * passes.PAIRS_PER_PASS_ON_CPU) == 1


def test_an_accelerator_takes_all_at_once(monkeypatch):
    monkeypatch.setattr(jax, "default_backend", lambda: "gpu")
    assert passes.structures_per_pass(1000, 1000) == 1000


def test_every_structure_counts_in_one_pass_only():
    index, counts = jax.device_get(passes.pass_index(7, 3))
    assert index.shape == counts.shape == (3, 3)
    assert index[counts].tolist() == list(range(7))
    assert index.max() == 6  # what fills the last pass up is a real structure


def test_energies_and_forces_in_passes_are_those_at_once(monkeypatch):
    monkeypatch.setattr(passes, "PAIRS_PER_PASS_ON_CPU", 3 * PAIRS)
    with jax.enable_x64(True):
        # closed over, and so to be on the device
        params, batch = jax.device_put((small_potential(CONFIG).params, labelled().batch))
        function = partial(energy_and_forces, params, config=CONFIG)
        expected = jax.device_get(jax.jit(function)(batch))
        found = jax.jit(partial(passes.map_in_passes, function))(batch)
        found = jax.device_get(found)
    assert np.ptp(expected[0]) > 1e-3
    for mine, plain in zip(found, expected, strict=True):
        np.testing.assert_allclose(mine, plain, rtol=0, atol=1e-12)


def test_loss_and_gradient_in_passes_are_those_at_once(monkeypatch):
    weights = Weights(energy=0.3, forces=0.7)

    def computed():
        function = jax.jit(lambda params, part: loss_and_gradient(params, part, CONFIG, weights))
        return jax.device_get(function(small_potential(CONFIG).params, labelled()))

    with jax.enable_x64(True):
        value, gradient = computed()
        # passes of three: the last holds one structure and two that only fill it up
        monkeypatch.setattr(passes, "PAIRS_PER_PASS_ON_CPU", 3 * PAIRS)
        found_value, found = computed()
    assert abs(found_value - value) < 1e-12 * abs(value)
    largest = max(np.abs(leaf).max() for leaf in jax.tree.leaves(gradient))
    for mine, plain in zip(jax.tree.leaves(found), jax.tree.leaves(gradient), strict=True):
        assert np.abs(mine - plain).max() < 1e-12 * largest


@pytest.mark.parametrize("variant, most", [("paper", 4), ("v0.3", 23), ("so3lr", 23)])
def test_pairs_in_passes_give_the_same_energies_forces_stress_and_gradient(
    monkeypatch, variant, most
):
    """70 places for pairs, some of them padding, in passes of 4, or of 18 with two to fill up."""
    more = PHYSICS if variant == "so3lr" else {}
    config, weights = small_config(variant=variant, **more), Weights(energy=0.3, forces=0.7)
    params = small_potential(config).params
    target = labelled(config)
    edges = np.arange(4, 4 + len(FRAMES))[:, None, None] * np.eye(3)
    target = target.replace(batch=target.batch.replace(cell=edges))
    collected = []
    in_passes = passes._in_passes

    def counted(messages, size, *inputs):
        collected.append(size)
        return in_passes(messages, size, *inputs)

    def computed():
        def everything(params, target):
            values = energy_forces_and_stress(params, target.batch, config)
            return *values, _loss_and_gradient(params, target, config, weights, (6.0, 60.0))

        return jax.device_get(jax.jit(everything)(params, target))

    monkeypatch.setattr(passes, "_in_passes", counted)
    with jax.enable_x64(True):
        expected = computed()
        assert not collected  # 70 pairs fit one pass
        monkeypatch.setattr(passes, "PAIRS_PER_PASS_ON_CPU", most)
        found = computed()
    assert set(collected) == {-(-70 // -(-70 // most))}
    assert np.abs(expected[2]).max() > 1e-6
    largest = max(np.abs(leaf).max() for leaf in jax.tree.leaves(expected[3]))
    for mine, plain in zip(jax.tree.leaves(found), jax.tree.leaves(expected), strict=True):
        assert np.abs(mine - plain).max() < 1e-12 * max(largest, 1)


def test_what_is_cut_at_pairs_has_no_forward_derivative_by_its_parameters(monkeypatch):
    monkeypatch.setattr(passes, "PAIRS_PER_PASS_ON_CPU", 20)
    params, batch = small_potential(CONFIG, "float32").params, make_batch(FRAMES, CONFIG)

    def of(params):
        return energy(params, batch, CONFIG, collect=passes.collect_for_forward)

    with pytest.raises(NotImplementedError, match="parameters"):
        jax.jvp(of, (params,), (params,))


@pytest.mark.parametrize("variant", ["paper", "v0.3"])
def test_what_is_kept_for_the_reverse_sweep_changes_nothing(monkeypatch, variant):
    weights, config = Weights(energy=0.3, forces=0.7), small_config(variant=variant)
    params = small_potential(config).params
    few = len(FRAMES) * PAIRS
    found = []
    # everything kept, filters kept, and all computed anew
    for most, filters in ((few, few), (few - 1, few), (few - 1, 0)):
        monkeypatch.setattr(model, "PAIRS_KEPT", most)
        monkeypatch.setattr(model, "FILTERS_KEPT", filters)
        with jax.enable_x64(True):
            function = jax.jit(
                lambda params, part: (
                    loss_and_gradient(params, part, config, weights),
                    energy_and_forces(params, part.batch, config),
                )
            )
            traced = function.trace(params, labelled())
            found.append(jax.tree.leaves(jax.device_get(function(params, labelled()))))
        assert ("prevent_cse" in str(traced.jaxpr)) == (most < few)
    for everything, *others in zip(*found, strict=True):
        for other in others:
            np.testing.assert_allclose(everything, other, rtol=1e-10, atol=1e-12)


def test_pairs_of_a_large_structure_are_never_all_computed_at_once(monkeypatch):
    """In 300 atoms of water they would need several times the memory."""
    config, needed = small_config(features=48), []
    params = small_potential(config, "float32").params
    batch = make_batch(water_box(100), config)
    for most in (batch.room, batch.room // 10):
        monkeypatch.setattr(passes, "PAIRS_PER_PASS_ON_CPU", most)
        compiled = jax.jit(partial(energy_and_forces, config=config)).lower(params, batch).compile()
        needed.append(compiled.memory_analysis().temp_size_in_bytes)
    assert needed[1] < needed[0] / 3, needed


@pytest.mark.parametrize("filters_kept", [False, True])
def test_forces_of_more_layers_keep_little_more(filters_kept, monkeypatch):
    """Only x and chi of a layer wait for the reverse sweep, of few pairs the filters, too."""
    monkeypatch.setattr(model, "PAIRS_KEPT", 0)
    monkeypatch.setattr(model, "FILTERS_KEPT", 1000 if filters_kept else 0)
    kept = []
    batch = make_batch(FRAMES, CONFIG, atoms=5, pairs=PAIRS)
    for layers in (2, 12):
        config = small_config(layers=layers)
        params = small_potential(config, "float32").params
        compiled = jax.jit(partial(energy_and_forces, config=config)).lower(params, batch).compile()
        kept.append(compiled.memory_analysis().temp_size_in_bytes)
    state = batch.numbers.size * (CONFIG.features + 8) * 4
    filters = 2 * batch.local.mask.size * CONFIG.features * 4
    more = (kept[1] - kept[0]) / 10
    # their cotangents and the parameters' slices may double x and chi
    assert (filters < more < 2 * state + filters) if filters_kept else more < 4 * state


def test_an_option_that_xla_does_not_know_is_left_alone(monkeypatch):
    def refuse(function, compiler_options=None):
        raise jax.errors.JaxRuntimeError("INVALID_ARGUMENT: No such compile option")

    settings.compiler_options.cache_clear()
    with monkeypatch.context() as patch:
        patch.setattr(jax, "jit", refuse)
        patch.setattr(jax, "default_backend", lambda: "cpu")
        assert settings.compiler_options() == {}
        assert settings.compiler_options(once=True) == {"xla_backend_optimization_level": 0}
    settings.compiler_options.cache_clear()


def test_a_compiled_function_is_jax_s_own():
    compiled = settings.Compiled(lambda x: 2 * x)
    assert float(compiled(3.0)) == 6
    assert compiled.lower(3.0).compile()(4.0) == 8


def test_what_is_compiled_quickly_for_tests_has_the_numbers_of_full_compilation():
    config = small_config(sphc_start="smooth", spherical_radius=1.5, long_cutoff=4.0)
    ours, compiled = small_potential(config), potential._energy_and_forces
    full, usual = ours.predict(FRAMES), compiled.jitted
    with quickly():
        quick = ours.predict(FRAMES)
        assert compiled.jitted is not usual and compiled._cache_size() > 0
    assert compiled.jitted is usual
    assert deviation(quick.energy, full.energy) < 1e-13
    assert deviation(quick.forces, full.forces) < 1e-12
    assert not np.array_equal(quick.forces, full.forces)  # compiled otherwise, indeed
