"""GeomAtt in plain NumPy, loop by loop as its equations read: what the package is compared with.

Nothing is shared with the package but the names in the tree of parameters. Sums over atoms run one
by one; maps are applied to rho(0) and rho(d) as they stand, without the package's shortcuts.
"""

from __future__ import annotations

import itertools

import numpy as np


def rho(d: float, config) -> np.ndarray:
    grid = np.array([k * config.grid_spacing for k in range(config.grid_points)])
    return np.exp(-config.gamma * (d - grid) ** 2)


def overlap(p: dict, layer: int, factor: int, d: float, config) -> np.ndarray:
    """g(d) in R^f, of one factor of one layer."""
    centre = rho(0.0, config) @ p["centre_kernel"][layer, factor] + p["centre_bias"][layer, factor]
    there = (
        rho(d, config) @ p["neighbour_kernel"][layer, factor] + p["neighbour_bias"][layer, factor]
    )
    return centre * there


def correlation(p: dict, layer: int, order: int, R: np.ndarray, config) -> np.ndarray:
    """C_ij as the sum over all chains of order - 2 atoms between i and j."""
    n = len(R)
    d = np.linalg.norm(R[:, None] - R[None], axis=-1)
    factors = p["centre_kernel"].shape[1]
    g = [
        [[overlap(p, layer, m % factors, d[i, j], config) for j in range(n)] for i in range(n)]
        for m in range(order - 1)
    ]
    C = np.zeros((n, n))
    for i, j in itertools.product(range(n), repeat=2):
        for between in itertools.product(range(n), repeat=order - 2):
            chain = (i, *between, j)
            product = 1.0
            for m in range(order - 1):
                product = product * g[m][chain[m]][chain[m + 1]]
            C[i, j] += config.grid_spacing * product.sum()
    return C


def geomatt(params: dict, Z: np.ndarray, R: np.ndarray, config) -> tuple[float, dict]:
    """Energy of one molecule, and C_ij of each order as (layers, atoms, atoms)."""
    out, correlations = [], {}
    for order in config.orders:
        p = params[f"order_{order}"]
        v = params["embedding"][Z]
        found = []
        for layer in range(config.layers):
            C = correlation(p["correlator"], layer, order, R, config)
            value = p[f"value_{layer}"]
            message = v @ value["kernel"] + value["bias"]
            v = v + C @ message / len(config.orders)
            found.append(C)
        out.append(v)
        correlations[order] = np.stack(found)
    v = np.concatenate(out, axis=-1)
    hidden = v @ params["head_hidden"]["kernel"] + params["head_hidden"]["bias"]
    hidden = np.log1p(np.exp(hidden)) - np.log(2)
    energy = hidden @ params["head_out"]["kernel"] + params["head_out"]["bias"]
    return float(energy.sum()), correlations
