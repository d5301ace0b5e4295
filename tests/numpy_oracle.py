"""The forward pass a second time: NumPy, float64, loops over directed pairs, nothing shared.

Written from the equations alone: polynomials for the harmonics up to l = 3, the stored coupling
array for the self-mixing, one molecule at a time, every pair met twice (once from each end). It
reads the parameters by their names and the settings from the configuration; it imports nothing of
the package. It is slow and plain on purpose.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

COUPLING = Path(__file__).parent / "reference" / "coupling_l1to3.npz"


def harmonics(vector: np.ndarray, degrees: tuple[int, ...]) -> np.ndarray:
    """Real orthonormal harmonics as polynomials of the unit vector, m = -l … l."""
    x, y, z = vector / np.linalg.norm(vector)
    pi = np.pi
    table = {
        0: [np.sqrt(1 / (4 * pi))],
        1: np.sqrt(3 / (4 * pi)) * np.array([y, z, x]),
        2: [
            np.sqrt(15 / pi) / 2 * x * y,
            np.sqrt(15 / pi) / 2 * y * z,
            np.sqrt(5 / pi) / 4 * (3 * z**2 - 1),
            np.sqrt(15 / pi) / 2 * x * z,
            np.sqrt(15 / pi) / 4 * (x**2 - y**2),
        ],
        3: [
            np.sqrt(35 / (2 * pi)) / 4 * y * (3 * x**2 - y**2),
            np.sqrt(105 / pi) / 2 * x * y * z,
            np.sqrt(21 / (2 * pi)) / 4 * y * (5 * z**2 - 1),
            np.sqrt(7 / pi) / 4 * (5 * z**3 - 3 * z),
            np.sqrt(21 / (2 * pi)) / 4 * x * (5 * z**2 - 1),
            np.sqrt(105 / pi) / 4 * (x**2 - y**2) * z,
            np.sqrt(35 / (2 * pi)) / 4 * x * (x**2 - 3 * y**2),
        ],
    }
    return np.concatenate([table[degree] for degree in degrees])


def silu(x):
    return x / (1 + np.exp(-x))


def dense(p, x):
    return x @ p["kernel"] + p["bias"]


def mlp(p, x):
    return dense(p["out"], silu(dense(p["hidden"], x)))


def headwise(p, x):
    """(F,) -> (heads, f), each head from its own share of the features."""
    heads, f, _ = p["kernel"].shape
    share = x.reshape(heads, f)
    rows = [share[h] @ p["kernel"][h] for h in range(heads)]
    return np.array(rows) + p.get("bias", 0.0)


class Oracle:
    """One molecule through the network; the attributes are what an attention record holds."""

    def __init__(self, config, params, numbers, positions) -> None:
        self.config, self.degrees = config, config.degrees
        self.paper = config.variant == "paper"
        self.slices, start = [], 0
        for degree in self.degrees:
            self.slices.append(slice(start, start + 2 * degree + 1))
            start += 2 * degree + 1
        n, rc, K = len(numbers), config.cutoff, config.radial_functions
        self.pairs, self.phi, self.Y, self.e = [], {}, {}, {}
        mu = np.linspace(np.exp(-rc), 1, K)
        beta = ((2 / K) * (1 - np.exp(-rc))) ** -2
        for i in range(n):
            for j in range(n):
                r = positions[j] - positions[i]
                d = np.linalg.norm(r)
                if i != j and d < rc:
                    self.pairs.append((i, j))
                    self.phi[i, j] = (np.cos(np.pi * d / rc) + 1) / 2
                    self.Y[i, j] = harmonics(r, self.degrees)
                    self.e[i, j] = np.exp(-beta * (np.exp(-d) - mu) ** 2)
                    if config.radial_cutoff:
                        self.e[i, j] = self.e[i, j] * self.phi[i, j]
        x = params["embedding"][numbers]
        chi = self.start(n)
        self.sphc = [chi]
        self.coefficient = {"feature": [], "geometric": []}
        self.contribution = {"feature": [], "geometric": []}
        for k in range(config.layers):
            x, chi = self.layer(leaves_of_layer(params["layers"], k), x, chi)
            self.sphc.append(chi)
        self.energy = sum(mlp(params["energy_head"], x[i])[0] for i in range(n))

    def start(self, n: int) -> np.ndarray:
        """The SPHCs before the first layer, in the configured way."""
        chi, C = np.zeros((n, self.slices[-1].stop)), np.zeros(n)
        for i, j in self.pairs:
            chi[i] += self.phi[i, j] * self.Y[i, j]
            C[i] += self.phi[i, j]
        mode = self.config.sphc_start
        if mode == "zero":
            return 0 * chi
        if mode == "sum":
            return chi / self.config.sphc_normalization
        for i in range(n):
            if mode == "smooth":
                chi[i] /= C[i] + np.exp(-C[i])
            elif C[i] > 0:
                chi[i] /= C[i]
        return chi

    def invariants(self, chi: np.ndarray) -> np.ndarray:
        squares = np.array([(chi[s] ** 2).sum() for s in self.slices])
        return np.sqrt(squares) if self.paper else squares / np.sqrt(2 * np.array(self.degrees) + 1)

    def layer(self, p, x, chi):
        n = len(x)
        dx, dchi = np.zeros_like(x), np.zeros_like(chi)
        lists = {key: ([], []) for key in ("feature", "geometric")}
        for i, j in self.pairs:
            near = self.invariants(chi[j] - chi[i])
            for block in ("feature", "geometric"):
                filters, attention = p[f"{block}_filter"], p[f"{block}_attention"]
                w = mlp(filters["radial"], self.e[i, j]) + mlp(filters["spherical"], near)
                q = headwise(attention["coefficients"]["query"], x[i])
                k = headwise(attention["coefficients"]["key"], x[j])
                heads, f = q.shape
                alpha = (q * w.reshape(heads, f) * k).sum(axis=1) / np.sqrt(f)
                weighted = alpha * self.phi[i, j]
                if block == "feature":
                    message = weighted[:, None] * headwise(attention["value"], x[j])
                    dx[i] += message.reshape(-1)
                    size = np.linalg.norm(message, axis=1)
                else:
                    parts = [
                        a * self.Y[i, j][s] for a, s in zip(weighted, self.slices, strict=True)
                    ]
                    dchi[i] += np.concatenate(parts)
                    size = np.array([np.linalg.norm(part) for part in parts])
                lists[block][0].append(alpha)
                lists[block][1].append(size)
        for block, (alpha, size) in lists.items():
            self.coefficient[block].append(alpha)
            self.contribution[block].append(size)
        exchange = self.exchange_paper if self.paper else self.exchange_v03
        rows = [exchange(p["exchange"], x[i] + dx[i], chi[i] + dchi[i]) for i in range(n)]
        return np.array([row[0] for row in rows]), np.array([row[1] for row in rows])

    def stretched(self, b: np.ndarray, chi: np.ndarray) -> np.ndarray:
        return np.concatenate([b[k] * chi[s] for k, s in enumerate(self.slices)])

    def exchange_paper(self, p, x, chi):
        F, n = len(x), len(self.degrees)
        mixed = self.selfmix(p["selfmix"]["c"], chi)
        gates = dense(p["gates"], np.concatenate([x, self.invariants(chi)]))
        a1, a2, b1, b2 = np.split(gates, [F, 2 * F, 2 * F + n])
        a3 = dense(p["from_mixed"], self.invariants(mixed))
        x = (x + a1 + a2 * a3) / np.sqrt(3)
        return x, chi + self.stretched(b1, chi) + self.stretched(b2, mixed)

    def exchange_v03(self, p, x, chi):
        F = len(x)
        gates = dense(p["gates"], np.concatenate([x, self.invariants(chi)]))
        return x + gates[:F], chi + self.stretched(gates[F:], chi)

    def selfmix(self, c, chi):
        """Sum over l1 < l2 of c[l3, l1, l2] C[l3, l1, l2] chi_l1 chi_l2, even couplings only."""
        with np.load(COUPLING) as file:
            cg = file["cg"]
        at = {1: slice(0, 3), 2: slice(3, 8), 3: slice(8, 15)}
        out = np.zeros_like(chi)
        for n3, l3 in enumerate(self.degrees):
            for n1, l1 in enumerate(self.degrees):
                for n2, l2 in enumerate(self.degrees):
                    if l1 < l2 and (l1 + l2 + l3) % 2 == 0:
                        block = cg[at[l3], at[l1], at[l2]]
                        first, second = chi[self.slices[n1]], chi[self.slices[n2]]
                        both = np.einsum("abc,b,c->a", block, first, second)
                        out[self.slices[n3]] += c[n3, n1, n2] * both
        return out


def leaves_of_layer(tree, k: int):
    """The parameters of one layer out of those stacked on the first axis."""
    if isinstance(tree, dict):
        return {name: leaves_of_layer(value, k) for name, value in tree.items()}
    return tree[k]
