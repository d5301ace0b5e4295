"""What a model is: one frozen dataclass, saved beside the weights.

Each architecture has a configuration of its own, `So3kratesConfig` or `GeomAttConfig`. What the
rest of the package must know of a model, how far it sees and what it reads, both say in the same
words: those of `ModelConfig`.

Four forms of So3krates differ in a handful of places, listed in `FORMS`. ``variant`` names one of
them and sets those places together; everything else has the paper's value as its default. Three of
them are public, and "smooth" is the paper's form without its two kinks (see docs/pitfalls.md); it
is the default. "v0.3" is the later code, and "so3lr" the form of the published force field SO3LR,
the "Euclidean transformer".

====================  ===================  ==================  ==================  =================
where                 "paper" (2022)       "smooth"            "v0.3" (2023)       "so3lr" (2024)
====================  ===================  ==================  ==================  =================
SPHC start            neighbourhood mean   the same, smooth    zero                zero
invariant of an SPHC  norm per degree      smooth length       squared norm /      squared norm /
                                                               sqrt(2l+1)          sqrt(2l+1)
biases in q, k, v     yes                  yes                 no                  no
divisor of q w k      sqrt(F / heads)      sqrt(F / heads)     sqrt(F / heads)     mean neighbours
hidden, radial        128                  128                 F                   F
hidden, SPHC          32                   32                  F / 4               F / 4
radial basis          Gaussians            Gaussians           Gaussians           Bernstein
cutoff                cosine               cosine              cosine              polynomial
exchange block        degrees mixed        degrees mixed       degrees gated       gated, with norms
charge, spin enter    by a network         by a network        by a network        by a residual one
energy per element    as it is             as it is            as it is            scaled
====================  ===================  ==================  ==================  =================
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from dataclasses import dataclass
from numbers import Real
from typing import Any, ClassVar, Literal, get_args

from so3krates_lite.errors import UserError, is_whole, require

SphcStart = Literal["mean", "smooth", "zero", "sum"]
SphcInvariant = Literal["norm", "smooth", "contraction"]

Exchange = Literal["selfmix", "gated", "normed"]
RadialBasis = Literal["gaussian", "bernstein"]
Cutoff = Literal["cosine", "polynomial"]
PhysicalTerm = Literal["repulsion", "electrostatics", "dispersion"]

SO3LR_NEIGHBOURS = 13.168995780096482  # mean number within 4.5 Å in SO3LR's training data


@dataclass(frozen=True)
class Form:
    """A form of So3krates: what it sets where a configuration leaves it open, and the rest of it.

    Args:
        sphc_start, sphc_invariant: as in `So3kratesConfig`
        radial_hidden, spherical_hidden: hidden widths of the filter networks; None: F and F / 4
        exchange: how x and chi meet within an atom, see `exchange`
        biases: in the maps to q, k and v
        basis, cutoff: of distances, see `basis`
        neighbours: divisor of q w k; None: sqrt(F / heads)
        residual_electrons: the network that reads a share of charge or spin adds to that share
        element_scales: a trained factor on the energy of each element
    """

    sphc_start: SphcStart
    sphc_invariant: SphcInvariant
    radial_hidden: int | None
    spherical_hidden: int | None
    exchange: Exchange
    biases: bool
    basis: RadialBasis = "gaussian"
    cutoff: Cutoff = "cosine"
    neighbours: float | None = None
    residual_electrons: bool = False
    element_scales: bool = False


FORMS = {
    "paper": Form("mean", "norm", 128, 32, "selfmix", biases=True),
    "smooth": Form("smooth", "smooth", 128, 32, "selfmix", biases=True),
    "v0.3": Form("zero", "contraction", None, None, "gated", biases=False),
    "so3lr": Form(
        "zero",
        "contraction",
        None,
        None,
        "normed",
        biases=False,
        basis="bernstein",
        cutoff="polynomial",
        neighbours=SO3LR_NEIGHBOURS,
        residual_electrons=True,
        element_scales=True,
    ),
}


class ModelConfig:
    """What every model's configuration tells the rest of the package.

    ``architecture`` names the model, ``blocks`` its kinds of attention (see `record.blocks`);
    ``cutoff`` (Å) is the radius of the neighbourhood, infinite for a model that takes all pairs;
    the other four are false or None unless a model has them.
    """

    architecture: ClassVar[str]
    blocks: tuple[str, ...]
    cutoff: float
    long_cutoff: float | None = None
    is_nonlocal: bool = False
    is_cut_at_pairs: bool = False  # its layers can take their pairs in passes, see `passes`
    charge_embedding: bool = False
    spin_embedding: bool = False
    physics: tuple[PhysicalTerm, ...] = ()
    ewald: bool = False

    @property
    def has_charges(self) -> bool:
        """Whether the model gives every atom a partial charge."""
        return "electrostatics" in self.physics

    @property
    def has_ratios(self) -> bool:
        """Whether the model gives every atom a Hirshfeld ratio."""
        return "dispersion" in self.physics

    @property
    def reads_far_pairs(self) -> bool:
        """Whether there is a second list of pairs, up to ``long_cutoff``."""
        return self.is_nonlocal or self.has_charges or self.has_ratios

    @property
    def assumes_neutral(self) -> bool:
        """Whether a structure that states no charge or spin is a neutral singlet to the model."""
        return bool(self.physics)

    def memory(self, atoms: int, itemsize: int = 4) -> int:
        """Bytes that energy and forces of one structure take at least, where that is known."""
        return 0

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for JSON; the architecture is among them."""
        values = dataclasses.asdict(self)
        values = {name: list(v) if isinstance(v, tuple) else v for name, v in values.items()}
        return {"architecture": self.architecture, **values}

    @staticmethod
    def from_dict(values: dict[str, Any]) -> ModelConfig:
        """The inverse of `to_dict`; an unknown name is an error.

        Without an architecture the values are So3krates's.
        """
        values = dict(values)
        architecture = values.pop("architecture", So3kratesConfig.architecture)
        if architecture not in ARCHITECTURES:
            raise UserError(
                f"The model's architecture is {architecture!r}; this version of so3krates-lite "
                f"knows {', '.join(ARCHITECTURES)}: install a matching one."
            )
        cls = ARCHITECTURES[architecture]
        return cls(**known_fields(cls, values, "model configuration"))


