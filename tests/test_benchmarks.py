"""What the benchmark compares computes the same numbers."""

from __future__ import annotations

import importlib
import json
import subprocess
import sys
import time
from functools import partial
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from small import deviation, molecule, random_parameters, small_config, stack

from so3krates_lite.config import So3kratesConfig
from so3krates_lite.datasets import save_frames
from so3krates_lite.energies import energy_and_forces
from so3krates_lite.structures.batching import make_batch, neighbour_pairs
from so3krates_lite.training import TrainConfig
from so3krates_lite.training.objective import Labelled, Weights, loss_and_gradient

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
contenders = importlib.import_module("benchmarks.contenders")
processes = importlib.import_module("benchmarks.processes")
report = importlib.import_module("benchmarks.report")
straightforward = importlib.import_module("benchmarks.straightforward")
systems = importlib.import_module("benchmarks.systems")

pytestmark = pytest.mark.usefixtures("quick_compilation")


def case(layers: int):
    """A configuration, random parameters, and molecules of different size: one of a single atom."""
    config = small_config((1, 2), layers=layers)
    frames = stack(molecule(6, seed=1), molecule(1, seed=2), molecule(3, seed=3))
    batch = make_batch(frames, config, dtype=np.float64)
    assert batch.local.mask.any() and not batch.local.mask.all()
    return config, random_parameters(config), batch


# these two run where the package that they measure is installed
ELSEWHERE = {"original", "with_torch"}
HERE = {path.stem for path in Path(contenders.__file__).parent.glob("*.py")} - ELSEWHERE


@pytest.mark.parametrize("name", sorted(HERE))
def test_every_benchmark_can_be_begun(name):
    """What the package has moved or renamed would stop it at its first line."""
    importlib.import_module(f"benchmarks.{name}")


def test_the_straightforward_version_gives_the_package_s_energies_and_forces():
    config, params, batch = case(layers=2)
    with jax.enable_x64(True):
        expected = jax.jit(partial(energy_and_forces, config=config))(params, batch)
        plain = jax.jit(partial(straightforward.energy_and_forces, config=config))
        found = plain(params, straightforward.directed(batch))
    for ours, theirs in zip(expected, found, strict=True):
        assert deviation(theirs, ours) < 1e-10
    assert np.abs(expected[1]).max() > 1e-2


@pytest.mark.parametrize("polynomials", [None, 8])
def test_ours_is_the_package_s_training_and_evaluation(polynomials):
    frames = stack(*(molecule(4, seed) for seed in range(4)))
    frames = frames.replace(energy=np.arange(4.0), forces=np.zeros((4, 4, 3)))
    ours = importlib.import_module("benchmarks.ours").Ours(
        frames, small_config(filter_polynomials=polynomials), 2
    )
    training = ours.trace_training().jaxpr
    assert training.out_avals[-1].shape == (ours.steps_per_call,)  # a norm for each step
    energy, forces = ours.trace_evaluation().jaxpr.out_avals
    assert energy.shape == (2,) and forces.shape == (2, 4, 3)


def test_the_straightforward_version_trains_by_the_same_gradient():
    config, params, batch = case(layers=1)
    settings = TrainConfig()
    rng = np.random.default_rng(0)
    energy, forces = rng.normal(size=len(batch)), rng.normal(size=batch.displacement.shape)
    labelled = Labelled(batch, energy, forces, np.ones(len(batch)))
    weights = Weights.of(settings)
    plain = partial(straightforward.loss, config=config, settings=settings)
    with jax.enable_x64(True):
        clever = jax.jit(loss_and_gradient, static_argnames="config")
        expected = clever(params, labelled, config=config, weights=weights)
        targets = straightforward.Targets(energy, forces)
        found = jax.jit(jax.value_and_grad(plain))(params, straightforward.directed(batch), targets)
    for ours, theirs in zip(jax.tree.leaves(expected), jax.tree.leaves(found), strict=True):
        assert deviation(theirs, ours) < 1e-10


@pytest.fixture
def no_peers(monkeypatch):
    """An environment that names nobody to compare with."""
    monkeypatch.delenv("SO3KRATES_MLFF", raising=False)
    for _, variable, _ in contenders.PEERS.values():
        monkeypatch.delenv(variable, raising=False)


