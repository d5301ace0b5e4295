import numpy as np
import pytest

from so3krates_lite.datasets import (
    STRATEGIES,
    Split,
    energy_stratified_split,
    group_or_random_split,
    group_split,
    random_split,
)
from so3krates_lite.datasets.splits import largest_group
from so3krates_lite.errors import UserError
from so3krates_lite.structures.frames import Frames


def atoms(n=200, groups=20, seed=0):
    rng = np.random.default_rng(seed)
    return Frames(
        np.ones((n, 1), int),
        np.zeros((n, 1, 3)),
        energy=rng.standard_normal(n),
        group=np.arange(n) % groups,
    )


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_sets_are_disjoint_and_of_the_asked_size(strategy):
    split = STRATEGIES[strategy](atoms(), 100, 40, 50, seed=3)
    every = np.concatenate([split.train, split.valid, split.test])
    assert len(np.unique(every)) == len(every) and every.max() < 200
    assert (len(split.train), len(split.valid), len(split.test)) == (100, 40, 50)
    assert split.strategy == strategy and split.seed == 3
    least = STRATEGIES[strategy](atoms(groups=200), 1, 0, 0)
    assert len(least.train) == 1 and least.seed == 0


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_same_seed_gives_the_same_split_and_another_seed_another(strategy):
    make = STRATEGIES[strategy]
    one, same, other = (make(atoms(), 100, 40, seed=s) for s in (1, 1, 2))
    np.testing.assert_array_equal(one.train, same.train)
    np.testing.assert_array_equal(one.test, same.test)
    assert not np.array_equal(one.train, other.train)


def test_test_set_takes_what_remains():
    assert len(random_split(atoms(), 100, 40).test) == 60


@pytest.mark.parametrize("suffix", ["npz", "json"])
def test_split_survives_saving(tmp_path, suffix):
    split = random_split(atoms(), 10, 5, seed=7)
    back = Split.load(str(split.save(str(tmp_path / f"split.{suffix}"))))
    for name in ("train", "valid", "test"):
        np.testing.assert_array_equal(getattr(split, name), getattr(back, name))
    assert (back.seed, back.strategy) == (7, "random")
    assert [p.name for p in tmp_path.iterdir()] == [f"split.{suffix}"]


def test_every_stratum_reaches_every_set():
    frames = atoms(1000)
    split = energy_stratified_split(frames, 100, 100, seed=5)
    edges = np.quantile(frames.energy, np.linspace(0, 1, 11))[1:-1]
    for part in (split.train, split.valid):
        counts = np.bincount(np.searchsorted(edges, frames.energy[part]), minlength=10)
        assert counts.min() >= 9 and counts.max() <= 11


def test_stratification_looks_past_composition_and_size():
    """Each set takes its share of every decile of the energy per atom above the composition's
    mean, which the energies themselves do not show: they differ by the atoms, and by their number.
    """
    rng = np.random.default_rng(0)
    height = rng.standard_normal(600)
    sizes = np.arange(600) % 2 * 4 + 1  # one atom of hydrogen, five of oxygen
    numbers = np.where(np.arange(5) < sizes[:, None], np.where(sizes > 1, 8, 1)[:, None], 0)
    light = sizes == 1
    for member in (light, ~light):
        height[member] -= height[member].mean()
    energy = np.where(light, -13.0, -10000.0) + height * sizes
    frames = Frames(numbers, np.zeros((600, 5, 3)), energy=energy)
    split = energy_stratified_split(frames, 200, 100, seed=0)
    edges = np.quantile(height, np.linspace(0, 1, 11))[1:-1]
    for part in (split.train, split.valid):
        counts = np.bincount(np.searchsorted(edges, height[part]), minlength=10)
        assert np.abs(counts - len(part) / 10).max() <= 1


