"""Which devices share a computation: some of those that JAX finds, in a row.

A processor's cores are one device to JAX. They can be made many, for a test of sharing without a
second device, by the environment variable XLA_FLAGS=--xla_force_host_platform_device_count=4.
"""

from __future__ import annotations

from typing import Literal

import jax
import numpy as np
from jax.sharding import Mesh, PartitionSpec

from so3krates_lite.errors import UserError, is_whole, require

Number = int | Literal["all"]

AXIS = "devices"
EVERYWHERE, SHARED = PartitionSpec(), PartitionSpec(AXIS)


def row_of(number: Number) -> Mesh | None:
    """The devices in a row; None where one is enough.

    Args:
        number: how many, or "all" that there are, those of other processes included

    Raises:
        UserError: there are not so many
    """
    there = jax.devices()
    fits = number == "all" or is_whole(number, least=1)
    require(fits, "devices", number, 'a whole number above 0, or "all"')
    number = len(there) if number == "all" else int(number)
    if number > len(there):
        raise UserError(
            f"devices = {number}, but JAX finds {len(there)} ({there[0].platform}): ask for fewer, "
            f'or for "all".'
        )
    if jax.process_count() > 1 and number != len(there):
        raise UserError(
            f"devices = {number}, but {jax.process_count()} processes take part with "
            f'{len(there)} devices in all: pass "all".'
        )
    return Mesh(np.array(there[:number]), (AXIS,)) if number > 1 else None
