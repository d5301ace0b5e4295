"""Fixtures shared by the tests."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import jaxtyping
import pytest

from so3krates_lite.errors import UserError

# A process may map only so much code (65,530 pieces on Linux, where it dies beyond), and every
# compiled program takes a hundred or more.
MOST_MAPS = 20_000


# Annotations are checked at run time (pyproject.toml, --jaxtyping-packages). Where a test hands in
# something wrong to see our own message, that has to come first: inside `pytest.raises(UserError)`,
# and in a test with the fixture `unchecked`, nothing is checked.
@contextmanager
def checks_off() -> Iterator[None]:
    before = jaxtyping.config.jaxtyping_disable
    jaxtyping.config.update("jaxtyping_disable", True)
    try:
        yield
    finally:
        jaxtyping.config.update("jaxtyping_disable", before)


_raises = pytest.raises


@contextmanager
def raises(expected: Any, **more: Any) -> Iterator[pytest.ExceptionInfo]:
    if expected is UserError:
        with _raises(expected, **more) as caught, checks_off():
            yield caught
    else:
        with _raises(expected, **more) as caught:
            yield caught


pytest.raises = raises


@pytest.fixture(autouse=True, scope="module")
def room_for_programs():
    """Forget compiled programs between modules, once they are many."""
    yield
    maps = Path("/proc/self/maps")
    if maps.exists() and maps.read_bytes().count(b"\n") > MOST_MAPS:
        import jax

        jax.clear_caches()
        gc.collect()


# Who trains is not here, since optax promotes types in its bias correction (1 - decay**count in
# tree_utils/_tree_math.py); nor who fits filters, since e3x's Chebyshev polynomials promote both.
# Nor is who computes in float32 where float64 is allowed (test_passes, test_potential): the tables
# of e3x's harmonics are float64 there.
STRICT = {"structures", "interpret"}
STRICT |= {"test_charges", "test_derivatives", "test_geomatt", "test_oracle"}
STRICT |= {"test_reference", "test_smoothness", "test_spherical", "test_symmetry"}


@pytest.fixture(autouse=True, scope="module")
def nothing_is_promoted(request):
    """In tests of the network, JAX promotes neither ranks nor types in silence."""
    if not STRICT & {request.path.stem, request.path.parent.name}:
        yield
        return
    import jax

    with jax.numpy_rank_promotion("raise"), jax.numpy_dtype_promotion("strict"):
        yield


@pytest.fixture
def unchecked():
    """Check no annotations: for what is taken although no annotation promises it."""
    with checks_off():
        yield


@pytest.fixture(scope="module")
def quick_compilation():
    """Compile with few optimisations: the same mathematics, half the waiting.

    For a module of tests: ``pytestmark = pytest.mark.usefixtures("quick_compilation")``.
    """
    import jax

    jax.config.update("jax_disable_most_optimizations", True)
    yield
    jax.config.update("jax_disable_most_optimizations", False)
