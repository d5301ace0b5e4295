"""Trees that JAX takes apart hold what their annotations say.

Everywhere else the suite checks annotations itself (see conftest.py). Not the fields of these: JAX
builds trees anew around leaves of any shape, of none at all, so their constructors cannot be asked.
"""

from __future__ import annotations

import sys
from types import SimpleNamespace
from typing import Any, get_type_hints

import jax
import jaxtyping
import numpy as np
import pytest
from beartype.door import is_bearable
from small import molecule, small_config, small_potential, stack

from so3krates_lite.attention import BlockRecord, Roles, feature_message, geometric_message
from so3krates_lite.config import So3kratesConfig
from so3krates_lite.model import neighbourhoods
from so3krates_lite.structures.batching import make_batch
from so3krates_lite.structures.frames import Frames
from so3krates_lite.structures.graph import Batch, pair_vectors
from so3krates_lite.training.objective import Labelled, errors

PLAIN = small_config()
FAR = small_config(spherical_radius=1.5)


def frames() -> Frames:
    return stack(molecule(5, 0), molecule(3, 1))


def batch_of(config: So3kratesConfig) -> Batch:
    return jax.device_put(make_batch(frames(), config))


def assert_as_annotated(tree: Any) -> None:
    """Every field fits its annotation, and a name stands for one length in all of them."""
    kind = type(tree)
    # by way of a stand-in, since of a class that is marked as unchecked no hints are given
    stated = SimpleNamespace(__annotations__=kind.__annotations__)
    hints = get_type_hints(stated, vars(sys.modules[kind.__module__]), include_extras=True)
    assert hints
    with jaxtyping.jaxtyped("context"):
        for name, hint in hints.items():
            value = getattr(tree, name)
            assert is_bearable(value, hint), f"{kind.__name__}.{name} is {np.shape(value)}"


@pytest.mark.parametrize("config", [PLAIN, FAR], ids=["local", "spherical"])
def test_batches_and_neighbourhoods(config):
    batch = batch_of(config)
    assert_as_annotated(batch)
    for listed in filter(None, (batch.local, batch.far)):
        assert_as_annotated(listed)
    for near in filter(None, neighbourhoods(batch, pair_vectors(batch, config), config)):
        assert_as_annotated(near)
        assert_as_annotated(near.pairs)


def test_messages_and_their_record():
    batch = batch_of(PLAIN)
    near, _ = neighbourhoods(batch, pair_vectors(batch, PLAIN), PLAIN)
    rng, pairs = np.random.default_rng(0), len(near.phi_ij)

    def drawn(width: int) -> jax.Array:
        return jax.numpy.asarray(rng.normal(size=(pairs, width)), "float32")

    i, j = (Roles(*(drawn(PLAIN.features) for _ in range(3))) for _ in range(2))
    w_ij, heads, degrees = drawn(PLAIN.features), PLAIN.heads, PLAIN.degrees
    feature = [feature_message(*ends, w_ij, near.phi_ij, heads) for ends in ((i, j), (j, i))]
    geometric = [
        geometric_message(*ends, w_ij, near.phi_ij, near.Y_ij, degrees) for ends in ((i, j), (j, i))
    ]
    records = BlockRecord.of(*feature), BlockRecord.of(*geometric, degrees)
    for tree in (i, *feature, *geometric, *records):
        assert_as_annotated(tree)


def test_predictions_targets_and_errors():
    config, few = PLAIN, frames()
    assert_as_annotated(small_potential(config).predict(few))
    batch = batch_of(config)
    E, F = np.zeros(2, np.float32), np.zeros(batch.displacement.shape, np.float32)
    target = Labelled(batch, E, F, np.ones(2, np.float32))
    assert_as_annotated(target)
    assert_as_annotated(errors(E, F, target))


def test_a_wrong_shape_is_seen():
    batch = batch_of(PLAIN)
    with pytest.raises(AssertionError, match=r"Batch.cell is \(1, 3, 3\)"):
        assert_as_annotated(batch.replace(cell=batch.cell[:1]))