@dataclass(frozen=True)
class So3kratesConfig(ModelConfig):
    """Configuration of So3krates.

    Args:
        variant: which form is computed, "paper", "smooth" (without its kinks), "v0.3" (the later
            code) or "so3lr" (that of SO3LR)
        features: F, width of the invariant features x; divisible by ``heads`` and by the number of
            degrees
        layers: how often the layer is applied, each time with its own weights
        degrees: degrees l of the spherical harmonic coordinates chi, ascending
        heads: heads of the feature attention (the geometric attention has one per degree)
        cutoff: radius of the neighbourhood, in Å
        radial_functions: K, functions of the radial basis
        radial_hidden, spherical_hidden: hidden widths of the two filter networks; None: the
            variant's
        sphc_start: "mean" (neighbourhood mean), "smooth" (the same where an atom has neighbours,
            going to zero as the last one leaves), "sum" (divided by ``sphc_normalization``),
            "zero";
            None: the variant's
        sphc_invariant: what the network reads of a degree of an SPHC vector u: "norm" (|u|),
            "smooth" (|u| with a rounded tip, `harmonics.smooth_degree_norms`) or "contraction"
            (|u|^2 / sqrt(2l+1)); None: the variant's
        sphc_normalization: divisor of the "sum" start
        radial_cutoff: multiply the radial basis by the cutoff too, as the code of 2022 did; the
            coefficient carries the cutoff in any case. In the spherical neighbourhood the filter
            then cannot tell distances beyond the cutoff apart
        spherical_radius: kappa, radius of the spherical neighbourhood in units of 1/n (the paper's
            is 1); None: a local model
        long_cutoff: longest distance in the spherical neighbourhood and of electrostatics and
            dispersion, in Å; None: none, all pairs
        charge_embedding: read the total charge
        spin_embedding: read the number of unpaired electrons
        filter_polynomials: radial filters are sums of so many Chebyshev polynomials of exp(-d),
            as `fit_filters` makes them of trained ones; None: the paper's networks
        ewald: sum electrostatics over all images of a cell, instead of cutting it off
        physics: terms of the energy beside the network's: "repulsion", "electrostatics",
            "dispersion", see `physics`; they are in eV, so is the network then
    """

    architecture: ClassVar[str] = "so3krates"

    variant: str = "smooth"
    features: int = 132
    layers: int = 6
    degrees: tuple[int, ...] = (1, 2, 3)
    heads: int = 4
    cutoff: float = 5.0
    radial_functions: int = 32
    radial_hidden: int | None = None
    spherical_hidden: int | None = None
    sphc_start: SphcStart | None = None
    sphc_invariant: SphcInvariant | None = None
    sphc_normalization: float = 1.0
    radial_cutoff: bool = False
    spherical_radius: float | None = None
    long_cutoff: float | None = None
    charge_embedding: bool = False
    spin_embedding: bool = False
    filter_polynomials: int | None = None
    physics: tuple[PhysicalTerm, ...] = ()
    ewald: bool = False

    @property
    def form(self) -> Form:
        """What the variant sets."""
        return FORMS[self.variant]

    @property
    def is_nonlocal(self) -> bool:
        """Whether there is a spherical neighbourhood."""
        return self.spherical_radius is not None

    @property
    def blocks(self) -> tuple[str, ...]:
        return ("feature", "geometric") + (("spherical",) if self.is_nonlocal else ())

    @property
    def is_cut_at_pairs(self) -> bool:
        """Whether layers can take their pairs in passes, see `passes`."""
        return not self.is_nonlocal

    def __post_init__(self) -> None:
        def settle(name: str, value: Any) -> None:
            if getattr(self, name) is None:
                object.__setattr__(self, name, value)

        variants = tuple(FORMS)
        require(self.variant in variants, "variant", self.variant, f"one of {variants}")
        degrees = self.degrees
        possible = isinstance(degrees, Sequence) and all(is_whole(l, least=0) for l in degrees)
        require(
            possible and len(degrees) > 0 and list(degrees) == sorted(set(degrees)),
            "degrees",
            degrees,
            "one or more different degrees from 0 upwards, ascending, such as (1, 2, 3)",
        )
        object.__setattr__(self, "degrees", tuple(int(l) for l in degrees))
        whole = ("features", "layers", "heads", "radial_functions")
        for name in (*whole, "radial_hidden", "spherical_hidden", "filter_polynomials"):
            value = getattr(self, name)
            fits = is_whole(value, least=1) or (value is None and name not in whole)
            require(fits, name, value, "a positive whole number")
        for name, what, needed in (
            ("cutoff", "length in Å", True),
            ("sphc_normalization", "number", True),
            ("spherical_radius", "number, or None for a local model", False),
            ("long_cutoff", "length in Å, or None for none", False),
        ):
            value = getattr(self, name)
            fits = isinstance(value, Real) and 0 < float(value) < math.inf
            require(fits or (value is None and not needed), name, value, f"a positive {what}")
        require(
            self.long_cutoff is None or self.reads_far_pairs,
            "long_cutoff",
            self.long_cutoff,
            "None, unless there is a spherical neighbourhood (spherical_radius), or electrostatics "
            "or dispersion",
        )
        terms = get_args(PhysicalTerm)
        fits = isinstance(self.physics, Sequence) and set(self.physics) <= set(terms)
        require(fits, "physics", self.physics, f"some of {terms}")
        object.__setattr__(self, "physics", tuple(term for term in terms if term in self.physics))
        require(
            not self.ewald or self.has_charges, "ewald", True, "False, or electrostatics in physics"
        )
        for parts, what in ((self.heads, "heads"), (len(self.degrees), "number of degrees")):
            require(
                self.features % parts == 0,
                "features",
                self.features,
                f"a multiple of the {what}, {parts}, since the attention heads share them",
            )
        settle("radial_hidden", self.form.radial_hidden or self.features)
        settle("spherical_hidden", self.form.spherical_hidden or max(self.features // 4, 1))
        settle("sphc_start", self.form.sphc_start)
        settle("sphc_invariant", self.form.sphc_invariant)
        for name, choices in (
            ("sphc_start", get_args(SphcStart)),
            ("sphc_invariant", get_args(SphcInvariant)),
        ):
            require(getattr(self, name) in choices, name, getattr(self, name), f"one of {choices}")


@dataclass(frozen=True)
class GeomAttConfig(ModelConfig):
    """Configuration of GeomAtt.

    Args:
        orders: orders k >= 2 of the geometric correlations, ascending; each has a stream of layers
        features: F_v, width of the atoms' features, in each stream
        layers: layers per stream
        inner: f_2, width of the inner products of order 2; order k has f_k = f_2 / 2^(k-2)
        shared: one pair of maps for all factors of a correlation, instead of one for each
        grid_end: end of the grid of the densities, in Å; it begins at 0
        grid_spacing: Delta, spacing of the grid, in Å
        gamma: 1/Å^2, a density is exp(-gamma (d - mu)^2) at the grid point mu
    """

    architecture: ClassVar[str] = "geomatt"
    blocks: ClassVar[tuple[str, ...]] = ("correlation",)
    cutoff: ClassVar[float] = math.inf

    orders: tuple[int, ...] = (2, 3, 4)
    features: int = 128
    layers: int = 3
    inner: int = 128
    shared: bool = False
    grid_end: float = 5.0
    grid_spacing: float = 0.05
    gamma: float = 20.0

    def __post_init__(self) -> None:
        orders = self.orders
        possible = isinstance(orders, Sequence) and all(is_whole(k, least=2) for k in orders)
        require(
            possible and len(orders) > 0 and list(orders) == sorted(set(orders)),
            "orders",
            orders,
            "one or more different orders from 2 upwards, ascending, such as (2, 3, 4)",
        )
        object.__setattr__(self, "orders", tuple(int(k) for k in orders))
        for name in ("features", "layers", "inner"):
            value = getattr(self, name)
            require(is_whole(value, least=1), name, value, "a positive whole number")
        most = 2 ** (self.orders[-1] - 2)
        require(
            self.inner % most == 0,
            "inner",
            self.inner,
            f"a multiple of {most}, since order {self.orders[-1]} has inner / {most}",
        )
        for name, what in (
            ("grid_end", "length in Å"),
            ("grid_spacing", "length in Å"),
            ("gamma", "number in 1/Å^2"),
        ):
            value = getattr(self, name)
            fits = isinstance(value, Real) and 0 < float(value) < math.inf
            require(fits, name, value, f"a positive {what}")
        require(
            self.grid_spacing <= self.grid_end,
            "grid_spacing",
            self.grid_spacing,
            f"at most grid_end, {self.grid_end:g} Å",
        )

    @property
    def grid_points(self) -> int:
        """D, how many points the grid of the densities has: 0, Delta, … below its end."""
        return round(self.grid_end / self.grid_spacing)

    def width(self, order: int) -> int:
        """f_k, width of the inner products of an order."""
        return self.inner // 2 ** (order - 2)

    def factors(self, order: int) -> int:
        """How many pairs of maps the correlation of an order has."""
        return 1 if self.shared else order - 1

    def memory(self, atoms: int, itemsize: int = 4) -> int:
        """Bytes that energy and forces of one structure take, about.

        Each order holds, of every layer, one matrix of all pairs of atoms per factor and component
        of its inner product (order 2: one in all), and one per product of two of them. They stand
        once as computed, once in the order of the products, and both again as derivatives.
        """
        matrices = sum(
            self.layers * (1 if k == 2 else self.width(k) * (self.factors(k) + max(k - 3, 0)))
            for k in self.orders
        )
        return 4 * matrices * atoms**2 * itemsize


ARCHITECTURES = {cls.architecture: cls for cls in ModelConfig.__subclasses__()}


def known_fields(cls: type, values: dict[str, Any], what: str) -> dict[str, Any]:
    """``values`` as the fields of the dataclass ``cls`` have them; an unknown name is an error."""
    names = [field.name for field in dataclasses.fields(cls)]
    unknown = sorted(set(values) - set(names))
    if unknown:
        raise UserError(
            f"The {what} has no setting {unknown[0]!r}; it knows: {', '.join(sorted(names))}."
        )
    # JSON knows lists only
    return {name: tuple(v) if isinstance(v, list) else v for name, v in values.items()}
