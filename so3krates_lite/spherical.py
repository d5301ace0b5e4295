"""The spherical neighbourhood: who is near whom, not in space but in SPHC space.

Two atoms are close in SPHC space when their surroundings look alike, however far apart they are.
That nearness is relative. For every atom i the SPHC distances to the others are put through a
softmax, which makes the *far* ones large,

    X_ij = |chi_j - chi_i|,    s_ij = exp(X_ij) / sum_{k != i} exp(X_ik),

and j belongs to the neighbourhood of i where s_ij is below kappa/n, which is about kappa times what
it would be if all atoms were equally far. The border is smooth: the weight phi_chi(i, j) falls from
1 to 0 by a polynomial. It is not symmetric, since i may have other near atoms than j has.

Neighbourhoods are found anew in every layer, so a layer can bring together whom the next one
lets talk.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from so3krates_lite.arrays import AnyArray, Scalar
from so3krates_lite.basis import polynomial_cutoff
from so3krates_lite.structures.graph import Pairs


def spherical_weights(
    distance: Float[AnyArray, "pairs"],
    phi_ij: Float[AnyArray, "pairs"],
    pairs: Pairs,
    radius: Scalar,
) -> tuple[Float[Array, "pairs"], Float[Array, "pairs"]]:
    """phi_chi of every pair: how far the second atom is a neighbour of the first, and vice versa.

    Without a long cutoff this is the original's form. With one, every pair counts in the softmax,
    in the number n of atoms, and in the result as much as the long cutoff leaves of it: nothing
    jumps when an atom comes into reach.

    Args:
        distance: X_ij, in SPHC space
        phi_ij: the long cutoff of each pair, or 1 if there is none; 0 for padding
        pairs: which atoms they are
        radius: kappa

    Source: So3krates, spherical neighbourhoods: eq. 14, with the polynomial of eq. 29 and the
    radius kappa/n; the softmax leaves out j = i, as the authors' code does.
    """
    counted = phi_ij > 0
    # The shift by the largest distance changes no softmax, and keeps exp from overflowing. It has
    # to leave out what does not count: padding would otherwise decide on how an atom's are rounded.
    largest = jax.lax.stop_gradient(pairs.largest(jnp.where(counted, distance, -jnp.inf)))
    shifted = [distance - end for end in pairs.ends(largest)]
    share = [jnp.where(counted, jnp.exp(jnp.where(counted, x, 0)), 0) for x in shifted]
    total = pairs.collect(*(phi_ij * one for one in share))
    n = 1 + pairs.collect(phi_ij, phi_ij)

    def weight(one, total, n):
        # an atom whose last partner fades has a total of zero: all are far then
        ratio = one * n / (radius * jnp.where(total > 0, total, 1))
        return phi_ij * polynomial_cutoff(jnp.where(total > 0, ratio, 1))

    of_first, of_second = map(weight, share, pairs.ends(total), pairs.ends(n))
    return of_first, of_second
