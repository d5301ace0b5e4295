"""A potential: a configured network, its weights, and the energy zero of each element.

Total energies of molecules are thousands of eV and their differences a few meV: more digits than
float32 has. The network therefore describes the energy relative to a sum of per-element shifts,
fitted on the training set, and the shifts are added outside it, in float64. Forces are the exact
derivative of the network's energy; the shifts have none.
"""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property, partial, wraps
from os import PathLike
from pathlib import Path
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from flax.traverse_util import flatten_dict, unflatten_dict
from jaxtyping import Array, Float, Int, Num

from so3krates_lite.arrays import AnyArray
from so3krates_lite.config import GeomAttConfig, ModelConfig, So3kratesConfig
from so3krates_lite.embedding import N_ELEMENTS
from so3krates_lite.errors import UserError
from so3krates_lite.geomatt import GeomAtt
from so3krates_lite.model import So3krates, count_parameters
from so3krates_lite.passes import Collect, collect_at_once, collect_for_reverse, map_in_passes
from so3krates_lite.record.attention_record import AttentionRecord
from so3krates_lite.record.from_network import joined, of_geomatt, of_so3krates
from so3krates_lite.runtime import files
from so3krates_lite.runtime.settings import Compiled, precision_context, precision_of
from so3krates_lite.structures.batching import NEUTRAL, electrons_read, make_batch
from so3krates_lite.structures.buckets import bucketed_batches
from so3krates_lite.structures.frames import Frames
from so3krates_lite.structures.graph import Batch, PairVectors, pair_vectors

log = logging.getLogger(__name__)

KIND = "so3krates-lite potential"
FORMAT_VERSION = 1


class Architecture(NamedTuple):
    """What computes a configuration, and how a record is made of what it leaves."""

    network: type[nn.Module]
    record: Callable[[Frames, Batch, dict, PairVectors, Any], AttentionRecord]


_ARCHITECTURES = {
    So3kratesConfig: Architecture(So3krates, of_so3krates),
    GeomAttConfig: Architecture(GeomAtt, of_geomatt),
}


def network(config: ModelConfig, collect: Collect = collect_at_once) -> nn.Module:
    """The flax module that computes a configuration.

    It is applied to a batch and the vectors of its pairs, and returns the energy of each atom. Its
    mutable collection "attention" takes what it attended to; the collection "switches", made by its
    method `switches`, holds factors on attention coefficients by block and [receiver, sender].
    ``collect`` is how sums over pairs are taken, see `passes`.
    """
    return _ARCHITECTURES[type(config)].network(config, collect)


# factors on the coefficients of each block, by [receiver, sender]: 1 as trained, 0 switched off
Switches = dict[str, Float[Array, "layers graphs atoms atoms _channels"]]


def atomic_energies(
    params: dict,
    batch: Batch,
    vectors: PairVectors,
    config: ModelConfig,
    collect: Collect = collect_at_once,
    switches: Switches | None = None,
) -> Float[Array, "graphs atoms"]:
    """The network's energy of each atom, in its own unit and without shifts; zero for padding."""
    model, variables = network(config, collect), {"params": params}
    if switches:
        variables["switches"] = model.switches(switches)
    return model.apply(variables, batch, vectors)


@partial(Compiled, once=True, static_argnames="config")
def initialise(key: jax.Array, batch: Batch, config: ModelConfig) -> dict:
    """Random parameters of the network, in the batch's precision.

    They are drawn in float32 always, so that a seed gives one network; compiled as a whole, which
    is much quicker than eagerly.
    """
    single = jax.tree.map(_to_single, batch)
    params = network(config).init(key, single, pair_vectors(single, config))["params"]
    return jax.tree.map(lambda leaf: leaf.astype(batch.displacement.dtype), params)


def _to_single(leaf: AnyArray) -> AnyArray:
    return leaf.astype(jnp.float32) if jnp.issubdtype(leaf.dtype, jnp.floating) else leaf


def energy(
    params: dict,
    batch: Batch,
    config: ModelConfig,
    collect: Collect = collect_at_once,
    switches: Switches | None = None,
) -> Float[Array, "graphs"]:
    """The network's energy of each structure, in its own unit and without shifts."""
    vectors = pair_vectors(batch, config)
    return atomic_energies(params, batch, vectors, config, collect, switches).sum(axis=1)


