"""Training from disk: the numbers of training in memory, from files of any kind."""

from __future__ import annotations

import jax
import numpy as np
import pytest
from small import deviation, molecule, small_config, stack

from so3krates_lite.cli import main
from so3krates_lite.datasets import FramesOnDisk, random_split, save_frames, write_frames
from so3krates_lite.errors import UserError
from so3krates_lite.training import TrainConfig, stream, train
from so3krates_lite.training.data import Targets, TrainingSet
from so3krates_lite.training.progress import Silent
from so3krates_lite.training.stream import StreamedSet

pytest.importorskip("grain")
pytestmark = pytest.mark.usefixtures("quick_compilation")

CONFIG = small_config((1,), layers=1)
SETTINGS = TrainConfig(epochs=3, batch_size=4, learning_rate=1e-3, precision="float64")
SIZES = [2, 9, 2, 2, 2, 2, 2, 9, 2, 2, 2, 2, 2, 2, 2, 9, 2, 2]


def labelled():
    frames = stack(*(molecule(n, seed=k, span=3.0) for k, n in enumerate(SIZES)))
    rng = np.random.default_rng(0)
    forces = rng.normal(size=frames.positions.shape) * frames.mask[..., None]
    return frames.replace(energy=rng.normal(size=len(frames)), forces=forces)


