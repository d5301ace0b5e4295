"""Fixtures shared by the tests."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

import jaxtyping
import pytest

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
    from so3krates_lite.errors import UserError  # not before the checks are set up

    checks = checks_off() if expected is UserError else nullcontext()
    with _raises(expected, **more) as caught, checks:
        yield caught


pytest.raises = raises

# These files take longest, and are begun first: a long one that comes last keeps one worker busy
# while the other has nothing left to do.
LONGEST = """
    test_spherical test_training test_training_sizes test_training_rules test_experiments
    test_explorer test_calculator test_dynamics test_potential test_symmetry test_switching
    test_learning_curves test_charges test_benchmarks test_geomatt_use test_derivatives
    test_oracle test_cli test_shapes test_geomatt test_reference test_smoothness
""".split()


def pytest_configure(config: pytest.Config) -> None:
    if hasattr(config.option, "loadscopereorder"):  # pytest-xdist's order is by number of tests
        config.option.loadscopereorder = False


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    rank = {name: place for place, name in enumerate(LONGEST)}
    items.sort(key=lambda item: rank.get(item.path.stem, len(rank)))


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

    # with jax 0.9 e3x's harmonics promote types, too
    types = "strict" if jax.__version_info__ >= (0, 10) else "standard"
    with jax.numpy_rank_promotion("raise"), jax.numpy_dtype_promotion(types):
        yield


@pytest.fixture
def unchecked():
    """Check no annotations: for what is taken although no annotation promises it."""
    with checks_off():
        yield


@pytest.fixture(scope="module")
def quick_compilation():
    """Everything compiled `small.quickly`.

    For a module of tests: ``pytestmark = pytest.mark.usefixtures("quick_compilation")``.
    """
    from small import quickly

    with quickly():
        yield