def energy_and_forces(
    params: dict, batch: Batch, config: ModelConfig, switches: Switches | None = None
) -> tuple[Float[Array, "graphs"], Float[Array, "graphs atoms 3"]]:
    """The network's energy and F = -dE/dR, by one forward and one reverse sweep.

    On a CPU, many pairs are computed in passes; whoever wants forward derivatives of forces, such
    as products with the Hessian, then takes those of `energy`.
    """
    values, pull = jax.vjp(
        lambda moved: energy(
            params,
            dataclasses.replace(batch, displacement=moved),
            config,
            collect_for_reverse,
            switches,
        ),
        batch.displacement,
    )
    return values, -pull(jnp.ones_like(values))[0]


def energy_forces_and_stress(
    params: dict, batch: Batch, config: ModelConfig
) -> tuple[Float[Array, "graphs"], Float[Array, "graphs atoms 3"], Float[Array, "graphs 3 3"]]:
    """The same with the stress (1/V) dE/d(strain), the strain deforming every pair vector.

    Structures whose cell has no volume, molecules among them, get a stress of zero.
    """

    def strained(moved, strain):
        symmetric = (strain + strain.mT) / 2
        vectors = jax.tree.map(
            lambda r_ij: r_ij + jnp.einsum("gpa,gab->gpb", r_ij, symmetric),
            pair_vectors(dataclasses.replace(batch, displacement=moved), config),
        )
        return atomic_energies(params, batch, vectors, config, collect_for_reverse).sum(axis=1)

    values, pull = jax.vjp(strained, batch.displacement, jnp.zeros_like(batch.cell))
    gradient, strain_gradient = pull(jnp.ones_like(values))
    volume = jnp.abs(jnp.linalg.det(batch.cell))[:, None, None]
    stress = jnp.where(volume > 0, strain_gradient / jnp.where(volume > 0, volume, 1), 0)
    return values, -gradient, stress


def in_passes(function: Callable) -> Callable:
    """``function`` of parameters, batch and configuration, in passes where they save time."""

    @wraps(function)
    def passes(params: dict, batch: Batch, config: ModelConfig) -> Array | tuple[Array, ...]:
        if config.is_cut_at_pairs:
            return function(params, batch, config)
        return map_in_passes(lambda part: function(params, part, config), batch)

    return passes


_energy_and_forces = Compiled(in_passes(energy_and_forces), static_argnames="config")
_energy_forces_and_stress = Compiled(in_passes(energy_forces_and_stress), static_argnames="config")


@partial(Compiled, static_argnames="config")
@in_passes
def _atomic_energies(params: dict, batch: Batch, config: ModelConfig) -> Array:
    vectors = pair_vectors(batch, config)
    return atomic_energies(params, batch, vectors, config, collect_for_reverse)


@partial(Compiled, static_argnames="config")
def _recorded(params: dict, batch: Batch, config: ModelConfig) -> tuple[dict, PairVectors]:
    """The collection "attention", and the vectors of the pairs that it speaks of."""
    vectors, model = pair_vectors(batch, config), network(config)
    _, left = model.apply({"params": params}, batch, vectors, mutable=["attention"])
    return left["attention"], vectors


class Prediction(NamedTuple):
    """Energy (eV), forces (eV/Å; zero for padding) and, if asked for, stress (eV/Å^3)."""

    energy: Float[np.ndarray, "frames"]
    forces: Float[np.ndarray, "frames atoms 3"]
    stress: Float[np.ndarray, "frames 3 3"] | None = None