def test_stratification_does_not_ask_for_the_order_of_atoms():
    frames = Frames([[8, 1]] * 20 + [[1, 8]] * 20, np.zeros((40, 2, 3)), energy=np.arange(40.0))
    assert (frames.composition == 0).all()
    apart = Frames([[8, 1, 0], [8, 1, 1], [1, 8, 0]], np.zeros((3, 3, 3)))
    assert apart.composition[0] == apart.composition[2] != apart.composition[1]
    split = energy_stratified_split(frames, 20, 0, seed=0)
    assert (np.bincount(np.sort(split.train) // 4, minlength=10) == 2).all()


def test_groups_are_never_divided():
    frames = atoms(200, groups=20)
    split = group_split(frames, 100, 50, seed=1)
    sets = [set(frames.group[part]) for part in (split.train, split.valid, split.test)]
    assert not (sets[0] & sets[1] or sets[0] & sets[2] or sets[1] & sets[2])
    assert len(split.train) == 100
    assert largest_group(frames) == 10 and largest_group(frames.replace(group=None)) == 1
    none = group_split(frames, 200, 0, 0, seed=1)
    assert (len(none.train), len(none.valid), len(none.test)) == (200, 0, 0)


@pytest.mark.parametrize("seed", [0, 1])
def test_groups_stay_whole_where_there_are_some_and_small_sets_know_many(seed):
    frames = atoms(2000, groups=20)
    split = group_or_random_split(frames, 400, 100, 400, seed)
    sets = [split.train, split.valid, split.test]
    assert [len(part) for part in sets] == [400, 100, 400]
    groups = [set(frames.group[part]) for part in sets]
    assert not (groups[0] & groups[1] or groups[0] & groups[2] or groups[1] & groups[2])
    assert len(set(frames.group[split.train[:50]])) > 7
    none = group_or_random_split(frames, 1800, 200, 0, seed)
    assert [len(part) for part in (none.train, none.valid, none.test)] == [1800, 200, 0]


def test_without_groups_frames_are_drawn_at_random():
    frames = atoms().replace(group=None)
    mine, random = (make(frames, 40, 10, 20, 1) for make in (group_or_random_split, random_split))
    for name in ("train", "valid", "test"):
        np.testing.assert_array_equal(getattr(mine, name), getattr(random, name))
    assert mine.strategy == "random"


def test_whole_groups_that_cannot_be_are_refused():
    frames = atoms(2000, groups=20)
    with pytest.raises(
        UserError, match=r"1950 training, 10 validation and 10 test frames.*kept whole"
    ):
        group_or_random_split(frames, 1950, 10, 10)
    with pytest.raises(UserError, match="frames were asked for"):
        group_or_random_split(frames.replace(group=None), 1950, 40, 20)


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_too_few_frames_are_counted_in_the_error(strategy):
    with pytest.raises(UserError, match=r"210 frames were asked for .* only 200"):
        STRATEGIES[strategy](atoms(), 100, 60, 50)


def test_bad_requests_are_refused():
    with pytest.raises(UserError, match="n_train is 0"):
        random_split(atoms(), 0, 10)
    with pytest.raises(UserError, match="n_valid is -1"):
        random_split(atoms(), 10, -1)
    with pytest.raises(UserError, match=r"201 .*\(150 train, 51 valid, 0 test\)"):
        random_split(atoms(), 150, 51)
    with pytest.raises(UserError, match="seed is -1"):
        random_split(atoms(), 10, 10, seed=-1)
    with pytest.raises(UserError, match="no energies"):
        energy_stratified_split(atoms().replace(energy=None), 10, 10)
    with pytest.raises(UserError, match="no groups"):
        group_split(atoms().replace(group=None), 10, 10)
    with pytest.raises(UserError, match="no group fits into the valid set"):
        group_split(atoms(200, groups=4), 100, 10)


def test_a_frame_never_serves_twice():
    with pytest.raises(UserError, match="frame 2 occurs more than once"):
        Split([0, 1, 2], [2, 3], [4], seed=0, strategy="by hand")
    with pytest.raises(UserError, match="frame -1"):
        Split([0, -1], [], [], seed=0, strategy="by hand")
    with pytest.raises(UserError, match="no training frames"):
        Split([], [1], [], seed=0, strategy="by hand")


def test_a_split_says_what_it_is_and_stays_so():
    split = random_split(atoms(), 10, 5, 3, seed=4)
    assert repr(split) == "Split(10 train, 5 valid, 3 test, random, seed 4)"
    with pytest.raises(ValueError, match="read-only"):
        split.train[0] = 199


def test_split_of_other_data_is_noticed():
    split = random_split(atoms(200), 10, 5)
    split.check(atoms(200))
    with pytest.raises(UserError, match="only 20 frames"):
        split.check(atoms(20))
    with pytest.raises(UserError, match="names frame 3, but there are only 3 frames"):
        Split([0, 3], [1], [], seed=0, strategy="by hand").check(atoms(3))


def test_damaged_and_newer_split_files_are_refused(tmp_path):
    (tmp_path / "a.json").write_text('{"train": [1]}')
    (tmp_path / "b.npz").write_bytes(b"PK nonsense")
    (tmp_path / "c.json").write_text('{"format_version": 9}')
    # a pickle may run anything when it is opened
    pickled = {"format_version": np.array([1], object), "seed": 0, "strategy": "random"}
    np.savez(tmp_path / "e.npz", train=[1], valid=[2], test=[3], **pickled)
    for name in ("a.json", "b.npz", "e.npz"):
        with pytest.raises(UserError, match="cannot be read as a split"):
            Split.load(tmp_path / name)
    with pytest.raises(UserError, match=r"format 9;.*split again"):
        Split.load(tmp_path / "c.json")
    with pytest.raises(UserError, match="There is no file"):
        Split.load(tmp_path / "d.npz")
    with pytest.raises(UserError, match=r"\.npz or \.json"):
        random_split(atoms(), 10, 5).save(tmp_path / "split.txt")
