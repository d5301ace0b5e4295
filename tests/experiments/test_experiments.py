"""The experiments, run on little: who trains on what, what is written down, and what must follow.

Training is compiled once for each set of shapes, and compiling is all the waiting there is. So the
tests below share settings, models and sizes, and keep what was compiled from one run to the next.
"""

from __future__ import annotations

import inspect
import io
import json
from dataclasses import replace

import numpy as np
import pytest
from small import random_parameters, small_config

from so3krates_lite.cli import main
from so3krates_lite.datasets import load, save_frames
from so3krates_lite.datasets.cumulenes import ANGLES, cumulene, sampled, scan
from so3krates_lite.errors import UserError
from so3krates_lite.experiments import ag3, charge_transfer, cumulenes, train_alike
from so3krates_lite.experiments.train_alike import Trained
from so3krates_lite.potential import Potential, Prediction
from so3krates_lite.structures.frames import Frames
from so3krates_lite.training import TrainConfig
from so3krates_lite.training.progress import Silent

pytestmark = pytest.mark.usefixtures("quick_compilation", "programs_are_kept")

TINY = small_config(layers=1, radial_hidden=8)
QUICK = TrainConfig(epochs=1, batch_size=8, learning_rate=1e-2, energy_weight=0.5)


@pytest.fixture(scope="module")
def programs_are_kept():
    """A few small programs fit into the process; compiling them anew would take minutes."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(train_alike.jax, "clear_caches", lambda: None)
        yield


def defaults(monkeypatch, function, **changes) -> None:
    """Other defaults for keyword arguments that a command does not hand on."""
    function = inspect.unwrap(function)  # of the check of its annotations
    monkeypatch.setattr(function, "__kwdefaults__", {**function.__kwdefaults__, **changes})


# -- cumulenes ------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def chains() -> Frames:
    """C3H4, and once more in place of C4H4 with twice the energies: equal shapes, one program."""
    frames = load("cumulenes-gfn2")
    three = Frames.concatenate([sampled(frames, 3)[:68], scan(frames, 3)]).trimmed()
    four = three.replace(group=three.group + 1, energy=2 * three.energy, forces=2 * three.forces)
    return Frames.concatenate([three, four])


@pytest.fixture(scope="module")
def asked():
    return {
        "carbons": (3, 4),
        "models": {"one": TINY, "two words": TINY},
        "settings": QUICK,
        "seeds": (0, 5),
        "progress": Silent(),
    }


@pytest.fixture(scope="module")
def kept(chains, asked, tmp_path_factory, programs_are_kept, quick_compilation):
    folder = tmp_path_factory.mktemp("cumulenes")
    return folder, cumulenes.cumulene_curves(chains, folder=folder, **asked)


def test_there_is_a_curve_for_every_length_model_and_seed(kept):
    _, curves = kept
    names = [(curve.carbons, curve.model, curve.seed) for curve in curves]
    wanted = [(n, name, seed) for n in (3, 4) for name in ("one", "two words") for seed in (0, 5)]
    assert names == wanted
    same, other = curves[2].energy, curves[1].energy  # the models differ in name alone
    np.testing.assert_array_equal(curves[0].energy, same)
    assert np.abs(other - same).max() > 1e-6


def test_energies_are_counted_from_the_reference_s_minimum(kept, chains):
    folder, curves = kept
    for curve in curves:
        true = scan(chains, curve.carbons)
        np.testing.assert_allclose(curve.dihedral, ANGLES, atol=1e-5)
        np.testing.assert_allclose(curve.reference, true.energy - true.energy.min(), atol=1e-9)
        name = f"C{curve.carbons}H4/{curve.model.replace(' ', '-')}-seed{curve.seed}"
        potential = Potential.load(folder / name / "best.safetensors")
        expected = potential.predict(true).energy - true.energy.min()
        np.testing.assert_allclose(curve.energy, expected, atol=1e-5)


def test_a_row_says_what_the_curve_holds(kept, chains):
    folder, curves = kept
    content = json.loads((folder / "curves.json").read_text())
    assert content["units"] == "degrees, eV" and content["hardware"]
    assert content["data"] == chains.info["name"] == "cumulenes-gfn2"
    for curve, written in zip(curves, content["results"], strict=True):
        row, off = curve.row(), curve.energy - curve.reference
        assert {name: written[name] for name in row} == row
        assert row["carbons"] == curve.carbons and row["seed"] == curve.seed
        for name, value in {
            "barrier (meV)": curve.energy.max() - curve.energy.min(),
            "reference (meV)": 2.2805 * (curve.carbons - 2),
            "error at 0° (meV)": off[0],
            "error at 90° (meV)": off[12],
            "energy MAE (meV)": curve.energy_mae,
            "force MAE (meV/Å)": curve.force_mae,
        }.items():
            assert row[name] == pytest.approx(1e3 * value, abs=0.11), name
        np.testing.assert_allclose(written["energy"], curve.energy, atol=1e-5)
        np.testing.assert_allclose(written["dihedral"], ANGLES, atol=0.01)


def test_kept_runs_are_taken_and_not_trained_again(kept, chains, asked):
    folder, curves = kept
    files = {path: path.stat().st_mtime_ns for path in folder.glob("*/*/*")}
    assert len(files) == 8 * 5
    again = cumulenes.cumulene_curves(chains, folder=folder, **asked)
    assert {path: path.stat().st_mtime_ns for path in folder.glob("*/*/*")} == files
    for curve, same in zip(curves, again, strict=True):
        np.testing.assert_array_equal(curve.energy, same.energy)
        assert curve.row() == same.row()


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"models": {"one": replace(TINY, cutoff=4.0)}}, "another model"),
        ({"settings": replace(QUICK, learning_rate=1e-3)}, "another set of training settings"),
    ],
)
def test_a_kept_run_of_something_else_is_refused_and_left_alone(kept, chains, asked, changed, said):
    folder, _ = kept
    files = {path: path.read_bytes() for path in folder.glob("*/one-seed0/*")}
    with pytest.raises(UserError, match=f"keeps a run with {said} than this one"):
        cumulenes.cumulene_curves(chains, folder=folder, **{**asked, **changed})
    assert {path: path.read_bytes() for path in folder.glob("*/one-seed0/*")} == files


@pytest.mark.parametrize("lengths", [(3,), (3, 4), (3, 5, 7, 9, 11)])
def test_the_figure_has_one_panel_per_length_with_units(kept, lengths):
    _, curves = kept
    figure = cumulenes.draw_curves([replace(c, carbons=n) for n in lengths for c in curves[:3]])
    shown = [panel for panel in figure.axes if panel.get_visible()]
    assert [panel.get_title() for panel in shown] == [f"C$_{{{n}}}$H$_4$" for n in lengths]
    assert shown[0].get_ylabel() == "energy (eV)"
    assert shown[-1].get_xlabel() == "angle between the ends (°)"
    assert all(len(panel.lines) == 4 for panel in shown)  # the reference and three models
    (legend,) = figure.legends
    assert [text.get_text() for text in legend.get_texts()] == ["reference", "one", "two words"]
    if len(lengths) == 2:
        figure.savefig(out := io.BytesIO(), format="png")
        assert out.getvalue().startswith(b"\x89PNG")


def test_cumulenes_from_the_command_line(chains, tmp_path, monkeypatch, capsys):
    defaults(monkeypatch, cumulenes.cumulene_curves, models={"tiny": TINY})
    monkeypatch.setattr(cumulenes, "SETTINGS", replace(QUICK, epochs=999))
    data, folder = tmp_path / "chains.npz", tmp_path / "runs"
    save_frames(chains, data)
    command = ["experiment", "cumulenes", str(data), "--carbons", "3", "--epochs", "1"]
    assert main([*command, "--no-check", "--folder", str(folder)]) == 0
    said = capsys.readouterr().out
    assert "barrier" in said and "2280.5" in said
    assert "curves.json" in said and "curves.png" in said
    assert {path.name for path in folder.iterdir()} == {"C3H4", "curves.json", "curves.png"}
    (row,) = json.loads((folder / "curves.json").read_text())["results"]
    assert (row["model"], row["carbons"]) == ("tiny", 3)


# -- how far an angle reaches ---------------------------------------------------------------------


def test_a_local_model_is_exactly_flat_beyond_three_cutoffs_and_a_spherical_one_is_not():
    """Cutoff 2.5 Å: the hydrogens of C7H4 are 8.8 Å apart, those of C3H4 and C4H4 below 5 Å."""
    angles, lengths = (0.0, 20.0, 45.0, 70.0, 90.0, 135.0), (3, 4, 7)
    frames = []
    for n in lengths:
        shape = np.append(1.28 * ((n - 1) / 2 - np.arange(n // 2)), [0.93, 0.55])
        frames += [cumulene(n, angle, shape) for angle in angles]
    frames = Frames.from_atoms(frames)

    def variation(**settings) -> dict[int, float]:
        config = small_config(cutoff=2.5, sphc_start="smooth", **settings)
        energy = Potential(config, random_parameters(config)).predict(frames).energy
        return dict(zip(lengths, np.ptp(energy.reshape(3, -1), axis=1), strict=True))

    spherical = variation(layers=1, spherical_radius=1.0)
    assert min(spherical.values()) > 1e-6
    for layers in (1, 3):
        local = variation(layers=layers)
        # nothing but rounding is left: energies of about 4 eV hold 4e-16 eV apart
        assert local[7] < 1e-12 * max(spherical[7], 1.0)
        assert local[3] > 1e-6 and local[4] > 1e-6


# -- learning curves ------------------------------------------------------------------------------


class Constant:
    """Stands for a potential that says the same of every structure."""

    @staticmethod
    def predict(frames: Frames, **_) -> Prediction:
        return Prediction(np.full(len(frames), 2.0), np.full((len(frames), 3, 3), 0.5))

    @property
    def card(self) -> dict[str, float]:
        return {"wall time / s": 90.0}


@pytest.fixture
def trainings(monkeypatch, unchecked):
    """Arguments of all trainings that were asked for, none of which is done."""
    calls = []

    def pretend(frames, split, models, settings, *, seeds, folder, progress):
        split.check(frames)
        calls.append((split, settings, seeds, folder))
        return [Trained(name, seed, Constant()) for name in models for seed in seeds]

    monkeypatch.setattr(charge_transfer, "train_models", pretend)
    return calls


def silver(geometries: int = 24) -> Frames:
    """Ag3 with springs of 2 eV/Å² between its atoms, in two charge states 1 eV apart."""
    rng = np.random.default_rng(0)
    triangle = np.array([[0, 0, 0], [2.7, 0, 0], [1.35, 2.34, 0]])
    R = triangle + rng.normal(0, 0.1, (geometries, 3, 3))
    bond = R[:, :, None] - R[:, None]  # [i, j] from j to i
    length = np.linalg.norm(bond, axis=-1) + np.eye(3)
    stretch = (length - 2.7) * (1 - np.eye(3))
    energy = 0.5 * (stretch**2).sum((1, 2))
    forces = -2.0 * ((stretch / length)[..., None] * bond).sum(2)
    return Frames(
        numbers=np.full((2 * geometries, 3), 47),
        positions=np.repeat(R, 2, axis=0),
        energy=np.repeat(energy, 2) + np.tile([-0.5, 0.5], geometries),
        forces=np.repeat(forces, 2, axis=0),
        total_charge=np.tile([1.0, -1.0], geometries),
        group=np.repeat(np.arange(geometries), 2),
        info={"name": "springs"},
    )


@pytest.mark.parametrize("grouped", [True, False])
def test_training_sets_are_nested_and_the_test_set_is_apart(grouped, trainings, tmp_path):
    frames = silver()
    if not grouped:  # a group of its own for each frame keeps nothing together
        frames = frames.replace(group=np.arange(len(frames)))
    points = charge_transfer.learning_curve(
        frames, [20, 8], n_test=10, models={"a": TINY, "b": TINY}, seeds=(0, 1), folder=tmp_path,
        settings=QUICK, steps=12,
    )  # fmt: skip
    found = [(point.model, point.seed, point.train_frames) for point in points]
    assert found == [(m, seed, size) for seed in (0, 1) for size in (8, 20) for m in ("a", "b")]
    splits = [split for split, *_ in trainings]
    for small, large in (splits[:2], splits[2:]):
        assert len(small.train) == 8 and len(large.train) == 20
        np.testing.assert_array_equal(small.train, large.train[:8])
        for part in ("valid", "test"):
            np.testing.assert_array_equal(getattr(small, part), getattr(large, part))
        assert (len(large.valid), len(large.test)) == (4, 10)
        sets = [set(frames.group[part]) for part in (large.train, large.valid, large.test)]
        assert sum(map(len, sets)) == len(set.union(*sets))
        assert large.strategy == ("group" if grouped else "random")
    assert set(splits[0].test) != set(splits[2].test)
    # equal numbers of steps: an epoch of 8 frames has one, an epoch of 20 has two
    assert [settings.epochs for _, settings, *_ in trainings] == [12, 6, 12, 6]
    assert [folder.name for *_, folder in trainings] == ["8-frames", "20-frames"] * 2


def test_a_point_of_the_learning_curve_is_judged_on_the_test_frames(trainings, tmp_path):
    frames = silver()
    (point,) = charge_transfer.learning_curve(
        frames, [20], n_test=10, models={"a": TINY}, folder=tmp_path
    )
    test = frames[trainings[0][0].test]
    energy = np.sqrt(np.mean((2.0 - test.energy) ** 2)) / 3
    forces = np.sqrt(np.mean((0.5 - test.forces) ** 2))
    row = point.row()
    assert row["energy RMSE (meV/atom)"] == pytest.approx(1e3 * energy, abs=1e-3)
    assert row["force RMSE (meV/Å)"] == pytest.approx(1e3 * forces, abs=1e-2)
    assert (row["training frames"], row["test frames"], row["training (min)"]) == (20, 10, 1.5)
    content = json.loads((tmp_path / "learning_curve.json").read_text())
    assert content["data"] == "springs" and content["results"] == [row]


def test_too_many_frames_are_refused_with_the_numbers(trainings):
    with pytest.raises(UserError, match=r"40 training, 4 validation and 10 test .* has 48"):
        charge_transfer.learning_curve(silver(), [8, 40], n_test=10)
    assert not trainings


# -- charge states --------------------------------------------------------------------------------


def test_the_floor_is_the_spread_within_each_geometry():
    frames = silver(3)[[0, 1, 2, 4]].replace(energy=[1.0, 4.0, 7.0, 7.5], group=[5, 5, 9, 2])
    # two frames 1.5 eV off their mean, two alone
    assert ag3.charge_blind_floor(frames) == pytest.approx(np.sqrt(2 * 1.5**2 / 4))
    assert ag3.charge_blind_floor(silver()) == pytest.approx(0.5)
    assert ag3.charge_blind_floor(frames.replace(group=[0, 1, 2, 3])) == 0
    for lost in ("group", "energy"):
        with pytest.raises(UserError, match="energies and a group"):
            ag3.charge_blind_floor(frames.replace(**{lost: None}))


# Six steps an epoch; the command below shares the programs.
SILVER = TrainConfig(epochs=40, batch_size=5, learning_rate=1e-2, energy_weight=0.5, ema_decay=0.9)
BLIND = replace(TINY, cutoff=6.0)
READS = replace(BLIND, charge_embedding=True)


def test_only_a_model_that_reads_the_charge_gets_below_the_floor(tmp_path):
    models = {"blind": BLIND, "reads": READS}
    found = ag3.charge_states(
        silver(), models=models, settings=SILVER, folder=tmp_path, progress=Silent()
    )
    blind, reads = found
    assert (blind.model, reads.model) == ("blind", "reads")
    for result in found:
        assert result.floor == pytest.approx(0.5)
        assert result.errors.frames == 10  # what of 48 is left beside 33 and 4, in whole pairs
    assert blind.errors.energy_rmse > 0.5 - 1e-6
    assert reads.errors.energy_rmse < 0.25
    content = json.loads((tmp_path / "charge_states.json").read_text())
    assert content["results"] == [result.row() for result in found]
    assert content["results"][0]["floor without charge (meV)"] == 500.0


@pytest.mark.parametrize("ending", ["npz", "extxyz"])
def test_charge_transfer_from_the_command_line(ending, tmp_path, monkeypatch, capsys):
    function, settings = charge_transfer.learning_curve, replace(SILVER, energy_weight=0.3)
    defaults(monkeypatch, function, models={"reads": READS}, settings=settings)
    data, folder = tmp_path / f"silver.{ending}", tmp_path / "runs"
    if ending == "npz":
        save_frames(silver(), data)
    else:
        from ase.io import write

        write(data, silver().to_atoms())
    command = ["experiment", "charge-transfer", str(data), "--no-check", "--folder", str(folder)]
    assert main([*command, "--sizes", "32", "--test", "12", "--steps", "6"]) == 0
    said = capsys.readouterr().out
    assert "energy RMSE" in said and "meV/atom" in said and "learning_curve.json" in said
    assert "Published" not in said
    (row,) = json.loads((folder / "learning_curve.json").read_text())["results"]
    assert (row["model"], row["training frames"], row["test frames"]) == ("reads", 32, 12)
    assert (folder / "32-frames" / "reads-seed0" / "best.safetensors").is_file()
