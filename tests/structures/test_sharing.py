"""A structure that several devices share is the one that it was, and so are its forces."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from small import molecule, small_config, small_potential

from benchmarks.systems import water_box
from so3krates_lite.cli import main
from so3krates_lite.config import GeomAttConfig
from so3krates_lite.errors import UserError
from so3krates_lite.structures.batching import make_batch
from so3krates_lite.structures.sharing import blocks_of, check_shared, cut

ON_FOUR = """
import jax, numpy as np
from small import PHYSICS, quickly, random_parameters, small_config
from benchmarks.systems import water_box
from so3krates_lite import ensemble as ensembles, passes
from so3krates_lite.potential import Potential
from so3krates_lite.runtime.devices import row_of
from so3krates_lite.simulate.calculator import So3kratesCalculator
from so3krates_lite.structures.batching import make_batch
from so3krates_lite.structures.sharing import share_out

passes.PAIRS_PER_PASS_ON_CPU = 2000  # more than one pass on each device
# all that reads of atoms on other devices: pairs near, far and in SPHC space, charges, spin
config = small_config(variant="so3lr", long_cutoff=5.0, spherical_radius=1.5, **PHYSICS)
members = [Potential(config, random_parameters(config, seed)) for seed in (0, 1)]
ensemble = ensembles.Ensemble.of(members)
box = water_box(333).replace(total_charge=[1.0], spin_multiplicity=[2])
batch = make_batch(box, config, dtype=np.float64)
shares = share_out(batch, box, row_of("all"))

made = {}
compiled = ensembles._of_members

def once(function):  # as it is, and kept for what the compiler says of it
    def call(params, batch, config):
        if function not in made:
            made[function] = compiled(function).lower(params, batch, config).compile()
        return made[function](params, batch)
    return call

ensembles._of_members = once

def assert_same(many, one):
    for name, expected in one.items():
        size = np.abs(expected).max()
        assert many[name].shape == expected.shape, name
        assert size > 0 and np.abs(many[name] - expected).max() < 1e-12 * size, name

with quickly():
    for moved in (np.random.default_rng(0).normal(0, 0.1, (999, 3)), np.zeros((999, 3))):
        one = ensemble.found_in(batch.replace(displacement=moved[None]), stress=True)
        four = shares.whole(ensemble.found_in(shares.moved(moved), stress=True))
        assert set(one) == {"energy", "forces", "stress", "energy_std", "forces_std"}
        assert_same(four, one)
    assert_same(ensemble.predict(box, stress=True, devices="all").named(), one)
    atoms = box.to_atoms()[0]
    atoms.calc = So3kratesCalculator(ensemble, skin=0.0, devices=4)
    assert_same({"forces": atoms.get_forces()[None]}, {"forces": one["forces"]})
    memory = [program.memory_analysis().temp_size_in_bytes for program in made.values()]
    assert len(memory) == 2 and memory[1] < 0.5 * memory[0], memory  # 0.25 if nothing were sent
print("all of it")
"""


def test_devices_that_share_a_structure_find_what_one_finds():
    places = Path(__file__).parents[1], Path(__file__).parents[2]
    made = {
        **os.environ,
        "JAX_PLATFORMS": "cpu",
        "PYTHONPATH": os.pathsep.join(map(str, places)),
        "XLA_FLAGS": "--xla_force_host_platform_device_count=4",
    }
    done = subprocess.run([sys.executable, "-c", ON_FOUR], env=made, capture_output=True, text=True)
    assert done.returncode == 0 and "all of it" in done.stdout, done.stderr[-2000:]


@pytest.mark.parametrize("devices", [2, 3, 4, 7])
def test_every_pair_is_computed_once_and_reaches_its_atoms(devices):
    config = small_config(long_cutoff=4.0, spherical_radius=1.0)
    box = water_box(17)
    batch = make_batch(box, config, dtype=np.float64)
    shares = cut(batch, box, devices)
    there = shares.atoms >= 0
    assert sorted(shares.atoms[there]) == list(range(51))
    assert np.ptp(there.sum(axis=1)) <= 1
    assert (shares.batch.numbers[there] == box.numbers[0, shares.atoms[there]]).all()
    assert (shares.batch.numbers[~there] == 0).all()
    for name in ("local", "far"):
        whole, listed = getattr(batch, name), getattr(shares.batch, name)
        found = []
        for d in range(devices):
            # what `Pairs.reached` sends, by hand
            others = [shares.atoms[e, listed.sent[e, d]] for e in range(devices)]
            atoms, real = np.concatenate([shares.atoms[d], *others]), listed.mask[d]
            ends = [atoms[end[d, real]] for end in (listed.first, listed.second)]
            found.append(np.column_stack([*ends, listed.vector[d, real]]))
        most, least = max(map(len, found)), min(map(len, found))
        assert most < 2 * least
        found = np.concatenate(found)
        expected = np.column_stack([whole.first[0], whole.second[0], whole.vector[0]])
        expected = expected[whole.mask[0]]
        assert (found[np.lexsort(found.T)] == expected[np.lexsort(expected.T)]).all()


def test_blocks_are_even_and_lie_together():
    line = np.zeros((101, 3))
    line[:, 1] = np.random.default_rng(0).permutation(101)
    blocks = blocks_of(line, 5)
    assert [len(block) for block in blocks] == [20, 20, 20, 20, 21]
    ends = [(line[block, 1].min(), line[block, 1].max()) for block in blocks]
    assert [high - low + 1 for low, high in ends] == [len(block) for block in blocks]
    # more devices than atoms
    assert sorted(map(len, blocks_of(line[:3], 4))) == [0, 1, 1, 1]


@pytest.mark.parametrize(
    ("config", "told"),
    [
        (GeomAttConfig(), "every atom sees every other"),
        (
            small_config(physics=("electrostatics",), ewald=True, long_cutoff=5.0),
            "a long_cutoff in place of ewald",
        ),
    ],
)
def test_models_whose_atoms_cannot_be_told_apart_say_so(config, told):
    with pytest.raises(UserError, match=told):
        check_shared(config)


def test_devices_that_are_not_there_are_named(tmp_path, capsys):
    given = ["predict", "ethanol-gfn2", "ethanol-gfn2", "--limit", "1", "--devices", "3"]
    assert main([*given, "--out", str(tmp_path / "out.extxyz")]) == 2
    assert "devices = 3, but JAX finds 1" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())
    with pytest.raises(UserError, match="devices = 0"):
        small_potential(small_config()).predict(molecule(3, seed=0), devices=0)
