"""GeomAtt in use: trained, kept, evaluated, simulated and drawn by what serves every model."""

from __future__ import annotations

import dataclasses
import json
from dataclasses import replace
from types import SimpleNamespace

import jax
import numpy as np
import pytest
from small import small_potential

from so3krates_lite.cli import main
from so3krates_lite.config import GeomAttConfig
from so3krates_lite.datasets import load
from so3krates_lite.datasets.splits import Split, random_split
from so3krates_lite.drawing import figures, molecule3d, scene, tubes
from so3krates_lite.errors import UserError
from so3krates_lite.experiments import md17
from so3krates_lite.experiments.md17 import Recipe
from so3krates_lite.potential import Potential
from so3krates_lite.record.attention_record import AttentionRecord
from so3krates_lite.report import write
from so3krates_lite.simulate.calculator import So3kratesCalculator
from so3krates_lite.structures.frames import Frames
from so3krates_lite.training import TrainConfig, train
from so3krates_lite.training.evaluation import format_table
from so3krates_lite.training.progress import Silent
from so3krates_lite.training.run import read_metrics

pytestmark = pytest.mark.usefixtures("quick_compilation")

MODEL = GeomAttConfig(features=8, inner=8, layers=2, grid_spacing=0.1)
SETTINGS = TrainConfig(epochs=3, batch_size=8, learning_rate=3e-3, ema_decay=0.9)


@pytest.fixture(scope="module")
def frames() -> Frames:
    return load("ethanol-gfn2")[:48]


@pytest.fixture(scope="module")
def split(frames):
    return random_split(frames, 32, 8)


@pytest.fixture(scope="module")
def trained(frames, split, tmp_path_factory, quick_compilation):
    folder = tmp_path_factory.mktemp("geomatt") / "run"
    asked = {"model": MODEL, "settings": SETTINGS, "progress": Silent()}
    return train(frames, split, folder=folder, **asked)


def test_it_learns_and_its_run_folder_says_which_model_it_is(trained):
    losses = [row["valid_loss"] for row in trained.metrics]
    assert losses[-1] < losses[0]
    kept = json.loads((trained.folder / "config.json").read_text())["model"]
    assert kept["architecture"] == "geomatt" and kept["orders"] == [2, 3, 4]


def test_a_kept_potential_gives_the_same_numbers(trained, frames):
    again = Potential.load(trained.folder)
    assert again.config == MODEL
    found, expected = again.predict(frames[:4]), trained.potential.predict(frames[:4])
    np.testing.assert_array_equal(found.energy, expected.energy)
    np.testing.assert_array_equal(found.forces, expected.forces)


def test_a_stopped_run_goes_on_to_the_same_numbers(trained, frames, split, tmp_path):
    class Stop(Silent):
        def update(self, row):
            if row["epoch"] == 2:
                raise KeyboardInterrupt

    asked = {"model": MODEL, "settings": SETTINGS, "progress": Stop()}
    with pytest.raises(KeyboardInterrupt):
        train(frames, split, folder=tmp_path / "run", **asked)
    more = train(frames, split, folder=tmp_path / "run", resume=True, progress=Silent())
    assert more.metrics[-1]["valid_loss"] == trained.metrics[-1]["valid_loss"]


def test_the_calculator_gives_the_potential_s_forces(trained, frames):
    atoms = frames[0].to_atoms()[0]
    atoms.calc = So3kratesCalculator(trained.potential, precision="float32")
    expected = trained.potential.predict(frames[0])
    assert atoms.get_potential_energy() == pytest.approx(expected.energy[0], abs=1e-4)
    np.testing.assert_allclose(atoms.get_forces(), expected.forces[0], atol=1e-4)


# -- parts of the network -------------------------------------------------------------------------


def test_only_the_parts_named_are_trained(trained, frames, split):
    settings = replace(SETTINGS, epochs=1, train_only=("head",))
    more = train(frames, split, settings=settings, start=trained.potential, progress=Silent())
    before, after = trained.potential.params, more.potential.params
    for name in before:
        same = jax.tree.map(np.array_equal, before[name], jax.device_get(after[name]))
        assert all(jax.tree.leaves(same)) == (not name.startswith("head")), name


def test_a_part_that_does_not_exist_is_named(frames, split):
    settings = replace(SETTINGS, train_only=("energy_head",))
    with pytest.raises(UserError, match=r"train_only names 'energy_head'.*head_hidden, head_out"):
        train(frames, split, model=MODEL, settings=settings, progress=Silent())


