"""The bundled data are what they say, and can be made again."""

import numpy as np
import pytest

from so3krates_lite.datasets import REGISTRY, bundled_path, load
from so3krates_lite.errors import UserError

BUNDLED = [name for name, card in REGISTRY.items() if card.bundled]
DYNAMICS = [name for name in BUNDLED if name != "cumulenes-gfn2"]


@pytest.fixture(scope="module")
def tblite():
    return pytest.importorskip("tblite", reason="tblite (extra: generate) is not installed")


def test_bundled_files_are_small():
    files = [bundled_path(REGISTRY[name].local_names[0]) for name in BUNDLED]
    assert sum(path.stat().st_size for path in files) < 3e6


def test_bundled_sets_hold_what_their_cards_say():
    ethanol, chains = load("ethanol-gfn2"), load("carbon-chains-gfn2")
    assert len(ethanol) == 2000 and ethanol.elements.tolist() == [1, 6, 8]
    assert ethanol.numbers[0].tolist() == [6, 6, 8] + [1] * 6
    charged = chains.total_charge == 1
    assert charged.sum() == (~charged).sum() == 1000
    assert set(chains.n_atoms[charged]) == {13} and set(chains.n_atoms[~charged]) == {12}
    np.testing.assert_allclose(chains.partial_charges.sum(axis=1), chains.total_charge, atol=1e-6)


@pytest.mark.parametrize("name", BUNDLED)
def test_level_of_theory_and_versions_stand_in_the_file(name):
    info = load(name).info
    assert "GFN2-xTB" in info["level_of_theory"]
    assert "tblite" in info["software"] and info["seed"] == "2022"
    assert "md17" not in str(dict(info)).lower()


@pytest.mark.parametrize("name", DYNAMICS)
def test_frames_are_distinct_forces_balanced_and_energies_thermal(name):
    frames = load(name)
    assert len(np.unique(frames.positions.reshape(len(frames), -1), axis=0)) == len(frames)
    assert np.abs(frames.forces.sum(axis=1)).max() < 1e-5
    for charge in np.unique(frames.total_charge):
        one = frames[frames.total_charge == charge]
        modes = 3 * one.n_atoms[0] - 6
        harmonic = 8.617e-5 * 500 * np.sqrt(modes / 2)  # equipartition: spread of the potential
        assert 0.8 < one.energy.std() / harmonic < 1.3
    lag = np.corrcoef(frames.energy[:-1], frames.energy[1:])[0, 1] if "ethanol" in name else 0
    assert abs(lag) < 0.1  # shuffled


def test_generation_without_tblite_says_what_to_install(monkeypatch):
    import importlib.metadata

    from so3krates_lite.datasets.generate import generate

    def missing(name):
        raise importlib.metadata.PackageNotFoundError(name)

    monkeypatch.setattr(importlib.metadata, "version", missing)
    with pytest.raises(UserError, match=r"so3krates-lite\[generate\]"):
        generate("ethanol-gfn2")


def test_unknown_recipe_is_answered_with_the_known_ones():
    from so3krates_lite.datasets.generate import generate

    with pytest.raises(UserError, match="ethanol-gfn2, carbon-chains-gfn2"):
        generate("water-gfn2")


@pytest.mark.parametrize("name", DYNAMICS)
def test_labels_of_the_bundled_data_are_reproduced(tblite, name):
    from ase import Atoms

    from so3krates_lite.datasets.reference import label

    frames = load(name)
    for k in (0, 1, 2):
        real = frames.mask[k]
        atoms, charge = Atoms(frames.numbers[k, real]), int(frames.total_charge[k])
        energy, forces, _ = label(atoms, charge, [frames.positions[k, real]])
        assert energy[0] == pytest.approx(frames.energy[k], abs=1e-5)
        np.testing.assert_allclose(forces[0], frames.forces[k, real], atol=1e-3)


def test_same_seed_makes_the_same_frames(tblite, tmp_path, monkeypatch):
    from so3krates_lite.datasets import generate as module

    monkeypatch.setattr(module, "THERMALISATION", 5.0)
    monkeypatch.setattr(module, "_drift", lambda *arguments: "not measured")
    path = tmp_path / "x.npz"
    one = module.generate("ethanol-gfn2", path, n_frames=3, seed=1, progress=False)
    same = module.generate("ethanol-gfn2", n_frames=3, seed=1, progress=False)
    other = module.generate("ethanol-gfn2", n_frames=3, seed=2, progress=False)
    np.testing.assert_allclose(one.positions, same.positions, atol=1e-6)
    assert np.abs(one.positions - other.positions).max() > 1e-3
    np.testing.assert_allclose(load(path).energy, one.energy)
    assert len(np.unique(one.group)) == 3


def test_broken_and_new_bonds_are_noticed():
    pytest.importorskip("ase")
    from ase.build import molecule

    from so3krates_lite.datasets.reference import Topology

    atoms = molecule("CH3CH2OH")
    topology = Topology.of(atoms)
    assert topology.bonded.sum() // 2 == 8 and topology.intact(atoms.positions)
    hydroxyl = 3
    torn = atoms.positions.copy()
    torn[hydroxyl] += 0.6 * (torn[hydroxyl] - torn[2])
    assert not topology.intact(torn)
    joined = atoms.positions.copy()
    joined[8] = joined[6] + [0.0, 0.0, 0.7]
    assert not topology.intact(joined)
    assert topology.intact(atoms.positions + 3.0)
