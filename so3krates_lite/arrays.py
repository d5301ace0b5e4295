"""What an annotation calls an array.

Shapes stand in annotations everywhere, as in ``Float[Array, "pairs K"]``, and the tests check each
of them at run time. ``Array`` is JAX's, ``np.ndarray`` numpy's; ``ArrayLike``, from numpy, is what
numpy makes an array of, lists and numbers among it. `AnyArray` is one of the first two, `Scalar` a
number that may be traced.
"""

from __future__ import annotations

from typing import TypeAlias

import numpy as np
from jaxtyping import Array, Float

AnyArray: TypeAlias = Array | np.ndarray
Scalar: TypeAlias = float | np.floating | Float[AnyArray, ""]


def along_last(values: Float[AnyArray, "last"], ndim: int) -> Float[AnyArray, "..."]:
    """``values`` over the last of ``ndim`` axes: the tests allow no silent promotion of ranks."""
    return values.reshape((1,) * (ndim - 1) + (-1,))
