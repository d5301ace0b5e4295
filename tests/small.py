"""Small structures, models with random parameters, and comparisons for the property tests."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from functools import lru_cache

import jax
import numpy as np
import pytest

from so3krates_lite.config import So3kratesConfig
from so3krates_lite.energies import initialise
from so3krates_lite.potential import Potential
from so3krates_lite.runtime import settings
from so3krates_lite.structures.batching import make_batch
from so3krates_lite.structures.frames import Frames

ELEMENTS = (1, 6, 7, 8)
# all that SO3LR has beside its form
PHYSICS = {
    "physics": ("repulsion", "electrostatics", "dispersion"),
    "charge_embedding": True,
    "spin_embedding": True,
}


def small_config(
    degrees: tuple[int, ...] = (1, 2), variant: str = "paper", **more
) -> So3kratesConfig:
    """Two layers, few features, a cutoff of 3 Å: all of the model, quick to compile."""
    n = len(degrees)
    widths = {"features": 12 if 12 % n == 0 else 4 * n, "heads": 2, "layers": 2, "cutoff": 3.0}
    hidden = {"radial_functions": 8, "radial_hidden": 8, "spherical_hidden": 6}
    return So3kratesConfig(variant=variant, degrees=degrees, **{**widths, **hidden, **more})


def one_atom_batch(config: So3kratesConfig):
    """Enough of a batch to ask for the shapes of the parameters."""
    atom = frame_of([1], [[0, 0, 0]], total_charge=[0.0], spin_multiplicity=[1])
    return make_batch(atom, config)


def random_parameters(config: So3kratesConfig, seed: int = 0, dtype=np.float64) -> dict:
    """Every leaf drawn at random, biases too: an initialisation would hide terms behind zeros."""
    rng = np.random.default_rng(seed)
    batch = one_atom_batch(config)
    # drawn in float32 always, while e3x's tables are float64 where that is allowed
    with jax.numpy_dtype_promotion("standard"):
        shapes = jax.eval_shape(lambda: initialise.function(jax.random.key(0), batch, config))

    def draw(path, leaf):
        name = path[-1].key
        fan_in = leaf.shape[-2] if name == "kernel" else 1
        scale = {"kernel": fan_in**-0.5, "bias": 0.1, "c": 0.3}.get(name, 1.0)
        return (rng.normal(size=leaf.shape) * scale).astype(dtype)

    return jax.tree_util.tree_map_with_path(draw, shapes)


@lru_cache
def small_potential(config: So3kratesConfig, precision: str = "float64") -> Potential:
    """A potential with random parameters; the same numbers in both precisions."""
    return Potential(config, random_parameters(config, dtype=np.dtype(precision)))


def molecule(n_atoms: int, seed: int, spacing: float = 1.0, span: float = 4.0) -> Frames:
    """Atoms thrown into a cube of ``span`` Å, none nearer to another than ``spacing`` Å."""
    rng = np.random.default_rng(seed)
    placed: list[np.ndarray] = []
    while len(placed) < n_atoms:
        point = rng.uniform(0, span, 3)
        if all(np.linalg.norm(point - other) > spacing for other in placed):
            placed.append(point)
    return Frames(numbers=rng.choice(ELEMENTS, (1, n_atoms)), positions=np.array(placed)[None])


def frame_of(numbers, positions, **more) -> Frames:
    """One frame from lists."""
    return Frames(np.array([numbers]), np.array([positions], float).reshape(1, -1, 3), **more)


def stack(*frames: Frames) -> Frames:
    return Frames.concatenate(frames)


def deviation(found, expected) -> float:
    """Largest difference, relative to the largest expected value."""
    found, expected = np.asarray(found), np.asarray(expected)
    assert found.shape == expected.shape
    assert np.isfinite(found).all()
    if found.size == 0:
        return 0.0
    return float(np.abs(found - expected).max() / max(np.abs(expected).max(), 1e-300))


@contextlib.contextmanager
def quickly() -> Iterator[None]:
    """Compile everything as what runs once: the same mathematics, less than half the waiting."""
    programs: dict[settings.Compiled, object] = {}
    usual = settings.Compiled.jitted.func

    def quick(compiled: settings.Compiled):
        if compiled not in programs:
            once = settings.Compiled(compiled.function, once=True, **compiled.settings)
            programs[compiled] = usual(once)
        return programs[compiled]

    with pytest.MonkeyPatch.context() as patch:
        # before what each has of its own; what was compiled in full stays for other modules
        patch.setattr(settings.Compiled, "jitted", property(quick))
        jax.config.update("jax_disable_most_optimizations", True)
        try:
            yield
        finally:
            jax.config.update("jax_disable_most_optimizations", False)