@pytest.mark.parametrize("molecules", [33, 333])
def test_water_boxes_of_any_size_are_alike(molecules):
    frames = systems.water_box(molecules)
    assert frames.numbers.shape == (1, 3 * molecules)
    assert frames.element_counts([1, 8]).tolist() == [[2 * molecules, molecules]]
    assert molecules / np.linalg.det(frames.cell[0]) == pytest.approx(systems.DENSITY)
    positions, cell, pbc = frames.positions[0], frames.cell[0], frames.pbc[0]
    first, second, offset = neighbour_pairs(positions, 5.0, cell, pbc)
    distance = np.linalg.norm(positions[second] + offset - positions[first], axis=1)
    bonded = (first // 3 == second // 3) & (distance < 2)
    assert np.sum(bonded) == 3 * molecules  # two bonds and the distance of the hydrogens
    assert distance[~bonded].min() >= systems.ATOMS_APART - 1e-9
    assert 2 * len(first) / (3 * molecules) == pytest.approx(52.5, rel=0.03)


def test_a_water_box_is_the_same_in_every_run():
    once, again, other = (systems.water_box(20, seed=seed).positions for seed in (0, 0, 1))
    assert np.array_equal(once, again)
    assert np.abs(once - other).max() > 0.1


@pytest.mark.parametrize("size", [56, 148])
def test_chains_have_the_atoms_they_are_named_for_and_no_contacts(size):
    so3lr = importlib.import_module("benchmarks.so3lr.__main__")
    frames = so3lr.MOLECULES[size]()
    assert frames.numbers.shape == (1, size)
    positions, numbers = frames.positions[0], frames.numbers[0]
    first, second, _ = neighbour_pairs(positions, 1.9, np.zeros((3, 3)), np.zeros(3, bool))
    distance = np.linalg.norm(positions[second] - positions[first], axis=1)
    bonded = distance < np.where(np.minimum(numbers[first], numbers[second]) == 1, 1.35, 1.8)
    valence = np.bincount(np.concatenate([first[bonded], second[bonded]]), minlength=size)
    expected = {1: 1, 6: 4, 8: 2}
    assert valence.tolist() == [expected[z] for z in numbers]
    assert distance[bonded].min() > 0.8 and distance[~bonded].min() > 1.4


@pytest.fixture
def tiny_so3lr(tmp_path):
    """Makes ours of SO3LR, small and random, of a structure on disk."""
    ours = importlib.import_module("benchmarks.so3lr.ours").Ours
    save_frames(systems.ethanol(), tmp_path / "frames.npz")

    def make(**settings):
        settings |= {"long_cutoff": 1000.0, "tiny": True}
        return ours(*ours.read(str(tmp_path / "frames.npz"), settings), 1)

    return make


def test_so3lr_made_once_and_by_calculator_are_one(tiny_so3lr):
    so3lr = importlib.import_module("benchmarks.so3lr.__main__")
    results = []
    for calculator in (False, True):
        implementation = tiny_so3lr(calculator=calculator)
        assert implementation.run("evaluation") == 1
        results.append(report.Result(facts=implementation.facts() | {"memory": 100.0}))
        results[-1].add("evaluation", 0.001)
        results[-1].add("evaluation: first", 1.0)
    assert np.shape(results[0].facts["forces"]) == (9, 3)
    assert so3lr.deviations(results[1], results[0])[2]
    rows, _ = so3lr.contenders(tiny=True)
    assert [row.label for row in rows] == ["ours, made once", "ours, calculator"]
    case = report.Case("ethanol", 9, dict(zip((row.label for row in rows), results, strict=True)))
    other = contenders.Contender("original, made once", "so3lr: original", "made once")
    facts = dict(results[0].facts, energy=results[0].facts["energy"] + 1)
    case.results[other.label] = report.Result(results[0].times | {"evaluation": [0.003]}, facts)
    text = "\n".join(so3lr.beside([case], [*rows, other]))
    assert "| original, made once | 3 (3×) | 3 (3×) | 1 | 100 |" in text
    assert text.count("differs") == 2


def test_who_cannot_take_part_is_named_with_the_reason(no_peers, monkeypatch):
    monkeypatch.setenv("SO3KRATES_NEQUIP_PYTHON", "no-such-program")
    # a Python that is there but lacks the peer
    monkeypatch.setenv("SO3KRATES_SCHNETPACK_PYTHON", sys.executable)
    rows, skipped = contenders.contenders()
    assert {row.worker for row in rows} == {"ours", "straightforward"}
    assert "SO3KRATES_MLFF names no checkout" in skipped[0]
    assert skipped[1:] == [
        "MACE: SO3KRATES_MACE_PYTHON names no Python that has it",
        "NequIP: SO3KRATES_NEQUIP_PYTHON names no program",
        "PaiNN (SchNetPack): the Python that SO3KRATES_SCHNETPACK_PYTHON names has no package "
        "schnetpack",
    ]


def test_only_those_asked_for_take_part(no_peers):
    rows, skipped = contenders.contenders(["straightforward", "mace"])
    assert [row.label for row in rows] == ["straightforward"]
    assert len(skipped) == 1 and skipped[0].startswith("MACE")


def measured(milliseconds: float, **facts) -> report.Result:
    result = report.Result(facts={"memory": 100.0, **facts})
    for factor in (1, 1, 50):  # one turn was disturbed
        result.add("training", factor * milliseconds / 1000)
    return result


def test_a_report_gives_medians_and_ratios_to_ours_of_the_same_form():
    rows = [
        contenders.Contender("ours", "ours"),
        contenders.Contender("ours, v0.3 form", "ours", "v0.3"),
        contenders.Contender("original", "original", "v0.3"),
        contenders.Contender("MACE", "mace"),
        contenders.Contender("NequIP", "nequip"),
    ]
    facts = {"platform": "cpu", "hardware": "a machine", "versions": {"jax": "1"}}
    results = {
        "ours": measured(10, **facts, **{"steps per call": 5}),
        "ours, v0.3 form": measured(5, **facts, **{"steps per call": 5}),
        "original": measured(20, **facts, **{"steps per call": 1}),
        "MACE": measured(200, **facts, **{"steps per call": 1}),
        "NequIP": report.Result(failure="longer than 900 s"),
    }
    case = report.Case("ethanol, batch 10", 9, results)
    skipped = ["PaiNN: not there"]
    platform, text = report.section([case], rows, skipped, So3kratesConfig(), 1, 3, ["a source"])
    assert platform == "cpu"
    assert "| original | 20 (4×) |" in text
    assert "| MACE | 200 (20×) |" in text
    assert text.count("| NequIP | failed |") == 2  # steps and memory: nobody has other figures
    assert "memory of the device" not in text
    assert "Left out: PaiNN: not there." in text
    assert "Left out: NequIP at ethanol, batch 10: longer than 900 s." in text


def test_a_section_replaces_its_own_kind_of_device_only(tmp_path):
    path = tmp_path / "RESULTS.md"
    report.write(path, "GPU\n\nfast", "gpu")
    report.write(path, "CPU\n\n### Training\n\nslow", "cpu")
    report.write(path, "CPU\n\n### Training\n\nless slow", "cpu")
    text = path.read_text()
    assert text.count("## CPU") == text.count("## GPU") == 1
    assert "less slow" in text and "fast" in text and "\nslow" not in text


def test_a_worker_that_dies_or_lasts_is_reported_with_a_reason(tmp_path):
    ours = contenders.Contender("ours", "ours")
    worker = processes.Worker(ours, tmp_path, timeout=60.0)
    with pytest.raises(processes.WorkerFailed, match=r"KeyError.*exit code 1"):
        worker.ask(
            do="start", name="nobody", settings={}, frames="", batch_size=1, kinds=[], launched=0.0
        )
    worker.close()
    worker = processes.Worker(ours, tmp_path, timeout=0.0)
    with pytest.raises(processes.WorkerFailed, match="longer than 0 s"):
        worker.ask(
            do="start", name="ours", settings={}, frames="", batch_size=1, kinds=[], launched=0.0
        )
    worker.close()


def test_a_peer_s_worker_needs_neither_jax_nor_the_package():
    forbidden = ("jax", "so3krates_lite", "benchmarks.with_jax")
    code = f"""
import sys
for name in {forbidden!r}:
    sys.modules[name] = None  # importing it fails
import benchmarks.worker, benchmarks.implementation
"""
    root = Path(__file__).resolve().parents[1]
    subprocess.run([sys.executable, "-c", code], cwd=root, check=True)


def test_floors_count_products_and_operations_of_loops():
    floors = importlib.import_module("benchmarks.floors")

    def twice_five(x, w):
        def body(x, _):
            return jnp.sin(x @ w), None

        return jax.lax.scan(body, jax.lax.scan(body, x, length=5)[0], length=5)[0]

    x, w = jnp.ones((40, 30)), jnp.ones((30, 30))
    traced = jax.jit(twice_five).trace(x, w)
    assert floors.product_flops(traced.jaxpr) == 10 * 2 * 40 * 30 * 30
    one = jax.jit(lambda x, w: jnp.sin(x @ w)).lower(x, w).compile().as_text()
    counted = floors.executed_operations(traced.lower().compile().as_text())
    assert floors.executed_operations(one) >= 2
    # a loop adds counting and comparing to what it repeats
    assert 10 * floors.executed_operations(one) <= counted <= 10 * 6


def test_the_look_at_a_gpu_runs_at_toy_size_and_writes_after_each_part(tmp_path, capsys):
    gpu = importlib.import_module("benchmarks.gpu")
    gpu.main(["--folder", str(tmp_path), "--tiny", "--minutes", "2"])
    found = json.loads((tmp_path / "gpu.json").read_text())
    works = [(row["work"], row["by"]) for row in found["speed"]]
    assert works == [("training", "adam"), ("evaluation", "-"), ("training", "muon")]
    assert all(row["compile (s)"] >= 0 and row["measured (ms)"] > 0 for row in found["speed"])
    if "ethanol" in found:  # where MD17 is at hand
        assert found["ethanol"]["s to 0.096"] == "-" and found["ethanol"]["epochs"] == 2
    else:
        assert "no data of" in found["not here"]
    assert found["lesson"]["seconds"] > 0
    assert "## speed" in capsys.readouterr().out
    before = (tmp_path / "gpu.json").read_bytes()
    with pytest.raises(SystemExit):
        gpu.main(["--folder", str(tmp_path), "--tiny"])
    assert "gpu.json holds what was measured before" in capsys.readouterr().err
    assert (tmp_path / "gpu.json").read_bytes() == before


def test_a_part_that_fails_says_so_and_the_next_one_begins(tmp_path, monkeypatch):
    gpu = importlib.import_module("benchmarks.gpu")

    def fail():
        raise MemoryError("no room")

    parts = [("first", fail), ("second", lambda: {"seconds": 1.0})]
    monkeypatch.setattr(gpu, "parts", lambda options, clock: iter(parts))
    gpu.main(["--folder", str(tmp_path)])
    found = json.loads((tmp_path / "gpu.json").read_text())
    assert found["first"] == "failed: MemoryError no room" and found["second"] == {"seconds": 1.0}


def test_time_to_accuracy_counts_by_its_own_clock_and_leaves_what_is_there(tmp_path, capsys):
    accuracy = importlib.import_module("benchmarks.time_to_accuracy")
    watch = accuracy.Watch(time.time() - 100)
    watch.update({"wall_s": 3.0, "valid_force_mae_eV_A": 0.005})
    assert accuracy.seconds_to(watch.rows)["s to 0.147"] == pytest.approx(100, abs=5)
    (tmp_path / "metrics.csv").write_text("")
    with pytest.raises(SystemExit):
        accuracy.main(["--folder", str(tmp_path)])
    assert "is not empty: name another folder" in capsys.readouterr().err


def test_seconds_to_an_error_are_those_of_the_first_epoch_below_it():
    gpu = importlib.import_module("benchmarks.gpu")
    unit = 0.0433641  # eV of a kcal/mol
    course = ((10.0, 0.3), (20.0, 0.19), (30.0, 0.14))
    rows = [{"wall_s": s, "valid_force_mae_eV_A": error * unit} for s, error in course]
    expected = {"s to 0.2": 20.0, "s to 0.147": 30.0, "s to 0.096": "-"}
    assert gpu.seconds_to(rows) == expected


def test_time_to_accuracy_sets_the_original_s_best_beside_when_ours_had_it():
    accuracy = importlib.import_module("benchmarks.time_to_accuracy")

    def course(*pairs):
        return [{"wall_s": s, "valid_force_mae_eV_A": e} for s, e in pairs]

    theirs = course((60.0, 0.05), (120.0, 0.02), (180.0, 0.03))
    quick = {"code": "ours", "course": course((10.0, 0.04), (15.0, 0.02))}
    never = {"code": "ours", "course": course((10.0, 0.04))}
    lines = accuracy.beside([quick, never], theirs)
    column = "s to 0.461, the original's best"  # 0.02 eV/Å
    assert [line[column] for line in lines] == [15.0, "-", 120.0]
    assert lines[-1]["epochs"] == 3 and lines[-1]["training (min)"] == 3.0
