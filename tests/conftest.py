"""Fixtures shared by the tests."""

from __future__ import annotations

import gc
from pathlib import Path

import pytest

# A process may map only so much code (65,530 pieces on Linux, where it dies beyond), and every
# compiled program takes a hundred or more.
MOST_MAPS = 20_000


@pytest.fixture(autouse=True, scope="module")
def room_for_programs():
    """Forget compiled programs between modules, once they are many."""
    yield
    maps = Path("/proc/self/maps")
    if maps.exists() and maps.read_bytes().count(b"\n") > MOST_MAPS:
        import jax

        jax.clear_caches()
        gc.collect()


@pytest.fixture(scope="module")
def quick_compilation():
    """Compile with few optimisations: the same mathematics, half the waiting.

    For a module of tests: ``pytestmark = pytest.mark.usefixtures("quick_compilation")``.
    """
    import jax

    jax.config.update("jax_disable_most_optimizations", True)
    yield
    jax.config.update("jax_disable_most_optimizations", False)
