"""The probes of docs/faithfulness.md: which features of which model know what.

    python -m benchmarks.probes --folder runs/probes

Three tables: SO3LR on the molecules of QM7-X (under SO3KRATES_DATA), ethanol's bundled model on its
test frames, and SO3LR at the ends of cumulenes of 3 to 15 carbons; each beside an untrained network
of the same shape. Figures are written as pages.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import numpy as np

from so3krates_lite.datasets import load
from so3krates_lite.datasets.bundled import bundled_split
from so3krates_lite.drawing import save_figure
from so3krates_lite.ensemble import load_potential
from so3krates_lite.interpret import named_targets, probe
from so3krates_lite.interpret.probes import ProbeMap
from so3krates_lite.interpret.targets import (
    Target,
    angle_cosine,
    at_atom,
    dihedral_cosine,
)
from so3krates_lite.potential import Potential
from so3krates_lite.structures.frames import Frames

SEED = 0


def qm7x() -> tuple[Frames, dict[str, Target]]:
    """400 structures of many molecules; those of one composition are never in two parts."""
    frames = load("qm7x")
    chosen = np.random.default_rng(SEED).permutation(len(frames))[:400]
    frames = frames[np.sort(chosen)]
    frames = frames.replace(group=frames.composition)
    targets = named_targets(frames)
    with_charge = load_potential("so3lr").properties(frames).charges
    targets["SO3LR's own charge"] = Target(np.where(frames.mask, with_charge, np.nan))
    return frames, targets


def ethanol() -> tuple[Frames, dict[str, Target]]:
    """Test frames of the bundled ethanol, walkers apart; C C O, five H of C, H of O."""
    frames = load("ethanol-gfn2")
    frames = frames[bundled_split("ethanol-gfn2").test]
    targets = named_targets(frames)
    del targets["hybridisation of C"], targets["in a ring"], targets["number of neighbours"]
    targets |= {
        "angle C-C-O, at C": at_atom(frames, 1, lambda R: angle_cosine(R, 0, 1, 2)),
        "torsion C-C-O-H, at O": at_atom(frames, 2, lambda R: dihedral_cosine(R, 0, 1, 2, 8)),
        "torsion C-C-O-H, at CH3": at_atom(frames, 0, lambda R: dihedral_cosine(R, 0, 1, 2, 8)),
    }
    return frames, targets


def cumulenes() -> tuple[Frames, dict[str, Target]]:
    """Sampled chains of all lengths; asked of both end carbons, and of all carbons."""
    frames = load("cumulenes-gfn2")
    frames = frames[frames.group < 100]
    frames = frames[np.random.default_rng(SEED).permutation(len(frames))[:600]]
    carbons = (frames.numbers == 6).sum(axis=1)
    length, torsion, nearest = (np.full(frames.numbers.shape, np.nan) for _ in range(3))
    for k, n in enumerate(carbons):
        R = frames.positions[k]
        length[k, [0, n - 1]] = np.linalg.norm(R[n - 1] - R[0])
        # twice the angle: each end's two hydrogens are alike
        torsion[k, [0, n - 1]] = 2 * dihedral_cosine(R, n, 0, n - 1, n + 2) ** 2 - 1
        ends = np.stack([np.linalg.norm(R[:n] - R[end], axis=1) for end in (0, n - 1)])
        nearest[k, :n] = ends.min(axis=0)
    return frames.replace(group=None), {
        "distance to the other end": Target(length),
        "cos 2 (angle between ends)": Target(torsion),
        "distance to the nearer end": Target(nearest),
    }


STUDIES = {
    "so3lr-qm7x": ("so3lr", qm7x),
    "ethanol": ("ethanol-gfn2", ethanol),
    "so3lr-cumulenes": ("so3lr", cumulenes),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--only", nargs="+", default=list(STUDIES), choices=STUDIES)
    options = parser.parse_args()
    options.folder.mkdir(parents=True, exist_ok=True)
    for name in options.only:
        model, data = STUDIES[name]
        potential, (frames, targets) = load_potential(model), data()
        untrained = Potential.random(potential.config, SEED)
        for title, network in ((name, potential), (f"{name}, untrained", untrained)):
            begin = time.perf_counter()
            found = probe(network, frames, targets, seed=SEED)
            print(f"\n### {title} ({time.perf_counter() - begin:.0f} s)\n\n{markdown(found)}")
            save_figure(found.figure(title), options.folder / f"{title.replace(', ', '-')}.html")


def markdown(found: ProbeMap) -> str:
    """Mean and spread over splits."""
    lines = [
        "| | atoms | " + " | ".join(found.places) + " |",
        "|---" * (len(found.places) + 2) + "|",
    ]
    for t, target in enumerate(found.targets):
        cells = ["" if np.isnan(score) else f"{score:.2f}" for score in found.score[t]]
        lines.append(f"| {target} | {found.atoms[t]} | " + " | ".join(cells) + " |")
    spread = np.nanmax(found.spread)
    return "\n".join([*lines, "", f"Largest standard deviation over splits: {spread:.2f}."])


if __name__ == "__main__":
    main()
