"""Deviations from one network: what the training frames leave open in its last layer.

The energy is linear in the weights w of the last layer, E = w . phi(R), with phi the sum over atoms
of what the layer before has left, and so is every force, F = -w . dphi/dR. With all other weights
held, training is a linear regression, whose posterior is known in closed form: for labels with
normal noise and a normal prior it is normal around the trained w, with the covariance

    C = [ sum phi phi^T / s_E^2 + sum (dphi/dR) (dphi/dR)^T / s_F^2 + a ]^-1

over the energies and force components of the training frames. The variance of an energy is
phi^T C phi, that of a force component (dphi/dR)^T C (dphi/dR). The noise s_E, s_F is what training
has left of errors; the prior 1/a is the mean square of the trained weights.

It costs no second network. But all that the layers before have learnt counts as certain, so that
it sees a strange structure only as far as its features are strange.

Sources: MacKay, Neural Computation 4, 448 (1992); as the last-layer Laplace approximation Daxberger
et al., NeurIPS 2021; for potentials Bigi et al., Mach. Learn.: Sci. Technol. 5, 045018 (2024).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from so3krates_lite.config import ModelConfig
from so3krates_lite.energies import energy
from so3krates_lite.ensemble import Ensemble
from so3krates_lite.errors import UserError
from so3krates_lite.potential import Potential, Prediction
from so3krates_lite.runtime.settings import Compiled
from so3krates_lite.structures.buckets import bucketed_batches, in_parts
from so3krates_lite.structures.frames import Frames
from so3krates_lite.structures.graph import Batch

LAYER = "energy_head"  # its Dense "out" is the last layer
AT_ONCE = 16  # structures: of each there are as many derivatives as features


def _features(params: dict, batch: Batch, config: ModelConfig) -> Float[Array, "weights graphs"]:
    """phi: by how much each weight of the last layer, its bias last, changes each energy."""
    head = params[LAYER]
    width = len(head["out"]["kernel"])

    def energies(last: dict) -> Float[Array, "graphs"]:
        return energy({**params, LAYER: {**head, "out": last}}, batch, config)

    def along(direction: Float[Array, "weights"]) -> Float[Array, "graphs"]:
        change = {"kernel": direction[:width, None], "bias": direction[width:]}
        return jax.jvp(energies, (head["out"],), (change,))[1]

    return jax.vmap(along)(jnp.eye(width + 1, dtype=head["out"]["kernel"].dtype))


@partial(Compiled, static_argnames="config")
def _energy_features(params: dict, batch: Batch, config: ModelConfig) -> Array:
    return _features(params, batch, config)


@partial(Compiled, static_argnames="config")
def _all_features(
    params: dict, batch: Batch, config: ModelConfig
) -> tuple[Float[Array, "weights graphs"], Float[Array, "weights graphs atoms 3"]]:
    """phi and -dphi/dR, a reverse sweep for each feature."""

    def of(displacement):
        return _features(params, batch.replace(displacement=displacement), config)

    phi, pull = jax.vjp(of, batch.displacement)
    one_hot = jnp.eye(len(phi), dtype=phi.dtype)
    slope = jax.lax.map(lambda row: pull(row[:, None] * jnp.ones_like(phi))[0], one_hot)
    return phi, -slope


@dataclass(frozen=True, eq=False)
class LastLayer:
    """A potential and the covariance of its last layer's weights.

    Args:
        potential: one network
        covariance: in the network's unit of energy, the bias last
    """

    potential: Potential
    covariance: Float[np.ndarray, "weights weights"]

    @classmethod
    def fit(cls, potential: Potential, frames: Frames) -> LastLayer:
        """The covariance that training frames leave.

        Args:
            potential: one trained network, without physical terms
            frames: what it was trained on, with energies and forces

        Raises:
            UserError: the frames lack labels, or the potential is none of these
        """
        if isinstance(potential, Ensemble) or LAYER not in potential.params:
            raise UserError(
                "LastLayer.fit takes one So3krates network: of an ensemble a member, such as "
                "ensemble.member(0)."
            )
        if potential.config.physics:
            raise UserError(
                "This potential has physical terms, which the last layer knows nothing of: train "
                "an ensemble for deviations."
            )
        for name in ("energy", "forces"):
            if getattr(frames, name) is None:
                raise UserError(f"LastLayer.fit needs the training frames' {name}: give labels.")
        last = potential.params[LAYER]["out"]
        weights = np.concatenate([np.ravel(last["kernel"]), last["bias"]]).astype(float)
        found = potential.predict(frames)
        wrong = found.energy - frames.energy, (found.forces - frames.forces)[frames.mask]
        noise = [np.mean((error / potential.energy_scale) ** 2) for error in wrong]
        precision = np.eye(len(weights)) / np.mean(weights**2)
        for index, batch in _batches(potential, frames):
            phi, slope = (a[:, : len(index)] for a in potential.computed(_all_features, batch))
            slope = slope.reshape(len(weights), -1)  # zero for padding
            precision += phi @ phi.T / noise[0] + slope @ slope.T / noise[1]
        return cls(potential, np.linalg.inv(precision))

    def predict(self, frames: Frames, *, forces_std: bool = True) -> Prediction:
        """What the potential predicts, with deviations.

        Args:
            frames: structures
            forces_std: of forces, too, which costs a reverse sweep for each feature; those of
                energies cost next to nothing
        """
        prediction = self.potential.predict(frames)
        energy_std, std = np.zeros(len(frames)), np.zeros(frames.positions.shape)
        scale, root = self.potential.energy_scale, np.linalg.cholesky(self.covariance).T
        for index, batch in _batches(self.potential, frames):
            n, atoms = len(index), batch.numbers.shape[1]
            if forces_std:
                phi, slope = self.potential.computed(_all_features, batch)
                of_forces = np.einsum("vw,wgad->vgad", root, slope[:, :n])
                std[index, :atoms] = scale * np.linalg.norm(of_forces, axis=0)
            else:
                phi = self.potential.computed(_energy_features, batch)
            energy_std[index] = scale * np.linalg.norm(root @ phi[:, :n], axis=0)
        return prediction.with_deviations(energy_std, std if forces_std else None)


def _batches(potential: Potential, frames: Frames):
    """Batches of one size, the last of each kind filled up; and which frames they hold."""
    dtype = potential.dtype
    for index, batch in bucketed_batches(frames, potential.config, spare=True, dtype=dtype):
        for part, chosen in in_parts(index, AT_ONCE):
            yield part, batch[chosen]
