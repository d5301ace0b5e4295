"""What an annotation calls an array.

Shapes stand in annotations everywhere, as in ``Float[Array, "pairs K"]``, and the tests check each
of them at run time. ``Array`` is JAX's, ``np.ndarray`` numpy's; ``ArrayLike``, from numpy, is what
numpy makes an array of, lists and numbers among it. `AnyArray` is one of the first two, `Scalar` a
number that may be traced.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Array, Float

AnyArray = Array | np.ndarray
Scalar = float | np.floating | Float[AnyArray, ""]
