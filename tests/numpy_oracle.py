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


def softplus(x):
    return np.log1p(np.exp(x))


def cosine(d, cutoff):
    return (np.cos(np.pi * d / cutoff) + 1) / 2 if d < cutoff else 0.0


def polynomial(t):
    """1 at t = 0, 0 from t = 1 on; p = 6."""
    return 1 - 28 * t**6 + 48 * t**7 - 21 * t**8 if t < 1 else 0.0


def rounded(square):
    """A length whose tip is rounded off within 0.2 of zero."""
    return np.sqrt(square + 0.2**2) - 0.2


class Oracle:
    """One molecule through the network; the attributes are what an attention record holds.

    ``pairs`` are the directed pairs within the cutoff, ``far_pairs`` those of the spherical
    neighbourhood, if there is one.
    """

    def __init__(self, config, params, numbers, positions, charge=0.0, multiplicity=1) -> None:
        self.config, self.degrees = config, config.degrees
        self.paper = config.variant in ("paper", "smooth")
        self.slices, start = [], 0
        for degree in self.degrees:
            self.slices.append(slice(start, start + 2 * degree + 1))
            start += 2 * degree + 1
        n, rc, K = len(numbers), config.cutoff, config.radial_functions
        self.pairs, self.far_pairs = [], []
        self.phi, self.far_phi, self.Y, self.e = {}, {}, {}, {}
        mu = np.linspace(np.exp(-rc), 1, K)
        beta = ((2 / K) * (1 - np.exp(-rc))) ** -2
        for i in range(n):
            for j in range(n):
                if i == j:
                    continue
                r = positions[j] - positions[i]
                d = np.linalg.norm(r)
                self.phi[i, j] = cosine(d, rc)
                self.Y[i, j] = harmonics(r, self.degrees)
                self.e[i, j] = np.exp(-beta * (np.exp(-d) - mu) ** 2)
                if config.radial_cutoff:
                    self.e[i, j] = self.e[i, j] * self.phi[i, j]
                if d < rc:
                    self.pairs.append((i, j))
                if config.spherical_radius is None:
                    continue
                long = config.long_cutoff
                if long is None or d < long:
                    self.far_pairs.append((i, j))
                    self.far_phi[i, j] = 1.0 if long is None else cosine(d, long)
        x = self.embed(params, numbers, charge, multiplicity - 1)
        chi = self.start(n)
        self.sphc = [chi]
        self.coefficient = {"feature": [], "geometric": [], "spherical": []}
        self.contribution = {"feature": [], "geometric": [], "spherical": []}
        self.sphc_distance, self.nearness = [], []
        for k in range(config.layers):
            x, chi = self.layer(leaves_of_layer(params["layers"], k), x, chi)
            self.sphc.append(chi)
        self.energy = sum(mlp(params["energy_head"], x[i])[0] for i in range(n))

    def embed(self, params, numbers, charge, unpaired) -> np.ndarray:
        """Of each atom: its element's row, and its share of the charge and of the spin."""
        parts = [params["embedding"][numbers]]
        if self.config.charge_embedding:
            parts.append(self.electrons(params["charge_embedding"], numbers, charge))
        if self.config.spin_embedding:
            parts.append(self.electrons(params["spin_embedding"], numbers, unpaired))
        return sum(parts) / np.sqrt(len(parts))

    def electrons(self, p, numbers, psi) -> np.ndarray:
        row = 0 if psi >= 0 else 1
        q, k, v = p["query"][numbers], p["key"][row], p["value"][row]
        affinity = [softplus(q[i] @ k / np.sqrt(len(k))) for i in range(len(numbers))]
        rows = []
        for i in range(len(numbers)):
            share = psi * affinity[i] / sum(affinity)
            rows.append(silu(share * v @ p["hidden"]["kernel"]) @ p["out"]["kernel"])
        return np.array(rows)

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
        if self.config.sphc_invariant == "smooth":
            return rounded(squares)
        if self.config.sphc_invariant == "norm":
            return np.sqrt(squares)
        return squares / np.sqrt(2 * np.array(self.degrees) + 1)

    def layer(self, p, x, chi):
        n = len(x)
        dx, dchi = np.zeros_like(x), np.zeros_like(chi)
        X, nearness = self.spherical_neighbours(chi)
        self.sphc_distance.append([X[pair] for pair in self.far_pairs])
        self.nearness.append([nearness[pair] for pair in self.far_pairs])
        for name, block, pairs, weight in (
            ("feature", "feature", self.pairs, self.phi),
            ("geometric", "geometric", self.pairs, self.phi),
            ("spherical", "geometric", self.far_pairs, nearness),
        ):
            filters, attention = p[f"{block}_filter"], p[f"{block}_attention"]
            coefficients, sizes = [], []
            for i, j in pairs:
                distance = self.invariants(chi[j] - chi[i])
                w = mlp(filters["radial"], self.e[i, j]) + mlp(filters["spherical"], distance)
                q = headwise(attention["coefficients"]["query"], x[i])
                k = headwise(attention["coefficients"]["key"], x[j])
                heads, f = q.shape
                alpha = (q * w.reshape(heads, f) * k).sum(axis=1) / np.sqrt(f)
                weighted = alpha * weight[i, j]
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
                coefficients.append(alpha)
                sizes.append(size)
            self.coefficient[name].append(coefficients)
            self.contribution[name].append(sizes)
        exchange = self.exchange_paper if self.paper else self.exchange_v03
        rows = [exchange(p["exchange"], x[i] + dx[i], chi[i] + dchi[i]) for i in range(n)]
        return np.array([row[0] for row in rows]), np.array([row[1] for row in rows])

    def spherical_neighbours(self, chi):
        """Distance in SPHC space of every far pair, and how far j is a neighbour of i there."""
        X = {(i, j): np.linalg.norm(chi[j] - chi[i]) for i, j in self.far_pairs}
        smooth = self.config.sphc_invariant == "smooth"
        length = {pair: rounded(X[pair] ** 2) if smooth else X[pair] for pair in X}
        nearness = {}
        for i, j in self.far_pairs:
            others = [k for one, k in self.far_pairs if one == i]
            # all others within reach and the atom itself, each counted as the long cutoff leaves it
            atoms = 1 + sum(self.far_phi[i, k] for k in others)
            total = sum(self.far_phi[i, k] * np.exp(length[i, k]) for k in others)
            share = np.exp(length[i, j]) / total
            border = self.config.spherical_radius / atoms
            nearness[i, j] = self.far_phi[i, j] * polynomial(share / border)
        return X, nearness

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
