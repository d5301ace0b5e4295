"""An ensemble: networks trained alike from different seeds, which say when not to trust them.

Where there were training data, all networks were pulled to the same energy, whatever they began
from. Where there were none, nothing holds them together. How far they lie apart is therefore a
measure of what the data leave open: the mean over members is the prediction, their standard
deviation says how far off it may be. It knows nothing of errors that all members share, such as
those of the network's form or of the labels; whether it is as large as the errors really are is
measured on test frames (`training.calibration`).

All members have one configuration, one energy zero and one scale; they differ in their weights,
which lie stacked on a leading axis. So an ensemble is a `Potential` whose every number is a mean:
energies, forces, stress and charges are, and the mean force is the derivative of the mean energy,
so that dynamics with it conserves energy. Attention is an exception: the heads of two networks are
in no common order, so that their mean would be the attention of nobody. It is that of one member.

Source: Lakshminarayanan, Pritzel & Blundell, NeurIPS 2017.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache, cached_property
from os import PathLike
from typing import Any, ClassVar

import jax
import numpy as np
from jaxtyping import Float

from so3krates_lite.config import ModelConfig
from so3krates_lite.errors import UserError, require
from so3krates_lite.potential import Potential, potential_file
from so3krates_lite.record.attention_record import AttentionRecord
from so3krates_lite.runtime import files
from so3krates_lite.runtime.settings import Compiled, precision_context
from so3krates_lite.structures.frames import Frames
from so3krates_lite.structures.graph import Batch


@cache
def _of_members(function: Callable) -> Compiled:
    """A function of one network's parameters, for several in one compiled program.

    One network after another, which takes no longer than all side by side (`jax.vmap`) and no more
    memory than one (benchmarks/members.py; of four members of 60 features and two layers 1.9 and
    1.9 ms for one ethanol, 26 and 29 ms for twenty; 2 CPU cores, shared).
    """

    def one_by_one(params: dict, batch: Batch, config: ModelConfig) -> Any:
        return jax.lax.map(lambda one: function(one, batch, config), params)

    return Compiled(one_by_one, static_argnames="config")


@dataclass(frozen=True, eq=False)
class Ensemble(Potential):
    """Several networks that predict together, and how far they disagree.

    Args:
        params: as of `Potential`, each leaf with a leading axis of members
    """

    kind: ClassVar[str] = "so3krates-lite ensemble"

    @classmethod
    def of(cls, members: Sequence[Potential], card: dict[str, Any] | None = None) -> Ensemble:
        """Potentials of one configuration, energy zero and scale together.

        Args:
            members: two or more
            card: of the ensemble; None: the first member's
        """
        require(len(members) > 1, "members", len(members), "two or more")
        first = members[0]
        for k, other in enumerate(members[1:], 1):
            same = {
                "configuration": other.config == first.config,
                "energy zero": np.array_equal(other.element_shift, first.element_shift),
                "energy scale": other.energy_scale == first.energy_scale,
                "precision": other.dtype == first.dtype,
            }
            if different := [name for name, agrees in same.items() if not agrees]:
                raise UserError(
                    f"Members 0 and {k} differ in their {different[0]}: an ensemble is of networks "
                    f"trained alike, on the same frames."
                )
        params = jax.tree.map(lambda *leaves: np.stack(leaves), *(m.params for m in members))
        alike = (first.element_shift, first.energy_scale, card or first.card)
        return cls(first.config, params, *alike, first.trained_elements)

    @classmethod
    def random(
        cls, config: ModelConfig, seed: int = 0, precision: str = "float32", members: int = 4
    ) -> Ensemble:
        """Untrained networks of the seeds ``seed``, ``seed + 1``, …"""
        return cls.of([Potential.random(config, seed + k, precision) for k in range(members)])

    def __len__(self) -> int:
        """The number of members."""
        return len(jax.tree.leaves(self.params)[0])

    def member(self, k: int) -> Potential:
        """One of the networks, as a potential of its own."""
        require(-len(self) <= k < len(self), "member", k, f"0 to {len(self) - 1}")
        params = jax.tree.map(lambda leaf: leaf[k], self.params)
        fields = {f.name: getattr(self, f.name) for f in dataclasses.fields(self)}
        return Potential(**{**fields, "params": params})

    @property
    def device_params(self) -> dict:
        """There are none of one network: what looks into one asks for a `member`."""
        raise UserError(
            "This looks into one network, and an ensemble has several: take one of them, such as "
            "ensemble.member(0)."
        )

    @cached_property
    def stacked_params(self) -> dict:
        """The parameters of all members where they are computed with, moved there once."""
        with precision_context(self.dtype):
            return jax.device_put(self.params)

    def _of_each(self, program: Compiled, batch: Batch) -> Any:
        """What each member returns, on a leading axis, in float64."""
        with precision_context(self.dtype):
            found = _of_members(program.function)(self.stacked_params, batch, self.config)
        return jax.tree.map(lambda value: np.asarray(value, np.float64), found)

    def computed(self, program: Compiled, batch: Batch) -> Any:
        """The mean over members of what each returns."""
        return jax.tree.map(lambda value: value.mean(axis=0), self._of_each(program, batch))

    def predict_members(self, batch: Batch, stress: bool = False) -> tuple[np.ndarray, ...]:
        """As `predict_batch`, of each member on a leading axis."""
        program = self.program(stress, batch.mesh)
        return tuple(v * self.energy_scale for v in self._of_each(program, batch))

    def found_in(self, batch: Batch, stress: bool = False) -> dict[str, np.ndarray]:
        """Means, and the standard deviations of energy and forces.

        They are of a sample, with K - 1 in the denominator: of few members the mean lies nearer to
        each than the truth does.
        """
        energy, forces, *more = self.predict_members(batch, stress)
        return {
            "energy": energy.mean(axis=0),
            "forces": forces.mean(axis=0),
            **({"stress": more[0].mean(axis=0)} if stress else {}),
            "energy_std": energy.std(axis=0, ddof=1),
            "forces_std": forces.std(axis=0, ddof=1),
        }

    def hessian_product(
        self, frame: Frames, directions: Float[np.ndarray, "directions atoms 3"]
    ) -> Float[np.ndarray, "directions atoms 3"]:
        """Of the mean energy; as of `Potential`."""
        members = (self.member(k) for k in range(len(self)))
        return np.mean([one.hessian_product(frame, directions) for one in members], axis=0)

    def dipole_derivatives(self, frame: Frames) -> Float[np.ndarray, "3 atoms 3"]:
        """Of the mean dipole; as of `Potential`."""
        members = (self.member(k) for k in range(len(self)))
        return np.mean([one.dipole_derivatives(frame) for one in members], axis=0)

    def attention(
        self, frames: Frames, *, member: int = 0, allow_unknown_elements: bool = False
    ) -> AttentionRecord:
        """What one ``member`` attended to, with the deviation of all of them for each atom."""
        allowed = {"allow_unknown_elements": allow_unknown_elements}
        record = self.member(member).attention(frames, **allowed)
        std = atomic_deviation(self.predict(frames, **allowed).forces_std)
        return dataclasses.replace(record, forces_std=std[:, : record.numbers.shape[1]])


def atomic_deviation(
    forces_std: Float[np.ndarray, "*frames atoms 3"],
) -> Float[np.ndarray, "*frames atoms"]:
    """How far members lie apart in the force on each atom, eV/Å: the root of the sum of the
    variances of its three components, which does not change where the molecule is turned."""
    return np.linalg.norm(forces_std, axis=-1)


def load_potential(
    path: str | PathLike, *, long_cutoff: float | None = None, ewald: bool | None = None
) -> Potential:
    """A `Potential` or `Ensemble`: from a file, a run folder, or the name of a bundled or fetched
    model.

    Args:
        path: file, folder or name
        long_cutoff: reach of electrostatics and dispersion, Å; None: the model's own, for SO3LR
            all pairs
        ewald: whether electrostatics sums over all images of a cell instead of being cut off;
            None: the model's own
    """
    found = potential_file(path)
    potential = (Ensemble if files.kind_of(found) == Ensemble.kind else Potential).load(found)
    if long_cutoff is None and ewald is None:
        return potential
    return potential.with_long_cutoff(long_cutoff or potential.config.long_cutoff, ewald=ewald)
