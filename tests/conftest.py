"""Fixtures shared by the tests."""

from __future__ import annotations

import pytest


@pytest.fixture(scope="module")
def quick_compilation():
    """Compile with few optimisations: the same mathematics, half the waiting.

    For a module of tests: ``pytestmark = pytest.mark.usefixtures("quick_compilation")``.
    """
    import jax

    jax.config.update("jax_disable_most_optimizations", True)
    yield
    jax.config.update("jax_disable_most_optimizations", False)