def test_the_energy_zero_is_refitted_to_what_the_network_leaves(trained, frames, split):
    """Other labels of the same molecule, moved by 5 eV: only the shift has to follow."""
    moved = frames.replace(energy=frames.energy + 5.0)
    settings = replace(SETTINGS, epochs=1, learning_rate=1e-9, refit_shift=True)
    more = train(moved, split, settings=settings, start=trained.potential, progress=Silent())
    new = more.potential.predict(moved[split.train]).energy
    assert abs((new - moved.energy[split.train]).mean()) < 1e-3
    kept = replace(settings, refit_shift=False)
    old = train(moved, split, settings=kept, start=trained.potential, progress=Silent())
    error = old.potential.predict(moved[split.train]).energy - moved.energy[split.train]
    before = trained.potential.predict(frames[split.train]).energy - frames.energy[split.train]
    assert error.mean() == pytest.approx(before.mean() - 5.0, abs=1e-3)


def test_the_scale_may_be_that_of_the_energies(frames, split):
    settings = replace(SETTINGS, epochs=1, energy_scale="energies")
    result = train(frames, split, model=MODEL, settings=settings, progress=Silent())
    energy = frames.energy[split.train]
    assert result.potential.energy_scale == pytest.approx(energy.std(), rel=1e-6)
    flat = frames.replace(energy=np.full(len(frames), -3.0))
    with pytest.raises(UserError, match="energies are the same"):
        train(flat, split, model=MODEL, settings=settings, progress=Silent())


# -- attention ------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def record(frames) -> AttentionRecord:
    return small_potential(MODEL).attention(frames[:3])


def test_the_record_holds_all_pairs_and_each_atom_with_itself(record):
    assert record.blocks == ("correlation",) and record.orders == (2, 3, 4)
    assert record.n_pairs == 3 * 81 and record.n_layers == 2
    assert record.channel_names() == ["order 2", "order 3", "order 4"]
    own = record.receiver == record.sender
    assert own.sum() == 27 and not record.distance[own].any()
    assert np.isinf(record.cutoff)
    assert record.matrix().shape == (9, 9) and np.diag(record.matrix()).all()
    np.testing.assert_array_equal(record.select(), record.select("correlation"))
    np.testing.assert_allclose(
        record.select(quantity="coefficient"), 3 * record.select(), rtol=1e-12
    )


def test_contributions_are_the_size_of_what_moves_the_features(record, frames):
    """From v_i + sum_j alpha_ij m_j: the first layer's messages from the embedding alone."""
    params = small_potential(MODEL).params
    for channel, order in enumerate(record.orders):
        value = params[f"order_{order}"]["value_0"]
        m = params["embedding"][frames.numbers[0]] @ value["kernel"] + value["bias"]
        expected = np.abs(record.matrix(0, channel=channel)) * np.linalg.norm(m, axis=-1)
        found = record.matrix(0, channel=channel, quantity="contribution")
        np.testing.assert_allclose(found, expected, rtol=1e-10)


def test_the_record_survives_a_file_and_the_choice_of_frames(record, tmp_path):
    again = AttentionRecord.load(record.save(tmp_path / "record.npz"))
    assert again.orders == record.orders and np.isinf(again.cutoff) and again.sphc is None
    np.testing.assert_array_equal(again.correlation.weighted, record.correlation.weighted)
    part = record.frames([2])
    np.testing.assert_array_equal(part.matrix(0, layer=1), record.matrix(2, layer=1))


def test_another_model_s_block_is_refused_by_name(record):
    with pytest.raises(UserError, match="another model's record: it has no block 'feature'"):
        record.select("feature")
    with pytest.raises(UserError, match="no spherical neighbourhood"):
        record.select("spherical")


def test_a_record_without_any_block_is_refused(record):
    fields = ("frame", "receiver", "sender", "distance", "vector", "numbers", "positions")
    values = {name: getattr(record, name) for name in fields}
    with pytest.raises(UserError, match="found no block"):
        AttentionRecord(**values, cutoff=5.0)


def test_figures_show_all_pairs_without_an_envelope(record):
    figure = figures.attention_against_distance(record, 1)
    assert all(trace.mode == "markers" for trace in figure.data)
    assert sum(len(trace.x) for trace in figure.data) == 81
    assert np.isfinite(figure.layout.xaxis.range).all()
    heat = figures.attention_matrix(record, 0, layer=1, channel=2)
    np.testing.assert_array_equal(heat.data[0].z, record.matrix(0, None, 1, 2))
    assert "correlation attention, layer 1 · order 4" in heat.layout.title.text
    with pytest.raises(UserError, match="no cutoff"):
        figures.cutoff_curve(record)
    molecule3d.molecule_figure(record, 1, channel=1)


