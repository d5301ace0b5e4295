"""Training shared by several devices, or by several processes, gives the numbers of one."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from so3krates_lite.cli import main
from so3krates_lite.errors import UserError
from so3krates_lite.training.devices import meet, mesh_of
from so3krates_lite.training.run import read_metrics

ON_FOUR = """
import jax, numpy as np
from dataclasses import replace
import so3krates_lite as s3
from so3krates_lite.datasets import FramesOnDisk, load, save_frames
from so3krates_lite.datasets.splits import random_split
from so3krates_lite.errors import UserError
from so3krates_lite.training import TrainConfig, train
from so3krates_lite.training.progress import Silent

sizes = {"features": 12, "layers": 1, "degrees": (1, 2), "heads": 2, "radial_functions": 8}
model = s3.So3kratesConfig(**sizes, radial_hidden=8, spherical_hidden=8, charge_embedding=True)
settings = TrainConfig(epochs=2, batch_size=8, precision="float64")
chains = load("carbon-chains-gfn2")
frames = chains[np.r_[:16, 1000:1016]]  # of two sizes
split = random_split(frames, 24, 8, seed=1)

def run(devices, settings=settings, frames=frames, **more):
    return train(frames, split, model=model, settings=settings, devices=devices,
                 progress=Silent(), **more)

def apart(one, other):
    leaves = (jax.tree.leaves(each.potential.params) for each in (one, other))
    return max(np.abs(a - b).max() for a, b in zip(*leaves, strict=True))

one = run(1)
for devices in (2, "all"):
    assert apart(one, run(devices)) < 1e-12, devices
save_frames(frames, "frames.npz", compact=False)  # read from disk, and shared as well
assert apart(one, run(2, frames=FramesOnDisk(["frames.npz"], scratch="."))) < 1e-12
half = replace(settings, epochs=2, max_minutes=1e-9)
run("all", half, folder="half")  # ends after the second epoch at the latest
kept = run(2, folder="half", resume=True)
assert len(kept.metrics) == 2 and apart(one, kept) < 1e-12
for given, told in ((3, "multiple of 3"), (5, "JAX finds 4")):
    try:
        run(given)
    except UserError as error:
        assert told in str(error), error
    else:
        raise AssertionError(given)
print("all of it")
"""


def environment(**more: str) -> dict[str, str]:
    return {
        **os.environ,
        "JAX_PLATFORMS": "cpu",
        "PYTHONPATH": str(Path(__file__).parents[2]),
        **more,
    }


def test_devices_share_a_step_and_change_no_number(tmp_path):
    made = environment(XLA_FLAGS="--xla_force_host_platform_device_count=4")
    command = [sys.executable, "-c", ON_FOUR]
    done = subprocess.run(command, cwd=tmp_path, env=made, capture_output=True, text=True)
    assert done.returncode == 0 and "all of it" in done.stdout, done.stderr[-2000:]


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as door:
        return door.getsockname()[1]


def test_processes_share_a_step_and_one_that_is_killed_ends_all_with_a_sentence(tmp_path, capsys):
    settings = (
        "train ethanol-gfn2 --train 16 --valid 8 --test 8 --batch-size 8 --features 12 --layers 1 "
        "--degrees 1 2 --heads 2 --precision float64 --epochs 100000 --folder"
    ).split()
    together = (
        f"--devices all --coordinator 127.0.0.1:{free_port()} --processes 2 --process".split()
    )
    run = [sys.executable, "-m", "so3krates_lite.cli", *settings, "shared", *together]
    first, second = (
        subprocess.Popen(
            [*run, str(k)], cwd=tmp_path, env=environment(), stderr=subprocess.PIPE, text=True
        )
        for k in (0, 1)
    )
    try:
        end = time.monotonic() + 300
        while not (tmp_path / "shared" / "state.safetensors").exists():
            assert time.monotonic() < end and first.poll() is None and second.poll() is None
            time.sleep(0.1)
        second.send_signal(signal.SIGKILL)
        killed = time.monotonic()
        told = first.communicate(timeout=120)[1]
        assert time.monotonic() - killed < 60
    finally:
        for process in (first, second):
            process.kill()
            process.communicate()
    assert first.returncode == 2
    assert "Another process of this training has ended" in told and "--resume" in told
    shared = read_metrics(tmp_path / "shared" / "metrics.csv")
    settings[settings.index("100000")] = "1"
    assert main([*settings, str(tmp_path / "alone")]) == 0
    (alone,) = read_metrics(tmp_path / "alone" / "metrics.csv")
    assert shared[0]["valid_loss"] == pytest.approx(alone["valid_loss"], rel=1e-9)


def test_hosts_that_never_appear_are_told(capsys):
    address = ("127.0.0.1", free_port())
    with pytest.raises(UserError, match=r"Of 3 processes, 1, 2 did not appear at .* within 0.3 s"):
        meet(address, 3, 0, 0.3)
    with pytest.raises(UserError, match="Process 1 found no first process"):
        meet(address, 2, 1, 0.3)


@pytest.mark.parametrize(
    ("more", "told"),
    [
        ("--coordinator node1:1", "--coordinator is given without --processes"),
        ("--coordinator node1 --processes 2 --process 0 --devices all", 'give "host:port"'),
        ("--coordinator node1:1 --processes 2 --process 2 --devices all", "process = 2"),
        ("--coordinator node1:1 --processes 2 --process 1", "pass --devices all"),
        ("--devices 3 --batch-size 10", "devices = 3, but JAX finds 1"),
        ("--devices none", "none is not a positive whole number"),
    ],
)
def test_impossible_devices_are_named(more, told, tmp_path, capsys):
    folder = tmp_path / "run"
    given = ["train", "ethanol-gfn2", "--folder", str(folder), *more.split()]
    assert main(given) == 2
    assert told in capsys.readouterr().err and not folder.exists()


def test_one_device_needs_no_mesh():
    assert mesh_of(1, 7) is None and mesh_of("all", 7) is None
    with pytest.raises(UserError, match="devices = 0"):
        mesh_of(0, 8)