MIXED = labelled()


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Frames of two sizes in three files of two forms."""
    place = tmp_path_factory.mktemp("files")
    save_frames(MIXED[:7], place / "a.npz", compact=False)
    write_frames(MIXED[7:9], place / "b.extxyz")
    save_frames(MIXED[9:], place / "c.npz", compact=False)
    return place


@pytest.fixture
def on_disk(folder, tmp_path):
    return FramesOnDisk(folder, scratch=tmp_path)


def numbers(result):
    return [[v for k, v in row.items() if not k.endswith("_s")] for row in result.metrics]


class StopAfter(Silent):
    def update(self, row) -> None:
        if row["epoch"] == 1:
            raise KeyboardInterrupt


def test_training_from_disk_gives_the_numbers_of_training_in_memory_and_resumes(on_disk, tmp_path):
    split = random_split(on_disk, 12, 4, seed=1)
    given = {"split": split, "model": CONFIG, "settings": SETTINGS, "progress": Silent()}
    memory, disk = train(MIXED, **given), train(on_disk, **given)
    for a, b in zip(numbers(memory), numbers(disk), strict=True):
        # extended xyz keeps eight decimals
        np.testing.assert_allclose(a, b, rtol=1e-6)
    assert 0 < float(disk.potential.card["places lost to padding"].rstrip("%")) < 50
    run = tmp_path / "run"
    with pytest.raises(KeyboardInterrupt):
        train(on_disk, **given | {"progress": StopAfter()}, folder=run)
    resumed = train(on_disk, split, folder=run, resume=True, progress=Silent())
    np.testing.assert_array_equal(numbers(resumed), numbers(disk))
    for a, b in zip(*(jax.tree.leaves(r.potential.params) for r in (resumed, disk)), strict=True):
        np.testing.assert_array_equal(a, b)


def test_a_part_holds_what_memory_would_have_given_in_the_same_steps(on_disk, monkeypatch):
    monkeypatch.setattr(stream, "MOST_STEPS", 2)
    frames = on_disk[:]
    targets = Targets(CONFIG, np.linspace(-1, 1, 100), 0.5, np.dtype(np.float64))
    with jax.enable_x64(True):
        memory = TrainingSet(frames, targets, 4)
    disk = StreamedSet(on_disk, targets, 4)
    order = np.random.default_rng(0).permutation(18)[:16].reshape(4, 4)
    ((whole, of_epoch, _),) = memory.parts(order[None])
    parts = list(disk.parts(order[None]))
    assert [some for _, _, some in parts] == [slice(0, 2), slice(2, 4)]
    assert len({str(jax.tree.map(np.shape, data)) for data, _, _ in parts}) == 1
    for data, chosen, some in parts:
        for k, one in enumerate(chosen):
            expected = jax.tree.map(lambda leaf, some=some: leaf[some], of_epoch[k])
            np.testing.assert_array_equal(one.count, expected.count)
            for step, count in enumerate(one.count):
                index, other = (each.index[step].ravel()[:count] for each in (one, expected))
                both = jax.tree.leaves(data[k][index]), jax.tree.leaves(whole[k][other])
                for a, b in zip(*both, strict=True):
                    np.testing.assert_array_equal(a, b)


def test_memory_does_not_grow_with_the_set(tmp_path, monkeypatch):
    import tracemalloc

    monkeypatch.setattr(stream, "MOST_STEPS", 2)

    def peak(copies: int) -> int:
        files = [tmp_path / f"{k}.npz" for k in range(copies)]
        for file in files:
            save_frames(MIXED[np.arange(200) % len(MIXED)], file)
        frames = FramesOnDisk(files, check=False, scratch=tmp_path / "scratch")
        targets = Targets(CONFIG, np.zeros(100), 1.0, np.dtype(np.float32))
        data = StreamedSet(frames, targets, 10)
        order = np.random.default_rng(0).permutation(len(frames)).reshape(1, -1, 10)
        tracemalloc.start()
        assert sum(1 for _ in data.parts(order)) >= 10 * copies
        most = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return most

    peak(1)  # what is imported at first
    assert peak(8) < 2 * peak(1)  # part by part it would be eight times


def test_statistics_of_frames_on_disk_are_those_in_memory(on_disk):
    from so3krates_lite.training.statistics import element_shift, energy_scale

    frames = on_disk[:]
    assert on_disk.elements.tolist() == frames.elements.tolist()
    for mode in ("element", "atom", "none"):
        shift = element_shift(frames, mode)
        np.testing.assert_allclose(element_shift(on_disk, mode), shift, atol=1e-10)
        for scale in ("forces", "energies", "none"):
            found = energy_scale(on_disk, scale, shift)
            assert found == pytest.approx(energy_scale(frames, scale, shift), rel=1e-10)


def test_frames_come_back_as_they_were_in_any_order(on_disk):
    index = np.array([8, 0, 17, 7, 3])
    found, expected = on_disk[index], MIXED[index]
    for name in ("numbers", "positions", "energy", "forces"):
        assert deviation(getattr(found, name), getattr(expected, name)) < 1e-7, name
    assert len(on_disk[np.zeros(18, bool)]) == 0 and len(on_disk[3]) == 1
    part = on_disk.only(index)
    assert deviation(part[1].positions, on_disk[0].positions) == 0
    assert part.fingerprint != on_disk.only(index[::-1]).fingerprint
    assert [len(one) for one in on_disk.parts(7)] == [7, 7, 4]


def test_cells_and_charges_are_kept(tmp_path):
    plain = MIXED[:3].replace(total_charge=np.array([0.0, 1.0, -1.0]))
    cell = plain[:2].replace(cell=np.tile(9.0 * np.eye(3), (2, 1, 1)))
    save_frames(plain, tmp_path / "a.npz", compact=False)
    save_frames(cell, tmp_path / "b.npz", compact=False)
    found = FramesOnDisk(tmp_path, scratch=tmp_path)[:]
    np.testing.assert_array_equal(found.pbc.any(axis=1), [0, 0, 0, 1, 1])
    np.testing.assert_array_equal(found.cell[3:], cell.cell)
    np.testing.assert_array_equal(found.total_charge, [0, 1, -1, 0, 1])


@pytest.mark.parametrize("name", ["b.npz", "b.extxyz"])
def test_a_damaged_file_is_named_and_left_out_only_if_asked(name, tmp_path, caplog):
    for k, one in (("a", MIXED[:4]), ("c", MIXED[4:9])):
        save_frames(one, tmp_path / f"{k}.npz")
    whole = write_frames(MIXED[9:14], tmp_path / name).read_bytes()
    (tmp_path / name).write_bytes(whole[: len(whole) * 2 // 3])
    scratch = tmp_path / "scratch"
    with pytest.raises(UserError, match=rf"{name}: .*skip_damaged=True") as error:
        FramesOnDisk(tmp_path, scratch=scratch)
    assert "\n" not in str(error.value)
    found = FramesOnDisk(tmp_path, scratch=scratch, skip_damaged=True)
    assert len(found) == 9 and [path.name for path in found.skipped] == [name]
    assert name in caplog.text


def test_mistakes_are_named(on_disk, folder, tmp_path):
    split = random_split(on_disk, 12, 4)
    with pytest.raises(UserError, match="No scratch file can be made in"):
        FramesOnDisk(folder, scratch=folder / "a.npz")
    (tmp_path / "none").mkdir()
    with pytest.raises(UserError, match="There are no files in"):
        FramesOnDisk(tmp_path / "none")
    with pytest.raises(UserError, match="There is no file"):
        FramesOnDisk([folder / "z.npz"])
    with pytest.raises(UserError, match="Members of an ensemble"):
        train(on_disk, split, model=CONFIG, settings=TrainConfig(members=2), progress=Silent())
    save_frames(MIXED[:4].replace(forces=None), tmp_path / "x.npz")
    short = FramesOnDisk([folder / "a.npz", tmp_path / "x.npz"], scratch=tmp_path)
    with pytest.raises(UserError, match=r"forces, but the frames have none \(x.npz has"):
        train(short, random_split(short, 6, 2), progress=Silent())


def test_a_full_disk_is_told(folder, tmp_path, monkeypatch):
    from so3krates_lite.runtime import scratch

    class Full:
        def __init__(self, **more) -> None:
            pass

        def write(self, content) -> int:
            raise OSError(28, "No space left on device")

        def close(self) -> None:
            pass

    monkeypatch.setattr(scratch.tempfile, "TemporaryFile", Full)
    with pytest.raises(UserError, match=r"cannot grow beyond 0.00 GB \(No space left on device\)"):
        FramesOnDisk(folder, scratch=tmp_path)


def test_nothing_is_left_on_disk(folder, tmp_path):
    frames = FramesOnDisk(folder, scratch=tmp_path / "scratch")
    assert len(frames[:]) == 18 and not [*(tmp_path / "scratch").iterdir()]


def test_a_reader_that_fails_ends_the_run_with_its_sentence(on_disk, monkeypatch):
    targets = Targets(CONFIG, np.zeros(100), 1.0, np.dtype(np.float32))
    data = StreamedSet(on_disk, targets, 6)

    def fail(*_):
        raise UserError("what was found")

    monkeypatch.setattr(data, "_filled", fail)
    with pytest.raises(UserError, match="what was found"):
        list(data.parts(np.arange(18).reshape(1, 3, 6)))


def test_the_command_trains_from_a_folder(folder, tmp_path, capsys):
    run = ["train", str(folder), "--folder", str(tmp_path / "run"), "--scratch", str(tmp_path)]
    small = "--features 12 --layers 1 --degrees 1 --heads 2 --epochs 1 --batch-size 8".split()
    assert main([*run, *small, "--valid", "1", "--test", "1"]) == 0
    assert "best.safetensors" in capsys.readouterr().out
    assert main([*run, "--resume"]) == 0
    (folder_2 := tmp_path / "bad").mkdir()
    (folder_2 / "x.npz").write_bytes(b"PK no")
    assert main(["train", str(folder_2), *run[2:3], str(tmp_path / "other")]) == 2
    told = capsys.readouterr().err
    assert "x.npz" in told and "--skip-damaged" in told and "Traceback" not in told
    assert not (tmp_path / "other").exists()
