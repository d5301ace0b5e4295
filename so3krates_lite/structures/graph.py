"""Batches: molecules of any size as arrays of one shape.

A neighbour list says which atoms see each other. Here each *undirected* pair is listed once: its
distance, its filters and its SPHC distance are the same from both ends, and are computed once. What
differs between the ends is who asks and who answers, and the sign of odd harmonics.

There may be two lists. The *local* one holds the pairs within the cutoff. The *far* one holds every
pair of a structure, or those up to a second, longer cutoff. Electrostatics and dispersion sum over
it; in a spherical neighbourhood, which of them interact is decided in SPHC space in every layer.

Molecules of different size share a batch by padding. A padded atom has atomic number 0; a padded
pair has ``mask`` False and is given a length of twice the cutoff, where every coefficient is zero.
Nothing else of a model with a cutoff needs to know about padding.

One large structure may be cut for several devices (`sharing`). Each then has a batch of one
structure, its own atoms and pairs; what its pairs read of atoms of others is sent, and so is what
they add to them. Only `Pairs`, and sums over all atoms (`Batch.total`), need to know about that.
"""

from __future__ import annotations

import math
from typing import Any, TypeVar

import jax
import jax.numpy as jnp
from flax import struct
from jax.sharding import Mesh
from jaxtyping import Array, Bool, Float, Int, Num

from so3krates_lite.arrays import AnyArray
from so3krates_lite.config import ModelConfig
from so3krates_lite.runtime.devices import AXIS

Tree = TypeVar("Tree")

# of the local and, where there is one, of the far list
PairVectors = tuple[Float[AnyArray, "graphs pairs 3"], Float[AnyArray, "graphs far_pairs 3"] | None]


@struct.dataclass
class PairList:
    """Undirected pairs of each structure, padded to one length.

    ``vector`` (Å) leads from the first atom to the second, or to its periodic image, as they stood
    when the pairs were listed.

    Where several devices share a structure, ``sent`` are the atoms of this one that pairs of each
    of the others reach; 0 fills them up. What this one is sent stands behind its own atoms, device
    after device, and ``first`` and ``second`` count that, too.
    """

    __no_type_check__ = True  # of the constructor: JAX makes trees of this with all sorts of leaves

    first: Int[AnyArray, "graphs pairs"]
    second: Int[AnyArray, "graphs pairs"]
    vector: Float[AnyArray, "graphs pairs 3"]
    mask: Bool[AnyArray, "graphs pairs"]
    sent: Int[AnyArray, "graphs devices sent"] | None = None

    @property
    def room(self) -> int:
        """Places for pairs per structure, filled or not."""
        return self.mask.shape[1]


@struct.dataclass
class Images:
    """What a sum over all images of a cell reads, see `physics.electrostatics.ewald`.

    ``places`` are the atoms' when the pairs were listed, as shares of the cell's vectors, and
    ``waves`` whole numbers n of the waves exp(2 pi i n . place), one of each two opposite ones;
    0 fills both up.
    """

    __no_type_check__ = True  # as of `PairList`

    places: Float[AnyArray, "graphs atoms 3"]
    waves: Int[AnyArray, "graphs waves 3"]


@struct.dataclass
class Batch:
    """Structures stacked along a first axis, ready for the model (a JAX pytree).

    A batch knows no positions. Its pairs have vectors, rounded from the exact difference, and
    ``displacement`` (Å) says how far each atom has moved since they were listed: not at all in a
    batch just made. So an atom's distance from the origin, or that of its image, costs no digits.

    ``cell`` (Å, rows are lattice vectors) is zero for molecules; ``total_charge`` in e;
    ``unpaired_electrons`` is the spin multiplicity less one. ``far`` is None for models that read
    local pairs only, ``images`` for those that sum over no images.
    """

    __no_type_check__ = True  # as of `PairList`

    numbers: Int[AnyArray, "graphs atoms"]
    displacement: Float[AnyArray, "graphs atoms 3"]
    cell: Float[AnyArray, "graphs 3 3"]
    total_charge: Float[AnyArray, "graphs"]
    unpaired_electrons: Float[AnyArray, "graphs"]
    local: PairList
    far: PairList | None = None
    images: Images | None = None

    def __len__(self) -> int:
        return self.numbers.shape[0]

    def __getitem__(self, index) -> Batch:
        """The structures ``index`` (a slice or an array of numbers)."""
        return jax.tree.map(lambda leaf: leaf[index], self)

    @property
    def atom_mask(self) -> Bool[AnyArray, "graphs atoms"]:
        return self.numbers > 0

    @property
    def room(self) -> int:
        """Places for pairs per structure, those of both lists."""
        return self.local.room + (self.far.room if self.far else 0)

    @property
    def mesh(self) -> Mesh | None:
        """Of the devices that share its structure, if it lies on several."""
        sent: Any = self.local.sent  # on devices, not numpy's
        return None if sent is None else sent.sharding.mesh

    def total(self, values: Num[Array, "graphs atoms"]) -> Num[Array, "graphs"]:
        """The sum over the atoms of each structure, those on other devices included."""
        total = values.sum(axis=1)
        return total if self.local.sent is None else jax.lax.psum(total, AXIS)


