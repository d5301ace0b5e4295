"""The settings of a training run; the paper's where it states them, but for the optimiser."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass
from typing import Any, Literal, get_args

from so3krates_lite.config import ModelConfig, So3kratesConfig, known_fields
from so3krates_lite.errors import is_whole, require
from so3krates_lite.runtime.settings import precision_of

# of the matrices and of Adam where none is given; of a network with more than 240 features in all
# of its layers the first falls in proportion, see docs/results.md
RATES = {"muon": 1e-2, "adam": 1e-3}
FEATURES_IN_ALL = 240

Optimiser = Literal["muon", "adam"]
Schedule = Literal["plateau", "cosine", "exponential", "constant"]
Loss = Literal["mse", "l2mae"]
EnergyShift = Literal["element", "atom", "isolated", "none"]
EnergyScale = Literal["forces", "energies", "none"]


@dataclass(frozen=True)
class TrainConfig:
    """How a potential is trained.

    Args:
        epochs: how many passes over the training frames, at most
        max_minutes: stop after so many minutes of training, counted over resumed runs without the
            epoch in which each compiles; None: no limit
        batch_size: structures per step; an incomplete last batch of an epoch is left out
        optimiser: "muon" (see `training.muon`; what is no matrix goes by Adam at 0.3 of the rate)
            or "adam", the paper's (beta 0.9, 0.999)
        learning_rate: of Muon's matrices, or of Adam, at its highest; None: 1e-3 for Adam, for Muon
            1e-2, or 2.4 / (features times layers) for a So3krates where that is less
        schedule: "plateau" (factor ``plateau_factor`` after ``plateau_patience`` validations
            without improvement), "cosine" (a linear rise over the first 2 %, then down to 1 % over
            ``epochs``), "exponential" (factor 0.7 per 100,000 steps), "constant"
        weight_decay: of Muon's matrices, which every step makes shorter by this share times the
            rate; Adam has none
        momentum: share that Muon's running mean of gradients keeps of itself in each step
        clip_norm: largest global norm of a gradient
        ema_decay: of the running mean of the weights that is validated and kept; 0: none
        loss: "mse", of squared errors (the paper's), or "l2mae": of absolute errors of energies and
            of the lengths of the errors of forces, which large errors pull at no harder than small
        energy_weight: weight of the energies' mean error in the loss; errors are in eV divided by
            the energy scale
        forces_weight: of the forces', in eV/Å divided likewise
        energy_shift: fit one energy per "element" or one per "atom" to the training energies, take
            those of the "isolated" atoms among the frames, which are then no data, or "none"
        energy_scale: eV per unit of network output: "forces" (standard deviation of the training
            forces times 1 Å), "energies" (standard deviation of the energies less their shifts) or
            "none" (1 eV)
        train_only: train these parts of the network only, by their names in the tree of parameters
            or the beginning of them, such as "head"; (): all
        refit_shift: where training begins from a potential, fit the energy zero of each element
            anew, for other molecules or another level of theory
        stop_patience: stop after this many validations without improvement; 0: never
        members: how many networks are trained side by side, from the seeds ``seed``, ``seed + 1``,
            …; more than one: the result is an `Ensemble`
        seed: of the initial weights and of the order of frames
        precision: "float32" or "float64"
    """

    epochs: int = 1000
    max_minutes: float | None = None
    batch_size: int = 5
    optimiser: Optimiser = "muon"
    learning_rate: float | None = None
    schedule: Schedule = "plateau"
    plateau_factor: float = 0.5
    plateau_patience: int = 25
    weight_decay: float = 0.02
    momentum: float = 0.95
    clip_norm: float = 1.0
    ema_decay: float = 0.999
    loss: Loss = "mse"
    energy_weight: float = 0.01
    forces_weight: float = 0.99
    energy_shift: EnergyShift = "element"
    energy_scale: EnergyScale = "forces"
    train_only: tuple[str, ...] = ()
    refit_shift: bool = False
    stop_patience: int = 0
    members: int = 1
    seed: int = 0
    precision: str = "float32"

    def __post_init__(self) -> None:
        precision_of(self.precision)
        for name in ("epochs", "batch_size", "plateau_patience", "members"):
            value = getattr(self, name)
            require(is_whole(value, least=1), name, value, "a whole number above 0")
        for name in ("stop_patience", "seed"):
            value = getattr(self, name)
            require(is_whole(value, least=0), name, value, "a whole number, 0 or more")
        for name in ("learning_rate", "clip_norm"):
            value = getattr(self, name)
            fits = (value is None and name == "learning_rate") or 0 < value < math.inf
            require(fits, name, value, "a finite number above 0")
        require(
            self.max_minutes is None or self.max_minutes > 0,
            "max_minutes",
            self.max_minutes,
            "more than 0, or None",
        )
        for name in ("weight_decay", "energy_weight", "forces_weight"):
            value = getattr(self, name)
            require(0 <= value < math.inf, name, value, "a finite number, 0 or more")
        for name in ("momentum", "ema_decay"):
            value = getattr(self, name)
            require(0 <= value < 1, name, value, "at least 0 and below 1")
        require(
            0 < self.plateau_factor < 1, "plateau_factor", self.plateau_factor, "between 0 and 1"
        )
        require(
            self.energy_weight + self.forces_weight > 0,
            "energy_weight + forces_weight",
            0,
            "at least one weight above 0",
        )
        choices = {
            "optimiser": Optimiser,
            "schedule": Schedule,
            "loss": Loss,
            "energy_shift": EnergyShift,
            "energy_scale": EnergyScale,
        }
        for name, kind in choices.items():
            allowed = get_args(kind)
            require(getattr(self, name) in allowed, name, getattr(self, name), f"one of {allowed}")

        object.__setattr__(self, "train_only", tuple(self.train_only))

    def for_model(self, model: ModelConfig) -> TrainConfig:
        """The same with the rate that stands for None."""
        if self.learning_rate is not None:
            return self
        rate = RATES[self.optimiser]
        if self.optimiser == "muon" and isinstance(model, So3kratesConfig):
            in_all = max(model.features * model.layers, FEATURES_IN_ALL)
            rate = float(f"{rate * FEATURES_IN_ALL / in_all:.2g}")
        return dataclasses.replace(self, learning_rate=rate)

    def to_dict(self) -> dict[str, Any]:
        return {**dataclasses.asdict(self), "train_only": list(self.train_only)}

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> TrainConfig:
        # runs that were begun before there was decay go on without, and those whose steps went by
        # way of fitted filters with the networks themselves
        values = {name: value for name, value in values.items() if name != "filter_polynomials"}
        return cls(**{"weight_decay": 0.0, **known_fields(cls, values, "training configuration")})
