"""Benchmark suites that ask for nothing but a calculator.

A suite brings structures, references and tasks, and loads every model in the same way: a function
is looked up by its name and called with a model's name, a precision and a device. `catalogued` is
that function for this package. Which suites, and what their entries look like: docs/engines.md.
"""

from __future__ import annotations

from os import PathLike
from typing import Any

from so3krates_lite.ensemble import load_potential
from so3krates_lite.simulate.calculator import So3kratesCalculator


def catalogued(
    model: str | PathLike = "so3lr",
    *,
    default_dtype: str = "float64",
    long_cutoff: float | None = None,
    ewald: bool | None = None,
    total_charge: float | None = None,
    spin_multiplicity: int | None = None,
    allow_unknown_elements: bool = False,
) -> So3kratesCalculator:
    """A calculator by the name of its model, in the words that suites use.

    Args:
        model: the name of a bundled or fetched potential, its file, or a run folder
        default_dtype: "float64" or "float32"
        long_cutoff, ewald: as of `load_potential`; SO3LR wants one of them for cells
        total_charge, spin_multiplicity, allow_unknown_elements: as of `So3kratesCalculator`

    Raises:
        UserError: there is no such model, or an argument is not possible
    """
    potential = load_potential(model, long_cutoff=long_cutoff, ewald=ewald)
    settings: dict[str, Any] = {
        "total_charge": total_charge,
        "spin_multiplicity": spin_multiplicity,
        "allow_unknown_elements": allow_unknown_elements,
    }
    return So3kratesCalculator(potential, precision=default_dtype, **settings)