@struct.dataclass
class Pairs:
    """The undirected pairs of a batch, its structures laid end to end.

    Of a structure that several devices share these are one device's; ``sent`` as of `PairList`.
    """

    __no_type_check__ = True  # as of `PairList`

    first: Int[AnyArray, "pairs"]
    second: Int[AnyArray, "pairs"]
    n_atoms: int = struct.field(pytree_node=False)  # of this device
    sent: Int[AnyArray, "devices sent"] | None = None

    @classmethod
    def of(cls, listed: PairList, batch: Batch) -> Pairs:
        graphs, atoms = batch.numbers.shape
        start = jnp.arange(graphs, dtype=listed.first.dtype)[:, None] * atoms
        return cls(
            (listed.first + start).reshape(-1),
            (listed.second + start).reshape(-1),
            graphs * atoms,
            None if listed.sent is None else listed.sent[0],
        )

    @property
    def alone(self) -> Pairs:
        """The same as if all atoms that they reach were on this device."""
        if self.sent is None:
            return self
        return Pairs(self.first, self.second, self.n_atoms + self.sent.size)

    def reached(self, values: Tree) -> Tree:
        """Arrays over atoms, and behind them what other devices have sent of theirs."""
        if self.sent is None:
            return values

        def with_others(own: Array) -> Array:
            others = jax.lax.all_to_all(own[self.sent], AXIS, 0, 0, tiled=True)
            return jnp.concatenate([own, others.reshape(-1, *own.shape[1:])])

        return jax.tree.map(with_others, values)

    def returned(self, sums: Tree, take: str = "add") -> Tree:
        """The other way: what was found for atoms of other devices joins what these have found.

        Args:
            sums: arrays over atoms and, behind them, those of others
            take: "add", or "max" for the largest
        """
        if self.sent is None:
            return sums

        def joined(found: Array) -> Array:
            own, others = found[: self.n_atoms], found[self.n_atoms :]
            others = others.reshape(*self.sent.shape, *found.shape[1:])
            back = jax.lax.all_to_all(others, AXIS, 0, 0, tiled=True)
            return getattr(own.at[self.sent], take)(back)

        return jax.tree.map(joined, sums)

    def ends(self, values: Tree) -> tuple[Tree, Tree]:
        """Arrays over atoms, as they are at each pair's first and at its second atom."""
        values = self.reached(values)
        first = jax.tree.map(lambda value: value[self.first], values)
        return first, jax.tree.map(lambda value: value[self.second], values)

    def entries(
        self, matrices: Float[Array, "graphs atoms atoms *any"]
    ) -> tuple[Float[Array, "pairs *any"], Float[Array, "pairs *any"]]:
        """From [receiver, sender] of each structure: where first asks, and where second asks."""
        atoms = matrices.shape[1]
        graph, first, second = self.first // atoms, self.first % atoms, self.second % atoms
        return matrices[graph, first, second], matrices[graph, second, first]

    def collect(
        self, to_first: Float[Array, "pairs *any"], to_second: Float[Array, "pairs *any"]
    ) -> Float[Array, "atoms *any"]:
        """Add up, for every atom, what its pairs bring it."""
        index = jnp.concatenate([self.first, self.second])
        values = jnp.concatenate([to_first, to_second])
        return self.returned(jax.ops.segment_sum(values, index, self.alone.n_atoms))

    def largest(self, value: Float[Array, "pairs"]) -> Float[Array, "atoms"]:
        """For every atom the largest ``value`` of its pairs; -inf for an atom without any."""
        index = jnp.concatenate([self.first, self.second])
        values = jnp.concatenate([value, value])
        return self.returned(jax.ops.segment_max(values, index, self.alone.n_atoms), "max")


def pair_vectors(batch: Batch, config: ModelConfig) -> PairVectors:
    """r_ij from first to second atom, in Å: as listed, and what both have moved since."""
    take = jax.vmap(lambda moved, index: moved[index])

    def vectors(listed: PairList, cutoff: float) -> Float[Array, "graphs pairs 3"]:
        displacement = batch.displacement
        if listed.sent is not None:  # a batch of one structure
            displacement = Pairs.of(listed, batch).reached(displacement[0])[None]
        moved = take(displacement, listed.second) - take(displacement, listed.first)
        vector = listed.vector + moved
        length = 2 * cutoff if math.isfinite(cutoff) else 1.0
        outside = jnp.asarray([0.0, 0.0, length], vector.dtype)
        return jnp.where(listed.mask[..., None], vector, outside)

    far = batch.far and vectors(batch.far, config.long_cutoff or config.cutoff)
    return vectors(batch.local, config.cutoff), far
