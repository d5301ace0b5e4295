"""A potential: a configured network, its weights, and the energy zero of each element.

Total energies of molecules are thousands of eV and their differences a few meV: more digits than
float32 has. The network therefore describes the energy relative to a sum of per-element shifts,
fitted on the training set, and the shifts are added outside it, in float64. Forces are the exact
derivative of the network's energy; the shifts have none.
"""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property, partial
from os import PathLike
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

import jax
import numpy as np
from flax.traverse_util import flatten_dict, unflatten_dict
from jax.sharding import Mesh
from jaxtyping import Array, Float, Int, Num

from so3krates_lite.config import ModelConfig
from so3krates_lite.curvature import dipole_derivatives, hessian_along
from so3krates_lite.embedding import N_ELEMENTS
from so3krates_lite.energies import (
    ARCHITECTURES,
    atomic_energies,
    energy_and_forces,
    energy_forces_and_stress,
    in_passes,
    initialise,
    network,
    on_devices,
)
from so3krates_lite.errors import UserError
from so3krates_lite.model import count_parameters
from so3krates_lite.passes import collect_for_reverse
from so3krates_lite.physics.properties import Properties
from so3krates_lite.record.attention_record import AttentionRecord
from so3krates_lite.record.from_network import joined
from so3krates_lite.runtime import files
from so3krates_lite.runtime.devices import Number, row_of
from so3krates_lite.runtime.settings import Compiled, precision_context, precision_of
from so3krates_lite.structures.batching import NEUTRAL, PairLists, electrons_read, make_batch
from so3krates_lite.structures.buckets import Index, bucketed_batches, in_parts
from so3krates_lite.structures.frames import Frames
from so3krates_lite.structures.graph import Batch, PairVectors, pair_vectors
from so3krates_lite.structures.sharing import check_shared, share_out

log = logging.getLogger(__name__)

FORMAT_VERSION = 1


# which structures, and what is found of them by name
Found = Iterator[tuple[Index, dict[str, np.ndarray]]]

_energy_and_forces = Compiled(in_passes(energy_and_forces), static_argnames="config")
_energy_forces_and_stress = Compiled(in_passes(energy_forces_and_stress), static_argnames="config")


@partial(Compiled, static_argnames="config")
@in_passes
def _atomic_energies(params: dict, batch: Batch, config: ModelConfig) -> Array:
    vectors = pair_vectors(batch, config)
    return atomic_energies(params, batch, vectors, config, collect_for_reverse)


@partial(Compiled, static_argnames="config")
def _recorded(params: dict, batch: Batch, config: ModelConfig) -> tuple[dict, PairVectors]:
    """The collection "attention" with the partial charges, if any, and the vectors of the pairs."""
    vectors, model = pair_vectors(batch, config), network(config)
    kinds = ["attention", "properties"] if config.has_charges else ["attention"]
    _, left = model.apply({"params": params}, batch, vectors, mutable=kinds)
    charges = {"charges": left["properties"]["physics"]["charges"]} if config.has_charges else {}
    return left["attention"] | charges, vectors


@partial(Compiled, static_argnames="config")
def _properties(params: dict, batch: Batch, config: ModelConfig) -> dict:
    """The collection "properties"."""
    vectors, model = pair_vectors(batch, config), network(config)
    _, left = model.apply({"params": params}, batch, vectors, mutable=["properties"])
    return left["properties"]


class _Predicted(NamedTuple):
    energy: Float[np.ndarray, "frames"]
    forces: Float[np.ndarray, "frames atoms 3"]
    stress: Float[np.ndarray, "frames 3 3"] | None = None


