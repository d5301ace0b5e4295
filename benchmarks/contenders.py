"""Who takes part in a comparison here, and why who does not."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

PEERS = {  # worker: label, environment variable of its Python, module to be found there
    "mace": ("MACE", "SO3KRATES_MACE_PYTHON", "mace"),
    "nequip": ("NequIP", "SO3KRATES_NEQUIP_PYTHON", "nequip"),
    "painn": ("PaiNN (SchNetPack)", "SO3KRATES_SCHNETPACK_PYTHON", "schnetpack"),
}
WORKERS = ("ours", "straightforward", "original", *PEERS)


@dataclass(frozen=True)
class Contender:
    """A row of the tables: which worker, which form of the network, which compilation cache."""

    label: str
    worker: str
    variant: str = "paper"  # of ours: the form that it runs, or that a ratio refers to
    cached: bool = False  # keeps compiled programs, or finds those of the row before
    starts_only: bool = False
    polynomials: int | None = None  # of ours: radial filters fitted by so many
    python: str = sys.executable
    settings: dict | None = None  # what its worker is told, if not the form of a network


def contenders(only: Collection[str] = WORKERS) -> tuple[list[Contender], list[str]]:
    """The rows of the workers in ``only`` and, for those that cannot take part, the reasons."""
    rows, skipped = [], []
    if "ours" in only:
        rows.append(Contender("ours", "ours", cached=True))
        rows.append(Contender("ours, second start", "ours", cached=True, starts_only=True))
        rows.append(Contender("ours, fitted filters", "ours", polynomials=64))
    if "straightforward" in only:
        rows.append(Contender("straightforward", "straightforward"))
    if "original" in only:
        reason = missing_original()
        if reason:
            skipped.append(f"original (mlff): {reason}")
        else:
            python = os.environ.get("SO3KRATES_MLFF_PYTHON", sys.executable)
            rows.append(Contender("ours, v0.3 form", "ours", "v0.3"))
            rows.append(Contender("original (mlff), v0.3 form", "original", "v0.3", python=python))
    for worker, (label, variable, module) in PEERS.items():
        if worker in only:
            reason = missing_peer(variable, module)
            if reason:
                skipped.append(f"{label}: {reason}")
            else:
                rows.append(Contender(label, worker, python=os.environ[variable]))
    return rows, skipped


def missing_original() -> str:
    """Why the original cannot take part; empty if it can."""
    checkout = os.environ.get("SO3KRATES_MLFF")
    if not checkout:
        return "SO3KRATES_MLFF names no checkout"
    if not (Path(checkout) / "mlff" / "nn").is_dir():
        return "the checkout SO3KRATES_MLFF names lacks mlff/nn"
    if not shutil.which(os.environ.get("SO3KRATES_MLFF_PYTHON", sys.executable)):
        return "SO3KRATES_MLFF_PYTHON names no program"
    return ""


def missing_peer(variable: str, module: str) -> str:
    """Why a peer cannot take part; empty if its Python finds its package."""
    python = os.environ.get(variable)
    if not python:
        return f"{variable} names no Python that has it"
    if not shutil.which(python):
        return f"{variable} names no program"
    look = f"import sys, importlib.util as u; sys.exit(u.find_spec({module!r}) is None)"
    if subprocess.run([python, "-c", look], capture_output=True).returncode:
        return f"the Python that {variable} names has no package {module}"
    return ""
