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
    """Compile everything as what runs once: the same mathematics, less than half the waiting.

    For a module of tests: ``pytestmark = pytest.mark.usefixtures("quick_compilation")``.
    """
    import jax

    from so3krates_lite.runtime import settings

    programs: dict[settings.Compiled, object] = {}

    def quickly(compiled: settings.Compiled):
        if compiled not in programs:
            options = settings.compiler_options(once=True)
            programs[compiled] = jax.jit(
                compiled.function, compiler_options=options, **compiled.settings
            )
        return programs[compiled]

    with pytest.MonkeyPatch.context() as patch:
        # before what each has of its own; what was compiled in full stays for other modules
        patch.setattr(settings.Compiled, "jitted", property(quickly))
        jax.config.update("jax_disable_most_optimizations", True)
        yield
        jax.config.update("jax_disable_most_optimizations", False)