def test_an_atom_s_attention_to_itself_is_a_loop_on_its_outer_side(record):
    picture = scene.scene(record)
    own = picture.receiver == picture.sender
    path = picture.tubes.path
    assert np.isfinite(path).all() and np.isfinite(picture.tubes.offset).all()
    start = picture.positions[picture.receiver[own]]
    for end in (0, -1):
        np.testing.assert_allclose(path[own, end], start, atol=1e-9)
    middle = path[own, tubes.RINGS // 2]
    centre = picture.positions.mean(0)
    outer = np.linalg.norm(middle - centre, axis=-1) - np.linalg.norm(start - centre, axis=-1)
    assert (outer > 0.5).all()
    ring = np.linalg.norm(picture.tubes.offset[own], axis=-1) / picture.tubes.taper[:, None]
    np.testing.assert_allclose(ring, 1, atol=1e-6)


def test_the_report_explains_the_block_that_it_shows(record, tmp_path):
    page = write.write_report(tmp_path / "page.html", title="x", record=record).read_text()
    assert "sum over all chains of atoms" in page and "product of query, filter" not in page
    assert "Infinity" not in page.split('id="attention">')[1].split("</script>")[0]


# -- commands -------------------------------------------------------------------------------------


@pytest.fixture
def molecules(monkeypatch, frames):
    """Ethanol in place of every molecule."""
    monkeypatch.setattr(
        md17, "load", lambda name, part, labels: frames[:40] if part == "train" else frames[40:]
    )


def test_a_model_for_each_molecule_beside_the_paper_s_numbers(molecules, tmp_path):
    asked = {"n_train": 32, "n_valid": 8, "progress": Silent(), "recipe": Recipe(MODEL, SETTINGS)}
    results = md17.md17(["ethanol", "toluene"], "geomatt", folder=tmp_path, **asked)
    rows = json.loads((tmp_path / "md17.json").read_text())["results"]
    assert rows == [result.row() for result in results]
    assert [row["paper force MAE (kcal/mol/Å)"] for row in rows] == [0.98, 0.80]
    assert results[0].errors.frames == 8
    run = Potential.load(tmp_path / "toluene" / "geomatt-original-seed0")
    found = run.predict(load("ethanol-gfn2")[40:48])
    expected = np.abs(found.forces - load("ethanol-gfn2")[40:48].forces).mean()
    assert results[1].errors.force_mae == pytest.approx(expected, rel=1e-4)
    # a finished run is not trained again, and is kept in the form of a bundled one
    again = md17.md17(["toluene"], "geomatt", folder=tmp_path, keep=tmp_path / "kept", **asked)
    assert again[0].errors == results[1].errors
    kept = Potential.load(tmp_path / "kept" / "md17-toluene-geomatt.safetensors")
    split = Split.load(tmp_path / "kept" / "md17-toluene-geomatt.split.npz")
    assert split.test.tolist() == list(range(40, 48)) and split.train.max() < 40
    assert split.fingerprint(load("ethanol-gfn2")[:48]) == kept.card["fingerprint"]
    assert kept.card["force MAE on test frames / meV/Å"] == pytest.approx(1e3 * expected, rel=1e-3)
    metrics = read_metrics(tmp_path / "kept" / "md17-toluene-geomatt.metrics.csv")
    assert metrics[0]["epoch"] == 1


def test_fine_tuning_begins_from_all_weights_and_a_zero_fitted_anew(molecules, trained, tmp_path):
    start = dataclasses.replace(
        trained.potential, card={"name": "one"}, element_shift=np.zeros(100)
    )
    settings = dataclasses.replace(SETTINGS, refit_shift=True, epochs=1, learning_rate=1e-9)
    asked = {"n_train": 32, "n_valid": 8, "progress": Silent(), "recipe": Recipe(MODEL, settings)}
    (result,) = md17.md17(["ethanol"], "geomatt", start=start, folder=tmp_path, **asked)
    assert result.what == "from one"
    kept = Potential.load(tmp_path / "ethanol" / "geomatt-original-tuned-seed0")
    for mine, theirs in zip(
        jax.tree.leaves(kept.params), jax.tree.leaves(start.params), strict=True
    ):
        np.testing.assert_allclose(mine, theirs, atol=1e-6)
    assert kept.element_shift[6] < -10  # of ethanol's energies, eV
    # another potential to begin from is another run
    other = dataclasses.replace(start, energy_scale=2 * start.energy_scale)
    with pytest.raises(UserError, match="another potential to begin from than this one"):
        md17.md17(["ethanol"], "geomatt", start=other, folder=tmp_path, **asked)
    with pytest.raises(UserError, match="another split"):
        md17.md17(["ethanol"], "geomatt", start=start, folder=tmp_path, **asked | {"n_train": 24})


def test_a_row_tells_what_was_trained_and_has_every_column(molecules, tmp_path):
    settings = replace(SETTINGS, epochs=9, max_minutes=1e-9)
    asked = {"n_train": 32, "n_valid": 8, "progress": Silent(), "recipe": Recipe(MODEL, settings)}
    rows = [result.row() for result in md17.md17(["benzene", "ethanol"], "so3krates", **asked)]
    for row in rows:  # the second epoch is the first that counts
        assert (row["epochs"], row["steps"]) == (2, 8)
    assert [row["NequIP force MAE"] for row in rows] == ["-", 0.071]
    assert "NequIP force MAE" in format_table(rows)


def test_revised_labels_stand_beside_the_numbers_for_as_many_frames():
    """2.1, 2.8 and 2.1 meV/Å from 950 frames, 32.6 and 40.2 from 50, in kcal/mol/Å."""
    assert md17.peers_of("revised", 50) == {
        "MACE": {"ethanol": 0.752},
        "NequIP": {"ethanol": 0.927},
    }
    of_all = {name: of["ethanol"] for name, of in md17.peers_of("revised", 950).items()}
    assert of_all == {"MACE": 0.048, "NequIP": 0.065, "Allegro": 0.048}
    assert md17.peers_of("revised", 200) == {}  # and not those for another number


def test_a_transfer_trains_the_head_alone(molecules, trained, tmp_path):
    asked = {"n_train": 32, "n_valid": 8, "settings": SETTINGS, "progress": Silent()}
    frozen, scratch = md17.transfer(
        trained.potential, "toluene", ["benzene"], folder=tmp_path, **asked
    )
    assert frozen.what == "attention of toluene" and frozen.published == (0.21, 0.83)
    assert scratch.published == (0.18, 0.41)
    place = tmp_path / "from-toluene" / "benzene"
    kept = Potential.load(place / "frozen-seed0").params
    before = trained.potential.params
    np.testing.assert_array_equal(
        kept["order_3"]["value_0"]["kernel"], before["order_3"]["value_0"]["kernel"]
    )
    assert not np.array_equal(kept["head_out"]["kernel"], before["head_out"]["kernel"])


def test_commands_refuse_another_model_s_settings(tmp_path, capsys):
    folder = str(tmp_path / "run")
    start = ["train", "ethanol-gfn2", "--folder", folder]
    for options, said in (
        (["--model", "geomatt", "--cutoff", "4"], "--cutoff is not a setting of geomatt"),
        (["--orders", "2"], "--orders is not a setting of so3krates"),
        (["--refit-shift"], "--refit-shift needs a model to begin from"),
        (["--model", "geomatt", "--start", "ethanol-gfn2"], "leave out --model"),
        (["--model", "geomatt", "--resume"], "leave out --model"),
    ):
        assert main([*start, *options]) == 2
        assert said in capsys.readouterr().err
    assert not (tmp_path / "run").exists()
    transfer = ["experiment", "geomatt-transfer", "benzene", "--folder", folder]
    assert main([*transfer, "--source", "ethanol-gfn2", "--source-name", "x"]) == 2
    assert "a model of so3krates" in capsys.readouterr().err


def test_a_row_s_recipe_with_other_settings(tmp_path, monkeypatch):
    asked, made = [], SimpleNamespace(row=lambda: {"molecule": "ethanol"})
    monkeypatch.setattr(md17, "md17", lambda **options: asked.append(options) or [made])
    row = ["experiment", "md17", "ethanol", "--folder", str(tmp_path / "run")]
    assert main([*row, "--loss", "l2mae", "--epochs", "3"]) == 0
    usual, settings = md17.RECIPES["so3krates"].settings, asked[0]["recipe"].settings
    assert usual.loss == "mse" and settings == replace(usual, loss="l2mae", epochs=3)
