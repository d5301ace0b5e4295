"""Data larger than memory, and attention of a long trajectory: memory, time, what padding costs.

    python -m benchmarks.streams train --frames 100000
    python -m benchmarks.streams padding --frames 4000
    python -m benchmarks.streams attention --frames 100000

Frames are made up: 4 to 23 atoms in a ball as dense as a small molecule (`train`, `padding`), or
ethanol with its two rotors turned at random (`attention`). Each prints lines of JSON with the
hardware, and leaves nothing behind but what --folder holds.
"""

from __future__ import annotations

import argparse
import json
import shutil
import tempfile
import time
from pathlib import Path

import numpy as np
import psutil

from so3krates_lite.runtime.settings import hardware
from so3krates_lite.structures.frames import Frames

# as small as can be: memory and padding are measured, and not this network
MODEL = {"features": 12, "layers": 1, "degrees": (1,), "heads": 1, "radial_functions": 8}
MODEL |= {"radial_hidden": 8, "spherical_hidden": 8}


def resident_mb() -> float:
    return psutil.Process().memory_info().rss / 1e6


def by_quarter(memory: list[float]) -> dict[str, list[float]]:
    """The largest of each quarter of the run, without the beginning, in which all is compiled."""
    quarters = np.array_split(memory[max(len(memory) // 20, 2) :], 4)
    return {"resident_mb": [round(float(max(one)), 1) for one in quarters if len(one)]}


def say(**facts: object) -> None:
    plain = {k: round(v, 3) if isinstance(v, float) else v for k, v in facts.items()}
    print(json.dumps(plain), flush=True)


def made_up(frames: int, seed: int) -> Frames:
    """Frames of 4 to 23 atoms of H, C, N and O, 1 Å apart on average, with labels at random."""
    rng = np.random.default_rng(seed)
    atoms = rng.integers(4, 24, frames)
    there = np.arange(23) < atoms[:, None]
    numbers = np.where(there, rng.choice((1, 6, 7, 8), (frames, 23), p=(0.5, 0.3, 0.1, 0.1)), 0)
    # places of a cubic lattice, nearest to its middle first, shaken
    lattice = np.array(list(np.ndindex(4, 4, 4)), float) - 1.5
    order = np.argsort(np.linalg.norm(lattice, axis=1), kind="stable")
    positions = 1.2 * lattice[order][:23] + rng.normal(0, 0.1, (frames, 23, 3))
    forces = rng.normal(size=positions.shape)
    mask = there[..., None]
    return Frames(numbers, positions * mask, energy=rng.normal(size=frames), forces=forces * mask)


def files(folder: Path, frames: int) -> None:
    """So many frames in files of 5,000."""
    from so3krates_lite.datasets import save_frames

    for k, start in enumerate(range(0, frames, 5000)):
        save_frames(made_up(min(5000, frames - start), k), folder / f"{k:04d}.npz")


def run_train(options: argparse.Namespace, folder: Path) -> None:
    """An epoch from disk: memory at every part, and the share of time that reading costs."""
    import so3krates_lite as s3
    from so3krates_lite.datasets import FramesOnDisk, random_split
    from so3krates_lite.training import stream

    (folder / "data").mkdir()
    files(folder / "data", options.frames)
    begin, before = time.perf_counter(), resident_mb()
    frames = FramesOnDisk(folder / "data", scratch=folder)
    say(what="read", seconds=time.perf_counter() - begin, scratch_mb=frames._store.size / 1e6)
    memory: list[float] = []
    usual = stream.StreamedSet.parts

    def watched(self, orders):
        for part in usual(self, orders):
            memory.append(resident_mb())
            yield part

    stream.StreamedSet.parts = watched
    listed, make = [], stream.ListsOnDisk.__init__

    def timed(self, *given):
        start = time.perf_counter()
        make(self, *given)
        listed.append((time.perf_counter() - start, self._store.size / 1e6))

    stream.ListsOnDisk.__init__ = timed
    split = random_split(frames, len(frames) - 200, 200, 0)
    settings = s3.TrainConfig(epochs=options.epochs, batch_size=100)
    result = s3.train(frames, split, model=s3.So3kratesConfig(**MODEL), settings=settings)
    walls = [row["wall_s"] for row in result.metrics]
    say(
        what="train",
        frames=len(frames),
        before_mb=before,
        parts=len(memory),
        **by_quarter(memory),
        lists_seconds=listed[0][0],
        lists_mb=listed[0][1],
        epochs_s=[round(b - a, 1) for a, b in zip([0, *walls], walls, strict=False)],
        padding=result.potential.card["places lost to padding"],
        hardware=hardware(),
    )
    # the same order once more, without a device: what reading costs when nothing else is done
    from so3krates_lite.training.data import Targets

    targets = Targets(s3.So3kratesConfig(**MODEL), np.zeros(100), 1.0, np.dtype(np.float32))
    some = frames.only(np.arange(min(len(frames), 20000)))
    data = stream.StreamedSet(some, targets, 100)
    order = np.random.default_rng(0).permutation(len(some)).reshape(1, -1, 100)
    begin = time.perf_counter()
    for _ in data.parts(order):
        pass
    say(what="reading alone", us_per_frame=1e6 * (time.perf_counter() - begin) / len(some))


def run_padding(options: argparse.Namespace, folder: Path) -> None:
    """Epochs with one bucket, with those that are usual, and with those of many frames on disk."""
    import so3krates_lite as s3
    from so3krates_lite.datasets import random_split
    from so3krates_lite.structures import buckets
    from so3krates_lite.training import stream
    from so3krates_lite.training.data import Targets, TrainingSet
    from so3krates_lite.training.progress import Silent

    class Watch(Silent):
        def update(self, row) -> None:
            spent.append(time.process_time())

    frames, model = made_up(options.frames, 0), s3.So3kratesConfig(**MODEL)
    split = random_split(frames, options.frames - 100, 100, 0)
    settings = s3.TrainConfig(epochs=5, batch_size=100)
    targets = Targets(model, np.zeros(100), 1.0, np.dtype(np.float32))
    for spare in (1e9, buckets.SPARE, stream.SPARE):
        buckets.SPARE, spent = spare, [time.process_time()]
        data = TrainingSet(frames[split.train], targets, 100)
        order = np.random.default_rng(0).permutation(len(data))
        order = order[: len(order) // 100 * 100].reshape(-1, 100)
        held = {"buckets": 0, "passes": 0.0}
        for one, bucket in zip(data.choose(order), data.buckets, strict=True):
            places, size = (
                bucket.batch.numbers.shape[1] + bucket.batch.local.room,
                one.index.shape[2],
            )
            alone = len(data.buckets) == 1
            passes = len(order) if alone else float(np.ceil(one.count / size).sum())
            held["buckets"] += len(bucket.weight) * places
            held["passes"] += passes * size * places * len(data) / order.size
        needed = sum(int(b.batch.atom_mask.sum() + b.batch.local.mask.sum()) for b in data.buckets)
        s3.train(frames, split, model=model, settings=settings, progress=Watch())
        say(
            what="padding",
            buckets=len(data.buckets),
            empty_in_buckets=1 - needed / held["buckets"],
            empty_in_passes=1 - needed / held["passes"],
            cpu_seconds_per_epoch=float(np.median(np.diff(spent)[1:])),
            first_epoch=spent[1] - spent[0],
        )
    say(what="hardware", hardware=hardware())


def turned(frames: int, seed: int) -> Frames:
    """Ethanol with its hydroxyl and its methyl group turned, and all atoms shaken by 0.03 Å."""
    import so3krates_lite as s3

    rng, one = np.random.default_rng(seed), s3.load("ethanol-gfn2")[0]
    atoms = one.to_atoms()[0]
    shapes = []
    for _ in range(360):
        image = atoms.copy()
        image.rotate_dihedral(*HYDROXYL, rng.uniform(0, 360), indices=[8])
        image.rotate_dihedral(*METHYL, rng.uniform(0, 360), indices=[5, 6, 7])
        shapes.append(image.positions)
    positions = np.array(shapes)[rng.integers(0, 360, frames)]
    positions = positions + rng.normal(0, 0.03, positions.shape)
    return Frames(np.tile(one.numbers, (frames, 1)), positions)


HYDROXYL, METHYL = (1, 0, 2, 8), (2, 0, 1, 5)  # C C O H and O C C H


def run_attention(options: argparse.Namespace, folder: Path) -> None:
    """A record of many frames, opened and reduced."""
    import distributed

    import so3krates_lite as s3
    from so3krates_lite.record import mean_maps, pairs_that_switch
    from so3krates_lite.record.analysis import dihedral_angles

    frames, potential = turned(options.frames, 0), s3.load_potential("ethanol-gfn2")
    memory, attention = [], potential.attention

    class Watched:
        params = potential.params

        def attention(self, some):
            found = attention(some)
            memory.append(resident_mb())
            return found

    begin = time.perf_counter()
    path = s3.record_trajectory(Watched(), frames, folder / "attention.zarr", chunk=options.chunk)
    size = sum(file.stat().st_size for file in path.rglob("*") if file.is_file())
    say(
        what="record",
        frames=len(frames),
        seconds=time.perf_counter() - begin,
        store_mb=size / 1e6,
        files=sum(1 for _ in path.rglob("*")),
        **by_quarter(memory),
        hardware=hardware(),
    )
    begin = time.perf_counter()
    data = s3.open_attention(path)
    say(what="open", seconds=time.perf_counter() - begin, would_be_mb=data.nbytes / 1e6)
    begin = time.perf_counter()
    angle = dihedral_angles(data["positions"][:, list(HYDROXYL)].values)
    kind = ((angle % 360) // 30).astype(int)
    cluster = distributed.LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None)
    with cluster, distributed.Client(cluster):
        maps = mean_maps(data, "feature", layer="abs-mean", channel="abs-mean", kind=kind)
    table = pairs_that_switch(maps)
    say(
        what="reduce",
        seconds=time.perf_counter() - begin,
        resident_mb=resident_mb(),
        top={k: v[:6].round(4).tolist() for k, v in table.items()},
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("part", choices=("train", "padding", "attention"))
    parser.add_argument("--frames", type=int, default=100_000)
    parser.add_argument("--epochs", type=int, default=1)
    parser.add_argument("--chunk", type=int, default=200)
    parser.add_argument("--folder", type=Path, help="where files lie [a temporary one]")
    options = parser.parse_args()
    if options.folder:
        options.folder.mkdir(parents=True)
    folder = options.folder or Path(tempfile.mkdtemp())
    try:
        {"train": run_train, "padding": run_padding, "attention": run_attention}[options.part](
            options, folder
        )
    finally:
        if not options.folder:
            shutil.rmtree(folder)


if __name__ == "__main__":
    main()
