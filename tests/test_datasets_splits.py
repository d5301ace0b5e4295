import numpy as np
import pytest

from so3krates_lite.datasets import (
    STRATEGIES,
    Split,
    energy_stratified_split,
    group_split,
    random_split,
)
from so3krates_lite.errors import UserError
from so3krates_lite.frames import Frames


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
    back = Split.load(split.save(tmp_path / f"split.{suffix}"))
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


def test_stratification_looks_past_composition():
    light, heavy = atoms(100), atoms(100, seed=1)
    heavy = heavy.replace(numbers=np.full((100, 1), 8), energy=heavy.energy - 2000)
    frames = Frames.concatenate([light, heavy])
    split = energy_stratified_split(frames, 100, 0, seed=0)
    assert 35 < (split.train < 100).sum() < 65


def test_groups_are_never_divided():
    frames = atoms(200, groups=20)
    split = group_split(frames, 100, 50, seed=1)
    sets = [set(frames.group[part]) for part in (split.train, split.valid, split.test)]
    assert not (sets[0] & sets[1] or sets[0] & sets[2] or sets[1] & sets[2])
    assert len(split.train) == 100


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_too_few_frames_are_counted_in_the_error(strategy):
    with pytest.raises(UserError, match=r"210 frames were asked for .* only 200"):
        STRATEGIES[strategy](atoms(), 100, 60, 50)


def test_bad_requests_are_refused():
    with pytest.raises(UserError, match="n_train is 0"):
        random_split(atoms(), 0, 10)
    with pytest.raises(UserError, match="n_valid is -1"):
        random_split(atoms(), 10, -1)
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


def test_split_of_other_data_is_noticed():
    split = random_split(atoms(200), 10, 5)
    split.check(atoms(200))
    with pytest.raises(UserError, match="only 20 frames"):
        split.check(atoms(20))


def test_damaged_and_newer_split_files_are_refused(tmp_path):
    (tmp_path / "a.json").write_text('{"train": [1]}')
    (tmp_path / "b.npz").write_bytes(b"PK nonsense")
    (tmp_path / "c.json").write_text('{"format_version": 9}')
    for name, message in (("a.json", "not a readable"), ("b.npz", "not a readable")):
        with pytest.raises(UserError, match=message):
            Split.load(tmp_path / name)
    with pytest.raises(UserError, match="split format 9"):
        Split.load(tmp_path / "c.json")
    with pytest.raises(UserError, match="no split file"):
        Split.load(tmp_path / "d.npz")
    with pytest.raises(UserError, match=r"\.npz or \.json"):
        random_split(atoms(), 10, 5).save(tmp_path / "split.txt")
