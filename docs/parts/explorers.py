"""Three explorers that live without a server: `make docs` computes them from models that are here.

Each is a page of its own under explorers/, small because all share one copy of plotly's script. The
page with a peptide needs the weights of SO3LR; where they are not fetched, it says so.
"""

from __future__ import annotations

from html import escape
from pathlib import Path

LIBRARY = "../_static/plotly.min.js"
EVERY = slice(None, None, 2)  # of the scan's 25 angles
# of all channels the one whose attention from end to end changes most with the angle
CHANNEL = {"block": "spherical", "layer": 2, "channel": 0}
THRESHOLD = 0.3  # of the scale's end, below which a pair is not drawn


def ethanol(path: Path) -> None:
    """Attention of the bundled model on a frame that it has not been trained on."""
    from so3krates_lite.datasets import load
    from so3krates_lite.datasets.bundled import bundled_split
    from so3krates_lite.ensemble import load_potential
    from so3krates_lite.report import write_report

    frame = load("ethanol-gfn2")[bundled_split("ethanol-gfn2").test[:1]]
    record = load_potential("ethanol-gfn2").attention(frame)
    write_report(path, title="Ethanol", record=record, library=LIBRARY)


def cumulene(path: Path) -> None:
    """C9H4 while one end turns against the other: attention over any distance, angle by angle."""
    from so3krates_lite.datasets import load
    from so3krates_lite.datasets.cumulenes import ANGLES, scan
    from so3krates_lite.drawing import save_figure
    from so3krates_lite.drawing.motion import motion_figure
    from so3krates_lite.ensemble import load_potential

    frames = scan(load("cumulenes-gfn2"), 9)[EVERY]
    record = load_potential("c9h4-spherical").attention(frames)
    figure = motion_figure(
        record,
        **CHANNEL,
        threshold=THRESHOLD,
        milliseconds=400,
        height=None,
        names=[f"{angle:.0f}°" for angle in ANGLES[EVERY]],
        said="angle between the ends ",
    )
    # a narrow page cuts the chain's ends off unless the camera stands back
    eye = figure.layout.scene.camera.eye
    eye.update({axis: 1.2 * eye[axis] for axis in "xyz"})
    save_figure(figure, path, library=LIBRARY)


def peptide(path: Path) -> None:
    """Alanine dipeptide with the published SO3LR."""
    from so3krates_lite.ensemble import load_potential
    from so3krates_lite.errors import UserError
    from so3krates_lite.lessons.so3lr_molecules import alanine_dipeptide
    from so3krates_lite.report import write_report
    from so3krates_lite.structures import Frames

    try:
        potential = load_potential("so3lr")
    except UserError as error:
        path.write_text(ABSENT.format(escape(str(error))), encoding="utf-8")
        return
    record = potential.attention(Frames.from_atoms([alanine_dipeptide()]))
    write_report(path, title="Alanine dipeptide, SO3LR", record=record, library=LIBRARY)


ABSENT = (
    '<!doctype html><html lang="en"><meta charset="utf-8"><meta name="color-scheme" '
    'content="light dark"><title>Alanine dipeptide</title><p>This page was built without the '
    "weights of SO3LR. {}</p></html>\n"
)


def write_explorers(app, exception: Exception | None) -> None:
    """All three, and the script they share."""
    if exception is not None:
        return
    from plotly.offline import get_plotlyjs

    folder = Path(app.outdir) / "explorers"
    folder.mkdir(exist_ok=True)
    for make in (ethanol, cumulene, peptide):
        make(folder / f"{make.__name__}.html")
    (Path(app.outdir) / "_static" / "plotly.min.js").write_text(get_plotlyjs(), encoding="utf-8")


def setup(app) -> None:
    app.connect("build-finished", write_explorers)
