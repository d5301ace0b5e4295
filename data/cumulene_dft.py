"""One density functional's view of a cumulene's barrier: writes cumulene_dft.csv beside itself.

Single points at the bundled relaxed GFN2-xTB geometries (angles 0 to 90 degrees in steps of 15) of
C5H4 and C9H4: spin-unrestricted PBE0/def2-SVP, started from mixed frontier orbitals, so that the
two electrons of the broken double bond may part (broken symmetry). Needs pyscf, which the package
does not: pip install pyscf. About ten minutes on one core.

    python data/cumulene_dft.py
"""

from __future__ import annotations

import csv
import time
from pathlib import Path

import numpy as np
import pyscf
from pyscf import dft, gto

FOLDER = Path(__file__).parent
HARTREE = 27.211386245988  # eV
FUNCTIONAL, BASIS = "pbe0", "def2-svp"
CARBONS = (5, 9)
STEP = 2  # every second of the scan's 7.5 degrees


def geometries(carbons: int) -> list[tuple[float, np.ndarray, np.ndarray]]:
    """Angle, atomic numbers and positions (Å) of the scan's first half."""
    with np.load(FOLDER / "cumulenes_gfn2.npz") as archive:
        chosen = np.flatnonzero(archive["group"] == 100 + carbons)[:13:STEP]
        numbers, positions = archive["numbers"][chosen], archive["positions"][chosen]
    angles = 7.5 * STEP * np.arange(len(chosen))
    return [
        (angle, z[z > 0], R[z > 0]) for angle, z, R in zip(angles, numbers, positions, strict=True)
    ]


def energies(numbers: np.ndarray, positions: np.ndarray) -> tuple[float, float, float]:
    """Restricted and broken-symmetry energy (eV), and <S^2> of the latter."""
    atom = [(int(z), tuple(map(float, r))) for z, r in zip(numbers, positions, strict=True)]
    molecule = gto.M(atom=atom, basis=BASIS, verbose=0)
    closed = dft.RKS(molecule, xc=FUNCTIONAL).density_fit().run()
    unrestricted = dft.UKS(molecule, xc=FUNCTIONAL).density_fit()
    highest = molecule.nelectron // 2 - 1
    alpha, beta = closed.mo_coeff.copy(), closed.mo_coeff.copy()
    homo, lumo = alpha[:, highest].copy(), alpha[:, highest + 1].copy()
    alpha[:, highest] = (homo + lumo) / np.sqrt(2)
    beta[:, highest] = (homo - lumo) / np.sqrt(2)
    occupied = np.stack([closed.mo_occ, closed.mo_occ]) / 2
    unrestricted.kernel(unrestricted.make_rdm1((alpha, beta), occupied))
    if not (closed.converged and unrestricted.converged):
        raise SystemExit("a point did not converge")
    square, _ = unrestricted.spin_square()
    return closed.e_tot * HARTREE, unrestricted.e_tot * HARTREE, float(square)


def main() -> None:
    rows = []
    for carbons in CARBONS:
        for angle, numbers, positions in geometries(carbons):
            begin = time.perf_counter()
            restricted, broken, square = energies(numbers, positions)
            rows.append([carbons, angle, f"{restricted:.5f}", f"{broken:.5f}", f"{square:.3f}"])
            print(*rows[-1], f"{time.perf_counter() - begin:.0f} s", flush=True)
    with (FOLDER / "cumulene_dft.csv").open("w", newline="") as stream:
        stream.write(
            f"# PBE0/{BASIS}, density fitting, pyscf {pyscf.__version__}; single points at the "
            f"relaxed GFN2-xTB geometries of cumulenes_gfn2.npz; eV\n"
        )
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow(["carbons", "angle", "restricted", "broken symmetry", "S squared"])
        writer.writerows(rows)


if __name__ == "__main__":
    main()