@dataclass(frozen=True, eq=False)
class Potential:
    """A trained force field.

    Args:
        config: the network's configuration
        params: its parameters; their dtype is the precision that everything is computed in
        element_shift: eV per atomic number 0 … 99, added in float64
        energy_scale: eV per unit of the network's energy
        card: what a user should know: data, level of theory, settings, errors, hardware
        trained_elements: atomic numbers of the training data; None: not known, as for random
            parameters and for files of earlier versions
    """

    config: ModelConfig
    params: dict
    element_shift: Float[np.ndarray, "elements"] = field(
        default_factory=lambda: np.zeros(N_ELEMENTS)
    )
    energy_scale: float = 1.0
    card: Mapping[str, Any] = field(default_factory=dict)
    trained_elements: frozenset[int] | None = None

    @classmethod
    def random(cls, config: ModelConfig, seed: int = 0, precision: str = "float32") -> Potential:
        """An untrained potential."""
        dtype = precision_of(precision)
        with precision_context(dtype):
            atom = Frames(
                numbers=np.ones((1, 1), int),
                positions=np.zeros((1, 1, 3)),
                total_charge=np.zeros(1),
                spin_multiplicity=np.ones(1, int),
            )
            batch = make_batch(atom, config, dtype=dtype)
            return cls(config, initialise(jax.random.key(seed), batch, config))

    @property
    def dtype(self) -> np.dtype:
        return np.dtype(jax.tree.leaves(self.params)[0].dtype)

    @property
    def n_parameters(self) -> int:
        return count_parameters(self.params)

    def astype(self, precision: str) -> Potential:
        """The same potential computing in "float32" or "float64"."""
        dtype = precision_of(precision)
        params = jax.tree.map(lambda leaf: np.asarray(leaf).astype(dtype), self.params)
        return dataclasses.replace(self, params=params)

    @cached_property
    def device_params(self) -> dict:
        """The parameters where they are computed with, moved there once."""
        with precision_context(self.dtype):
            return jax.device_put(self.params)

    @property
    def elements(self) -> set[int] | None:
        """Atomic numbers that the training data held; None where nothing tells them.

        Where they are not stated, the shifts tell them: an element's shift is exactly zero where
        the training data lacked it. Where all shifts are zero, they tell nothing.
        """
        if self.trained_elements is not None:
            return set(self.trained_elements)
        return set(np.flatnonzero(self.element_shift).tolist()) or None

    def check_elements(self, numbers: Int[np.ndarray, "..."]) -> None:
        """Raise a `UserError` if ``numbers`` hold an element the training data did not."""
        if self.elements is None:
            return
        unknown = set(np.unique(numbers).tolist()) - self.elements - {0}
        if unknown:
            from ase.data import chemical_symbols

            trained = ", ".join(chemical_symbols[z] for z in sorted(self.elements))
            raise UserError(
                f"The structure holds {chemical_symbols[min(unknown)]}, but this potential was "
                f"trained on {trained} only: take one that was trained on it, or pass "
                f"allow_unknown_elements=True if its energy may be meaningless."
            )

    @cached_property
    def _noted(self) -> set[str]:
        """What `note_unread` has said."""
        return set()

    def note_unread(self, name: str, values: float | Num[np.ndarray, "frames"] | None) -> None:
        """Warn, once, of total charges or spins that are given to a model which reads none."""
        if values is None or electrons_read(self.config)[name] or name in self._noted:
            return
        values = np.atleast_1d(values)
        other = np.flatnonzero(values != NEUTRAL[name])
        if len(other):
            self._noted.add(name)
            log.warning(
                "This potential does not read the %s, so that %g changes nothing: its energies are "
                "those of the %s that it was trained on",
                name,
                values[other[0]],
                name,
            )

    def shift(self, frames: Frames) -> Float[np.ndarray, "frames"]:
        """Sum of the element shifts of each frame, eV."""
        return total_shift(frames, self.element_shift)

    def predict_batch(self, batch: Batch, stress: bool = False) -> tuple[np.ndarray, ...]:
        """Energy without shifts, forces and (if asked) stress of a batch, in eV and Å, float64."""
        function = _energy_forces_and_stress if stress else _energy_and_forces
        with precision_context(self.dtype):
            results = function(self.device_params, batch, self.config)
        return tuple(np.asarray(value, np.float64) * self.energy_scale for value in results)

    def atomic_energies(self, batch: Batch) -> Float[np.ndarray, "graphs atoms"]:
        """Energy of each atom of a batch without its shift, in eV; zero for padding."""
        with precision_context(self.dtype):
            values = _atomic_energies(self.device_params, batch, self.config)
        return np.asarray(values, np.float64) * self.energy_scale

    def predict(
        self,
        frames: Frames,
        *,
        batch_size: int = 64,
        stress: bool = False,
        allow_unknown_elements: bool = False,
    ) -> Prediction:
        """Energies, forces and optionally stresses of ``frames``, in their order.

        Structures of like size are computed together, padded to one shape, and a short set is
        filled up to a power of two, so that few compilations serve sets of any length.
        Elements that the training data did not hold are refused, unless allowed.
        """
        if not allow_unknown_elements:
            self.check_elements(frames.numbers)
        for name in NEUTRAL:
            self.note_unread(name, getattr(frames, name))
        energy = self.shift(frames)
        forces = np.zeros(frames.positions.shape)
        stresses = np.zeros((len(frames), 3, 3)) if stress else None
        batches = bucketed_batches(frames, self.config, spare=True, dtype=self.dtype)
        flat = [k for index, batch in batches for k in index[np.linalg.det(batch.cell) == 0]]
        if stress and flat:
            raise UserError(
                f"stress needs periodic cells with a volume: frame {min(flat)} has none."
            )
        for index, batch in batches:
            atoms = batch.numbers.shape[1]
            size = min(batch_size, 1 << (len(index) - 1).bit_length())
            for start in range(0, len(index), size):
                chosen = np.minimum(np.arange(start, start + size), len(index) - 1)
                found = self.predict_batch(batch[chosen], stress)
                part = index[start : start + size]
                energy[part] += found[0][: len(part)]
                forces[part, :atoms] = found[1][: len(part)]
                if stress:
                    stresses[part] = found[2][: len(part)]
        return Prediction(energy, forces, stresses)

    def attention(self, frames: Frames, *, allow_unknown_elements: bool = False) -> AttentionRecord:
        """What every layer, head and degree attended to, for a frame or a trajectory.

        Elements that the training data did not hold are refused, unless allowed.
        """
        if not allow_unknown_elements:
            self.check_elements(frames.numbers)
        parts, record_of = [], _ARCHITECTURES[type(self.config)].record
        batches = bucketed_batches(frames, self.config, spare=True, dtype=self.dtype)
        for index, batch in batches:
            with precision_context(self.dtype):
                record, vectors = jax.device_get(_recorded(self.device_params, batch, self.config))
            parts.append(record_of(frames[index], batch, record, vectors, self.config))
        return joined(parts, [index for index, _ in batches])

    def save(self, path: str | PathLike) -> None:
        """Write one .safetensors file that holds everything; complete or not at all."""
        params = jax.tree.map(np.asarray, self.params)
        arrays = flatten_dict({"params": params}, sep="/")
        arrays["element_shift"] = np.asarray(self.element_shift, np.float64)
        header = {
            "config": self.config.to_dict(),
            "energy_scale": float(self.energy_scale),
            "card": dict(self.card),
        }
        if self.trained_elements is not None:
            header["elements"] = sorted(int(z) for z in self.trained_elements)
        files.save_arrays(Path(path), KIND, FORMAT_VERSION, arrays, header)

    @classmethod
    def load(cls, path: str | PathLike) -> Potential:
        """Read a potential from a file, or a bundled one by its name, such as "ethanol-gfn2"."""
        found = Path(path)
        if found.is_dir():
            found = found / "best.safetensors"
        elif not found.exists() and found.suffix != ".safetensors" and len(found.parts) == 1:
            from so3krates_lite.datasets.bundled import bundled_model

            found = bundled_model(found.name)
        arrays, header = files.load_arrays(found, KIND, FORMAT_VERSION)
        shift = arrays.pop("element_shift")
        params = unflatten_dict(arrays, sep="/")["params"]
        try:
            config = ModelConfig.from_dict(header["config"])
        except UserError as error:
            raise UserError(f"{found} cannot be used: {error}") from None
        elements = header.get("elements")  # absent in files of earlier versions
        elements = None if elements is None else frozenset(elements)
        return cls(config, params, shift, header["energy_scale"], header["card"], elements)


def total_shift(
    frames: Frames, element_shift: Float[np.ndarray, "elements"]
) -> Float[np.ndarray, "frames"]:
    """Sum of ``element_shift`` (eV per atomic number) over the atoms of each frame, eV."""
    return np.where(frames.numbers > 0, element_shift[frames.numbers], 0.0).sum(axis=1)


def load_potential(path: str | PathLike) -> Potential:
    """`Potential.load`: from a file, a run folder, or a bundled model's name."""
    return Potential.load(path)
