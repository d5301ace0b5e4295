"""The moving picture at the head of the README: `python docs/parts/moving.py` draws it anew.

C9H4 while one end turns against the other, with the attention of its spherical neighbourhood, drawn
by the package's own pictures; below, the sum of what either CH2 group pays to the other. It is an
animated WebP on a transparent ground, for light and dark alike, and a still picture for readers who
asked their system for less motion.
"""

from __future__ import annotations

import io
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "docs")]

MOVING = ROOT / "docs" / "images" / "turning.webp"
STILL = MOVING.with_suffix(".png")
CARBONS, STEP = 9, 3.75  # degrees between two pictures; half of the scan's
MILLISECONDS = 70
# the chain from left to right, its near end turned a little towards the eye and seen from above
YAW, PITCH = np.radians((24.0, 16.0))


def turned():
    """Angles and frames of half a turn, after which the molecule is as at its beginning."""
    from so3krates_lite.datasets import load
    from so3krates_lite.datasets.cumulenes import ANGLES, scan

    frames = scan(load("cumulenes-gfn2"), CARBONS)
    angles = np.arange(STEP / 2, 180, STEP)  # in between: flat chains have no side to bend tubes to
    after = np.searchsorted(ANGLES, angles, side="right")
    share = ((angles - ANGLES[after - 1]) / (ANGLES[after] - ANGLES[after - 1]))[:, None, None]
    R = (1 - share) * frames.positions[after - 1] + share * frames.positions[after]
    return angles, replace(frames[after - 1], positions=R, energy=None, forces=None)


def far_pairs(record, frame: int) -> np.ndarray:
    """Which pairs of a frame lead from one CH2 group to the other."""
    listed, pairs = record.neighbours("spherical"), record.pairs(frame, "spherical")
    ends = np.stack([listed.receiver[pairs], listed.sender[pairs]], axis=1)
    first, last = {0, CARBONS, CARBONS + 1}, {CARBONS - 1, CARBONS + 2, CARBONS + 3}
    return np.array([len({*pair} & first) == 1 == len({*pair} & last) for pair in ends.tolist()])


def draw() -> list:
    """One picture for each angle."""
    import matplotlib.pyplot as plt
    from PIL import Image

    from parts.explorers import CHANNEL, THRESHOLD
    from so3krates_lite.drawing.look import POSITIVE, TEXT
    from so3krates_lite.drawing.scene import chosen_pairs, scene
    from so3krates_lite.drawing.stills import draw_attention, draw_molecule, house_style
    from so3krates_lite.ensemble import load_potential
    from so3krates_lite.record.wording import scale_limit

    house_style()
    angles, frames = turned()
    record = load_potential("c9h4-spherical").attention(frames)
    limit = scale_limit(record, CHANNEL["block"], "weighted")
    values = [record.select(frame=k, **CHANNEL) for k in range(len(angles))]
    far = [np.abs(v[far_pairs(record, k)]).sum() for k, v in enumerate(values)]
    view = seen_from()
    pictures = []
    for k, angle in enumerate(angles):
        figure = plt.figure(figsize=(8.6, 4.1), layout="none")
        ax = figure.add_axes((0, 0.34, 1, 0.66))
        picture = standing(scene(record, k, CHANNEL["block"]))
        draw_molecule(ax, picture, view, labels=False)
        keep = chosen_pairs(picture, values[k], limit, THRESHOLD)
        draw_attention(ax, picture, values[k], limit, keep, view)
        ax.set(xlim=(-7.4, 7.4), ylim=(-2.15, 2.15))
        curve = figure.add_axes((0.09, 0.13, 0.87, 0.22))
        curve.plot([-angles[0], *angles, 180 + angles[0]], [far[-1], *far, far[0]], color=POSITIVE)
        dot = {"color": POSITIVE, "markersize": 9, "markeredgecolor": TEXT}
        curve.plot(angle, far[k], "o", clip_on=False, zorder=9, **dot)
        curve.set(xlim=(0, 180), ylim=(0, 1.15 * max(far)), xticks=range(0, 181, 30), yticks=[0])
        curve.set_xlabel("angle between the ends / °")
        curve.set_ylabel("end to end")
        stream = io.BytesIO()
        figure.savefig(stream, dpi=100)
        plt.close(figure)
        pictures.append(Image.open(stream).convert("RGBA"))
    return pictures


def standing(picture):
    """The scene moved so that the chain's middle is where it was in every other picture."""
    shift = picture.positions[CARBONS // 2]
    tubes = replace(picture.tubes, path=picture.tubes.path - shift)
    return replace(picture, positions=picture.positions - shift, tubes=tubes)


def seen_from() -> np.ndarray:
    """Rows to the right, up and towards the eye, in the scan's axes: the chain lies along z."""
    turn = np.array(
        [[np.cos(YAW), 0, np.sin(YAW)], [0, 1, 0], [-np.sin(YAW), 0, np.cos(YAW)]],
    )
    nod = np.array(
        [[1, 0, 0], [0, np.cos(PITCH), -np.sin(PITCH)], [0, np.sin(PITCH), np.cos(PITCH)]]
    )
    lying = np.array([[0, 0, 1], [1, 0, 0], [0, 1, 0]])  # z to the right, x up
    return nod @ turn @ lying


def main() -> None:
    """Write both files and say their sizes."""
    first, *others = pictures = draw()
    first.save(
        MOVING,
        save_all=True,
        append_images=others,
        duration=MILLISECONDS,
        loop=0,
        quality=80,
        method=4,
    )
    pictures[0].save(STILL, optimize=True)
    for path in (MOVING, STILL):
        print(f"{path.relative_to(ROOT)}: {path.stat().st_size / 1e6:.2f} MB")


if __name__ == "__main__":
    main()
