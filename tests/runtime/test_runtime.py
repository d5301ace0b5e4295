"""How JAX runs here: quiet, and what a user has set stays."""

from __future__ import annotations

import os
import subprocess
import sys

PROGRAM = """
import logging, jax, jax.numpy as jnp
from so3krates_lite.runtime import enable_compilation_cache
{before}
enable_compilation_cache()
jax.jit(lambda x: jnp.sin(x @ x))(jnp.ones((8, 8))).block_until_ready()
logging.getLogger("jax").warning("a word of JAX's own")
print(jax.config.jax_compilation_cache_dir, jax.config.jax_logging_level)
"""


def run(folder, before: str = "") -> tuple[str, list[str]]:
    """What a process prints that compiles a program, or takes it from the cache."""
    environment = {**os.environ, "SO3KRATES_COMPILATION_CACHE": str(folder)}
    program = [sys.executable, "-c", PROGRAM.format(before=before)]
    done = subprocess.run(program, env=environment, capture_output=True, text=True, check=True)
    return done.stdout.strip(), done.stderr.splitlines()


def test_a_program_is_taken_from_the_cache_without_a_word_of_the_compiler(tmp_path):
    run(tmp_path)
    kept = len(list(tmp_path.iterdir()))
    assert kept > 0
    _, said = run(tmp_path)
    assert len(list(tmp_path.iterdir())) == kept
    assert len(said) == 1 and "a word of JAX's own" in said[0]


SETTINGS = """
import jax, jax.numpy as jnp
def settings():
    return {name: getattr(jax.config, name) for name in names}
names = [name for name in dir(jax.config) if name.startswith("jax_")]
assert {"jax_compilation_cache_dir", "jax_logging_level"} <= set(names)
before = settings()
import so3krates_lite
from so3krates_lite import model, potential, training, explorer, lessons, experiments
assert settings() == before, "an import changed a setting"
jnp.ones(3) + 1  # JAX has looked for its cache, and found none
potential.Potential.random(so3krates_lite.So3kratesConfig(features=6, layers=1, heads=2))
print(jax.config.jax_compilation_cache_dir)
"""


def test_an_import_sets_nothing_and_the_first_program_is_kept_even_after_others(tmp_path):
    environment = {**os.environ, "SO3KRATES_COMPILATION_CACHE": str(tmp_path)}
    program = [sys.executable, "-c", SETTINGS]
    done = subprocess.run(program, env=environment, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == str(tmp_path)
    assert list(tmp_path.iterdir())


def test_what_a_user_has_set_stays(tmp_path):
    mine = tmp_path / "mine"
    told, _ = run(tmp_path / "ours", f"jax.config.update('jax_compilation_cache_dir', '{mine}')")
    assert told.startswith(str(mine))
    told, _ = run(tmp_path / "ours", "jax.config.update('jax_logging_level', 'DEBUG')")
    assert told.endswith("DEBUG")
