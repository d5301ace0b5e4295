"""What moves in a figure is what moves in the frames."""

from __future__ import annotations

import matplotlib.pyplot as plt
import numpy as np
import pytest
from ase.build import molecule
from synthetic import ethanol_record

from so3krates_lite.drawing.motion import draw_mode, motion_figure
from so3krates_lite.drawing.tubes import RINGS, SIDES
from so3krates_lite.structures.frames import Frames

WATER = Frames.from_atoms([molecule("H2O")])


def test_every_frame_has_the_places_of_its_atoms():
    steps = np.linspace(0, 0.3, 4)[:, None, None] * np.array([[0, 0, 0], [0, 0, 1.0], [0, 0, 0]])
    frames = Frames.from_atoms([molecule("H2O")] * 4).replace(positions=WATER.positions + steps)
    figure = motion_figure(frames)
    assert len(figure.frames) == 4
    first = np.array([figure.data[1][axis] for axis in "xyz"]).T
    last = np.array([figure.frames[-1].data[1][axis] for axis in "xyz"]).T
    assert last - first == pytest.approx(np.array([[0, 0, 0], [0, 0, 0.3], [0, 0, 0]]), abs=2e-3)
    play, stop = figure.layout.updatemenus[0].buttons
    assert list(play.args[0]) == ["0", "1", "2", "3"] and stop.args[0] == (None,)
    assert len(motion_figure(frames, loop=True).layout.updatemenus[0].buttons[0].args[0]) == 24


def test_arrows_stand_on_the_atoms_that_move_and_the_longest_is_as_long_as_is_said():
    figure, ax = plt.subplots()
    mode = np.array([[0.0, 0.001, 0], [0, 1.0, 0], [0, 0.5, 0]])  # in the molecule's plane
    draw_mode(ax, WATER, mode, largest=0.8)
    arrows = [a for a in ax.texts if a.arrow_patch is not None]
    lengths = sorted(float(np.hypot(*np.subtract(a.xy, a.get_position()))) for a in arrows)
    plt.close(figure)
    assert len(arrows) == 2
    # the view is from a little above, so that lengths are foreshortened alike
    assert lengths[1] == pytest.approx(2 * lengths[0], rel=1e-6) and 0.6 < lengths[1] <= 0.8


def test_attention_moves_with_the_atoms_on_one_scale_for_all_frames():
    record = ethanol_record(frames=3, spherical=True)
    where = {"block": "spherical", "layer": 1, "channel": 1}
    names = ["0°", "90°", "180°"]
    figure = motion_figure(record, **where, threshold=0.05, names=names, said="angle ")
    limit = record.limit("spherical", "weighted")
    counts = []
    for k, moved in enumerate(figure.frames):
        size = np.abs(record.select(quantity="weighted", frame=k, **where))
        tubes = np.array([moved.data[2][axis] for axis in "xyz"]).T.reshape(-1, RINGS * SIDES, 3)
        assert len(tubes) == (size >= 0.05 * limit).sum() > 0
        # a tube begins at an atom, where this figure draws it
        atoms = np.array([moved.data[1][axis] for axis in "xyz"]).T
        starts = tubes[:, :SIDES].mean(axis=1)
        assert np.linalg.norm(starts[:, None] - atoms, axis=-1).min(axis=1).max() < 0.02
        counts.append(len(tubes))
    assert len(set(counts)) > 1  # each frame has its own
    (slider,) = figure.layout.sliders
    assert [step.label for step in slider.steps] == names
    assert [step.args[0] for step in slider.steps] == [("0",), ("1",), ("2",)]