class Prediction(_Predicted):
    """Energy (eV), forces (eV/Å; zero for padding) and, if asked for, stress (eV/Å^3): a tuple of
    three.

    ``energy_std`` and ``forces_std`` say how far off each may be, by one standard deviation in the
    same units; None: whoever predicts does not tell, as one network alone does not.
    """

    energy_std: Float[np.ndarray, "frames"] | None = None
    forces_std: Float[np.ndarray, "frames atoms 3"] | None = None

    def with_deviations(
        self,
        energy_std: Float[np.ndarray, "frames"] | None,
        forces_std: Float[np.ndarray, "frames atoms 3"] | None,
    ) -> Prediction:
        """The same with deviations."""
        found = Prediction(*self)
        found.energy_std, found.forces_std = energy_std, forces_std
        return found

    @property
    def deviations(self) -> dict[str, np.ndarray]:
        """Those that are known, by name."""
        both = {"energy_std": self.energy_std, "forces_std": self.forces_std}
        return {name: value for name, value in both.items() if value is not None}

    def named(self) -> dict[str, np.ndarray]:
        """All that there is, by name."""
        values = {name: v for name, v in self._asdict().items() if v is not None}
        return values | self.deviations


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

    kind: ClassVar[str] = "so3krates-lite potential"  # what its file says it holds

    @classmethod
    def random(cls, config: ModelConfig, seed: int = 0, precision: str = "float32") -> Potential:
        """An untrained potential."""
        dtype = precision_of(precision)
        plain: Any = config
        if config.ewald:  # which a lone atom has no cell for, and no parameters
            plain = dataclasses.replace(plain, ewald=False)
        with precision_context(dtype):
            atom = Frames(
                numbers=np.ones((1, 1), int),
                positions=np.zeros((1, 1, 3)),
                total_charge=np.zeros(1),
                spin_multiplicity=np.ones(1, int),
            )
            batch = make_batch(atom, plain, dtype=dtype)
            return cls(config, initialise(jax.random.key(seed), batch, plain))

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

    def with_long_cutoff(
        self, long_cutoff: float | None, *, ewald: bool | None = None
    ) -> Potential:
        """The same with another reach of electrostatics and dispersion.

        Energies depend on it: compare only what was computed with one and the same.

        Args:
            long_cutoff: in Å; None: all pairs
            ewald: whether electrostatics sums over all images of a cell instead, see `physics`;
                None: as before

        Raises:
            UserError: the model has no far pairs, or the length is not positive
        """
        config: Any = self.config
        if not config.reads_far_pairs:
            if not (long_cutoff or ewald):
                return self
            raise UserError(
                f"long_cutoff = {long_cutoff} is given, but this potential sees no further than "
                f"its cutoff of {config.cutoff:g} Å: leave it out."
            )
        ewald = config.ewald if ewald is None else ewald
        config = dataclasses.replace(config, long_cutoff=long_cutoff, ewald=ewald)
        return dataclasses.replace(self, config=config)

    def note_assumed(self, frames: Frames) -> None:
        """Warn, once, that structures which state no charge are taken as neutral; and of an odd
        number of electrons where no spin is stated, either."""
        if not self.config.assumes_neutral or "neutral" in self._noted:
            return
        charge = 0 if frames.total_charge is None else frames.total_charge
        odd = np.flatnonzero((frames.numbers.sum(axis=1) - charge) % 2)
        told, read = [], electrons_read(self.config)
        if frames.total_charge is None and read["total_charge"]:
            told.append('The structures state no total charge: 0 is assumed (atoms.info["charge"])')
        if len(odd) and frames.spin_multiplicity is None and read["spin_multiplicity"]:
            told.append(
                f"Frame {odd[0]} has an odd number of electrons, as ions and radicals have, but "
                f'states no spin: a singlet is assumed (atoms.info["spin_multiplicity"])'
            )
        if told:
            self._noted.add("neutral")
            log.warning("%s", ". ".join(told))

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

    def computed(self, program: Compiled, batch: Batch) -> Any:
        """What a compiled function of parameters, batch and configuration returns, in float64."""
        with precision_context(self.dtype):
            found = program(self.device_params, batch, self.config)
        return jax.tree.map(lambda value: np.asarray(value, np.float64), found)

    def predict_batch(self, batch: Batch, stress: bool = False) -> tuple[np.ndarray, ...]:
        """Energy without shifts, forces and (if asked) stress of a batch, in eV and Å, float64."""
        program = self.program(stress, batch.mesh)
        return tuple(v * self.energy_scale for v in self.computed(program, batch))

    @staticmethod
    def program(stress: bool, mesh: Mesh | None = None) -> Compiled:
        """What computes energies and forces, and stress if asked; on a mesh that of one structure
        which its devices share."""
        if mesh is not None:
            return on_devices(energy_forces_and_stress if stress else energy_and_forces, mesh)
        return _energy_forces_and_stress if stress else _energy_and_forces

    def found_in(self, batch: Batch, stress: bool = False) -> dict[str, np.ndarray]:
        """The same by name, as of `Prediction`, with deviations where they are known."""
        found = self.predict_batch(batch, stress)
        return dict(zip(Prediction._fields, found, strict=False))

    def atomic_energies(self, batch: Batch) -> Float[np.ndarray, "graphs atoms"]:
        """Energy of each atom of a batch without its shift, in eV; zero for padding."""
        return self.computed(_atomic_energies, batch) * self.energy_scale

    def predict(
        self,
        frames: Frames,
        *,
        batch_size: int = 64,
        stress: bool = False,
        allow_unknown_elements: bool = False,
        devices: Number = 1,
    ) -> Prediction:
        """Energies, forces and optionally stresses of ``frames``, in their order.

        Structures of like size are computed together, padded to one shape, and a short set is
        filled up to a power of two, so that few compilations serve sets of any length.
        Elements that the training data did not hold are refused, unless allowed.

        Where several ``devices`` (a number, or "all") are to be used, they share each structure,
        one after another: for structures too large for one, see docs/scale.md.
        """
        if not allow_unknown_elements:
            self.check_elements(frames.numbers)
        for name in NEUTRAL:
            self.note_unread(name, getattr(frames, name))
        self.note_assumed(frames)
        energy, forces = np.zeros(len(frames)), np.zeros(frames.positions.shape)
        values = {"energy": energy, "forces": forces}
        if stress and len(flat := np.flatnonzero(~frames.has_volume)):
            raise UserError(f"stress needs periodic cells with a volume: frame {flat[0]} has none.")
        mesh = row_of(devices)
        if mesh is None:
            parts = self._found_in_batches(frames, batch_size, stress)
        else:
            parts = self._found_on_devices(frames, mesh, stress)
        for index, part in parts:
            for name, found in part.items():
                of_atoms = name.startswith("forces")
                shape = forces.shape if of_atoms else (len(frames), *found.shape[1:])
                whole = values.setdefault(name, np.zeros(shape))
                whole[(index, slice(found.shape[1])) if of_atoms else index] = found[: len(index)]
        energy += self.shift(frames)
        deviations = {name: values.pop(name, None) for name in ("energy_std", "forces_std")}
        return Prediction(**values).with_deviations(**deviations)

    def _found_in_batches(self, frames: Frames, batch_size: int, stress: bool) -> Found:
        """Structures of each batch, and what is found, its last structures filling it up."""
        for index, batch in bucketed_batches(frames, self.config, spare=True, dtype=self.dtype):
            size = min(batch_size, 1 << (len(index) - 1).bit_length())
            for part, chosen in in_parts(index, size):
                yield part, self.found_in(batch[chosen], stress)

    def _found_on_devices(self, frames: Frames, mesh: Mesh, stress: bool) -> Found:
        """Each structure, and what the devices of ``mesh`` find together."""
        check_shared(self.config)
        for k in range(len(frames)):
            frame, index = frames[k : k + 1].trimmed(), np.array([k])
            lists = PairLists.of(frames, self.config, index=index)
            batch = make_batch(frame, self.config, dtype=self.dtype, lists=lists)
            shares = share_out(batch, frame, mesh)
            yield index, shares.whole(self.found_in(shares.batch, stress))

    def attention(self, frames: Frames, *, allow_unknown_elements: bool = False) -> AttentionRecord:
        """What every layer, head and degree attended to, for a frame or a trajectory.

        Elements that the training data did not hold are refused, unless allowed.
        """
        if not allow_unknown_elements:
            self.check_elements(frames.numbers)
        parts, record_of = [], ARCHITECTURES[type(self.config)].record
        batches = bucketed_batches(frames, self.config, spare=True, dtype=self.dtype)
        for index, batch in batches:
            with precision_context(self.dtype):
                record, vectors = jax.device_get(_recorded(self.device_params, batch, self.config))
            parts.append(record_of(frames[index], batch, record, vectors, self.config))
        return joined(parts, [index for index, _ in batches])

    def hessian(self, frame: Frames) -> Float[np.ndarray, "atoms 3 atoms 3"]:
        """Second derivatives of the energy, d2E / dR_i dR_j, in eV/Å^2.

        Exact, by automatic differentiation, a few columns at a time (see `curvature`). It is
        symmetric up to rounding; float64 is meant (``potential.astype("float64")``). Of large
        structures, products with single directions may be enough: `hessian_product`.

        Args:
            frame: one structure

        Raises:
            UserError: several frames, or an element that the training data did not hold
        """
        atoms = int(frame.n_atoms[0])
        columns = self.hessian_product(frame, np.eye(3 * atoms).reshape(-1, atoms, 3))
        return columns.reshape(atoms, 3, atoms, 3)

    def hessian_product(
        self, frame: Frames, directions: Float[np.ndarray, "directions atoms 3"]
    ) -> Float[np.ndarray, "directions atoms 3"]:
        """The Hessian of one frame times each of ``directions``: how minus the forces (eV/Å) change
        per Å along them.

        Args, Raises: as of `hessian`
        """
        batch = self._lone(frame)
        with precision_context(self.dtype):
            directions = np.asarray(directions, self.dtype)
            found = hessian_along(self.device_params, batch, directions, self.config)
        return np.asarray(found, np.float64) * self.energy_scale

    def dipole_derivatives(self, frame: Frames) -> Float[np.ndarray, "3 atoms 3"]:
        """How the dipole of one frame follows its atoms, d mu / dR_j in e.

        Raises:
            UserError: as `hessian`, and for a model without charges or a periodic frame
        """
        if not self.config.has_charges:
            raise UserError(
                "This potential has no charges, so no dipole either: load one that has, such as "
                "so3lr."
            )
        if frame.is_periodic:
            raise UserError("A periodic structure has no dipole: give a molecule.")
        batch, positions = self._lone(frame), frame.trimmed().positions[0].astype(self.dtype)
        with precision_context(self.dtype):
            found = dipole_derivatives(self.device_params, batch, positions, self.config)
        return np.asarray(found, np.float64)

    def _lone(self, frame: Frames) -> Batch:
        """A batch of the one frame, without padded atoms."""
        if len(frame) != 1:
            raise UserError(f"One frame is needed, and {len(frame)} were given: choose one.")
        self.check_elements(frame.numbers)
        self.note_assumed(frame)
        return make_batch(frame.trimmed(), self.config, spare=True, dtype=self.dtype)

    def properties_of(self, batch: Batch) -> dict[str, Float[np.ndarray, "graphs atoms"]]:
        """What `properties` is made of: energies (eV) by term, "charges" and "ratios", if any."""
        found = self.computed(_properties, batch)
        physics = found["physics"]
        return {"network": found["network"], **physics.pop("energies"), **physics}

    def properties(self, frames: Frames, *, allow_unknown_elements: bool = False) -> Properties:
        """Energies by term, partial charges, Hirshfeld ratios and dipoles.

        Raises:
            UserError: the model has no physical terms, or an element is unknown
        """
        config = self.config
        if not config.physics:
            raise UserError(
                "This potential has no charges and no physical terms, its energy is the network's: "
                "load one that has, such as so3lr."
            )
        if not allow_unknown_elements:
            self.check_elements(frames.numbers)
        self.note_assumed(frames)
        values: dict[str, Float[np.ndarray, "frames atoms"]] = {}
        for index, batch in bucketed_batches(frames, config, spare=True, dtype=self.dtype):
            atoms = min(batch.numbers.shape[1], frames.numbers.shape[1])
            for name, found in self.properties_of(batch).items():
                whole = values.setdefault(name, np.zeros(frames.numbers.shape))
                whole[index, :atoms] = found[:, :atoms]
        energies = {name: values[name] for name in ("network", *config.physics)}
        charges, dipole = values.get("charges"), None
        if charges is not None:
            dipole = np.einsum(
                "fa,fad->fd", charges, np.where(frames.mask[..., None], frames.positions, 0)
            )
            if frames.pbc is not None:
                dipole[frames.pbc.any(axis=1)] = np.nan
        return Properties(energies, charges, values.get("ratios"), dipole)

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
        files.save_arrays(Path(path), self.kind, FORMAT_VERSION, arrays, header)

    @classmethod
    def load(cls, path: str | PathLike) -> Potential:
        """Read a potential from a file, or a bundled one by its name, such as "ethanol-gfn2"."""
        found = potential_file(path)
        arrays, header = files.load_arrays(found, cls.kind, FORMAT_VERSION)
        shift = arrays.pop("element_shift")
        params = unflatten_dict(arrays, sep="/")["params"]
        try:
            config = ModelConfig.from_dict(header["config"])
        except UserError as error:
            raise UserError(f"{found} cannot be used: {error}") from None
        elements = header.get("elements")  # absent in files of earlier versions
        elements = None if elements is None else frozenset(elements)
        return cls(config, params, shift, header["energy_scale"], header["card"], elements)


def potential_file(path: str | PathLike) -> Path:
    """The file that a path, a run folder, or the name of a bundled or fetched model stands for."""
    found = Path(path)
    if found.is_dir():
        return found / "best.safetensors"
    if not found.exists() and found.suffix != ".safetensors" and len(found.parts) == 1:
        from so3krates_lite.datasets.bundled import bundled_model

        return bundled_model(found.name)
    return found


def total_shift(
    frames: Frames, element_shift: Float[np.ndarray, "elements"]
) -> Float[np.ndarray, "frames"]:
    """Sum of ``element_shift`` (eV per atomic number) over the atoms of each frame, eV."""
    return np.where(frames.numbers > 0, element_shift[frames.numbers], 0.0).sum(axis=1)
