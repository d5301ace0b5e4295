import bz2
import gzip
import lzma
import os
import zipfile
from pathlib import Path

import numpy as np
import pytest

from so3krates_lite.datasets import REGISTRY, load, locate, save_frames, write_frames
from so3krates_lite.datasets.loaders import read_file
from so3krates_lite.errors import UserError
from so3krates_lite.structures.frames import Frames, frame_fields
from so3krates_lite.units import BOHR, HARTREE, KCAL_PER_MOL


@pytest.fixture(autouse=True)
def no_outside_data(monkeypatch, tmp_path):
    monkeypatch.delenv("SO3KRATES_DATA", raising=False)
    monkeypatch.setenv("SO3KRATES_CACHE", str(tmp_path / "cache"))


@pytest.fixture(scope="module")
def ethanol():
    return load("ethanol-gfn2")


def md17_arrays(frames):
    return {
        "z": frames.numbers[0],
        "R": frames.positions,
        "E": frames.energy / KCAL_PER_MOL,
        "F": frames.forces / KCAL_PER_MOL,
    }


def rmd17_arrays(frames, offset=0.0):
    old = md17_arrays(frames)
    return {
        "nuclear_charges": old["z"],
        "coords": old["R"],
        "energies": old["E"],
        "forces": old["F"],
        "old_energies": old["E"] + offset,
        "old_forces": old["F"],
    }


def assert_close(a, b, fields=("positions", "energy", "forces")):
    np.testing.assert_array_equal(a.numbers, b.numbers)
    for name in fields:
        np.testing.assert_allclose(getattr(a, name), getattr(b, name), rtol=1e-12, atol=1e-12)


# -- npz ------------------------------------------------------------------------------------------


def test_original_md17_form_is_converted_from_kcal_per_mol(tmp_path, ethanol):
    few = ethanol[:20]
    remark = np.array([{"a": 1}], dtype=object)  # real files carry pickled remarks: never opened
    np.savez(tmp_path / "x.npz", **md17_arrays(few), name=remark)
    assert_close(load(tmp_path / "x.npz"), few)


def test_columns_of_energies_are_flattened(tmp_path, ethanol):
    arrays = md17_arrays(ethanol[:20])
    arrays["E"] = arrays["E"][:, None]
    np.savez(tmp_path / "x.npz", **arrays)
    assert_close(load(tmp_path / "x.npz"), ethanol[:20])


def test_revised_md17_form_carries_both_labels(tmp_path, ethanol):
    few = ethanol[:20]
    np.savez(tmp_path / "x.npz", **rmd17_arrays(few, offset=1.0))
    assert_close(load(tmp_path / "x.npz", labels="revised"), few)
    original = load(tmp_path / "x.npz", labels="original")
    np.testing.assert_allclose(original.energy - few.energy, KCAL_PER_MOL)


def test_units_stated_in_the_file_are_obeyed(tmp_path, ethanol):
    few = ethanol[:20]
    arrays = md17_arrays(few)
    arrays |= {"R": few.positions / BOHR, "E": few.energy / HARTREE}
    arrays |= {"F": few.forces / HARTREE * BOHR}
    units = {"R_unit": "bohr", "E_unit": "Hartree", "F_unit": "Hartree/bohr"}
    np.savez(tmp_path / "x.npz", **arrays, **units)
    assert_close(load(tmp_path / "x.npz"), few)


def test_units_can_be_stated_by_hand(tmp_path, ethanol):
    few = ethanol[:20]
    arrays = {"z": few.numbers[0], "R": few.positions, "E": few.energy, "F": few.forces}
    np.savez(tmp_path / "x.npz", **arrays)
    assert_close(load(tmp_path / "x.npz", energy_unit="eV"), few)
    with pytest.raises(UserError, match="'furlong' is not known"):
        load(tmp_path / "x.npz", length_unit="furlong")


def test_authors_division_is_kept(tmp_path, ethanol):
    few = ethanol[:20]
    split = np.repeat([0, 1], 10)
    np.savez(tmp_path / "x.npz", **md17_arrays(few), split=split)
    assert_close(load(tmp_path / "x.npz", part="train"), few[:10])
    assert_close(load(tmp_path / "x.npz", part="test"), few[10:])
    assert len(load(tmp_path / "x.npz")) == 20


def test_padding_charges_and_spin_are_read(tmp_path):
    chains = load("carbon-chains-gfn2")[:40]
    arrays = md17_arrays(chains) | {"z": chains.numbers, "Q": chains.total_charge.astype("i1")}
    arrays |= {"q": chains.partial_charges, "S": np.zeros(40, "i1")}
    np.savez(tmp_path / "x.npz", **arrays)
    back = load(tmp_path / "x.npz")
    assert_close(back, chains, ("positions", "energy", "forces", "partial_charges"))
    np.testing.assert_array_equal(back.total_charge, chains.total_charge)
    assert back.spin_multiplicity.tolist() == [1] * 40


def test_same_geometry_in_two_charge_states_shares_a_group(tmp_path, ethanol):
    few = ethanol[:10]
    twice = {k: np.concatenate([v, v]) if k != "z" else v for k, v in md17_arrays(few).items()}
    np.savez(tmp_path / "x.npz", **twice, Q=np.repeat([0, 1], 10))
    group = load(tmp_path / "x.npz").group
    np.testing.assert_array_equal(group[:10], group[10:])
    assert len(np.unique(group)) == 10


@pytest.mark.parametrize("compact", [True, False])
def test_own_form_survives_saving(tmp_path, ethanol, compact):
    few = ethanol[:20].replace(
        cell=np.tile(20 * np.eye(3), (20, 1, 1)), stress=np.ones((20, 3, 3)), group=None
    )
    path = save_frames(few, tmp_path / "sub" / "x.npz", compact=compact)
    back = read_file(path)
    assert dict(back.info) == dict(few.info)
    for name in frame_fields():
        if getattr(few, name) is not None:
            np.testing.assert_array_equal(getattr(back, name), getattr(few, name))
    assert [p.name for p in path.parent.iterdir()] == ["x.npz"]


@pytest.mark.parametrize("name", ["x.npz", "sub/x.extxyz", "x.db"])
def test_frames_are_written_by_the_ending(tmp_path, ethanol, name):
    few = ethanol[:12]
    back = load(write_frames(few, tmp_path / name))
    np.testing.assert_allclose(back.forces, few.forces, atol=1e-7)
    np.testing.assert_array_equal(back.total_charge, few.total_charge)
    write_frames(few[:2], tmp_path / name)  # replaced, not appended to
    assert len(load(tmp_path / name)) == 2


def test_unknown_ending_is_refused_and_leaves_nothing(tmp_path, ethanol):
    with pytest.raises(UserError, match="could not be written"):
        write_frames(ethanol[:2], tmp_path / "x.nonsense")
    assert list(tmp_path.iterdir()) == []


def test_newer_own_form_says_so(tmp_path, ethanol):
    path = save_frames(ethanol[:2], tmp_path / "x.npz")
    with np.load(path) as archive:
        arrays = {k: archive[k] for k in archive.files}
    np.savez(path, **(arrays | {"format_version": np.array(2)}))
    with pytest.raises(UserError, match=r"written by a newer version.*format 2"):
        load(path)


# -- n2p2 -----------------------------------------------------------------------------------------

N2P2 = """begin
comment two atoms in a cell
lattice 20.0 0.0 0.0
lattice 0.0 20.0 0.0
lattice 0.0 0.0 20.0
atom 0.0 0.0 0.0 Na 0.9 0.0 0.1 0.0 -0.2
atom 0.0 0.0 4.5 Cl -0.9 0.0 -0.1 0.0 0.2
energy -622.5
charge 0.0
end
begin
atom 0.0 0.0 0.0 Na 1.0 0.0 0.0 0.0 0.0
energy -162.0
charge 1.0
end
"""


def test_n2p2_file_is_converted_from_bohr_and_hartree(tmp_path):
    (tmp_path / "input.data").write_text(N2P2)
    frames = load(tmp_path / "input.data")
    assert frames.n_atoms.tolist() == [2, 1]
    assert frames.numbers.tolist() == [[11, 17], [11, 0]]
    assert frames.positions[0, 1, 2] == pytest.approx(4.5 * BOHR)
    np.testing.assert_allclose(frames.energy, [-622.5 * HARTREE, -162.0 * HARTREE])
    np.testing.assert_allclose(frames.forces[0, 0], np.array([0.1, 0, -0.2]) * HARTREE / BOHR)
    np.testing.assert_allclose(frames.cell[0], 20 * BOHR * np.eye(3))
    assert frames.pbc.tolist() == [[True] * 3, [False] * 3]
    assert frames.total_charge.tolist() == [0.0, 1.0]
    assert frames.partial_charges.tolist() == [[0.9, -0.9], [1.0, 0.0]]


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("Cl", "Qq", "line 7: 'Qq' is no element"),
        ("lattice 20.0 0.0 0.0\n", "", "2 lattice lines"),
        ("0.0 0.2\n", "0.0\n", "needs nine entries"),
        ("charge 0.0\nend\n", "", "begin without the end"),
        ("energy -622.5", "energy lots", "line 8"),
        ("comment", "remark", "unknown key word 'remark'"),
    ],
)
def test_damaged_n2p2_line_is_named(tmp_path, old, new, message):
    (tmp_path / "input.data").write_text(N2P2.replace(old, new, 1))
    with pytest.raises(UserError, match=message):
        load(tmp_path / "input.data")


def test_n2p2_structure_without_an_energy_is_said(tmp_path, caplog):
    (tmp_path / "input.data").write_text(N2P2.replace("energy -162.0\n", ""))
    frames = load(tmp_path / "input.data")
    assert frames.energy is None and frames.forces is not None
    assert frames.lacking("energy") == " (1 of 2 structures have none: 1)"
    assert "input.data: no energy: 1 of 2 structures have none: 1" in caplog.text


def test_n2p2_file_cut_short_is_noticed(tmp_path):
    (tmp_path / "input.data").write_text(N2P2[:-4])
    with pytest.raises(UserError, match="cut short"):
        load(tmp_path / "input.data")


# -- ASE, QM7-X, archives -------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["x.extxyz", "x.xyz", "x.db", "x.traj"])
def test_files_that_ase_reads_keep_energy_and_forces(tmp_path, ethanol, name):
    from ase.io import write

    few = ethanol[:12]
    write(tmp_path / name, few.replace(partial_charges=None).to_atoms())
    back = load(tmp_path / name)
    for field in ("positions", "energy", "forces"):
        tolerance = 1e-7 if "xyz" in name else 1e-12  # eight decimals in text
        np.testing.assert_allclose(getattr(back, field), getattr(few, field), atol=tolerance)


def test_total_charge_of_an_extxyz_file_is_kept(tmp_path):
    from ase.io import write

    chains = load("carbon-chains-gfn2")[:30]
    write(tmp_path / "x.extxyz", chains.to_atoms())
    np.testing.assert_array_equal(load(tmp_path / "x.extxyz").total_charge, chains.total_charge)


def test_qm7x_needs_h5py_and_says_so(tmp_path, monkeypatch):
    import sys

    monkeypatch.setitem(sys.modules, "h5py", None)
    (tmp_path / "1000.hdf5").write_bytes(b"\x89HDF\r\n\x1a\n" + bytes(100))
    with pytest.raises(UserError, match="pip install h5py"):
        load(tmp_path / "1000.hdf5")


@pytest.fixture
def qm7x(tmp_path, ethanol):
    """Two molecules of three conformers as QM7-X has them, plain and packed."""
    h5py = pytest.importorskip("h5py", reason="h5py, an optional reader, is not installed")
    with h5py.File(tmp_path / "1000.hdf5", "w") as file:
        for k in range(6):
            entry = file.create_group(f"{k // 3 + 1}/Geom-m{k // 3 + 1}-i1-c1-d{k}")
            entry["atNUM"], entry["atXYZ"] = ethanol.numbers[k], ethanol.positions[k]
            entry["ePBE0+MBD"], entry["totFOR"] = [ethanol.energy[k]], ethanol.forces[k]
            entry["ePBE0"], entry["pbe0FOR"] = [ethanol.energy[k] + 1.0], 2 * ethanol.forces[k]
        methane = file.create_group("9/Geom-m9-i1-c1-opt")
        methane["atNUM"], methane["atXYZ"] = [6, 1, 1, 1, 1], METHANE
        for name, value in (("ePBE0+MBD", [-1100.0]), ("totFOR", np.zeros((5, 3)))):
            methane[name] = value
    packed = lzma.compress((tmp_path / "1000.hdf5").read_bytes())
    (tmp_path / "1000.xz").write_bytes(packed)
    return tmp_path


METHANE = 0.63 * np.array([[0, 0, 0], [1, 1, 1], [1, -1, -1], [-1, 1, -1], [-1, -1, 1]])


@pytest.mark.parametrize("name", ["1000.hdf5", "1000.xz"])
def test_qm7x_groups_conformers_by_molecule(qm7x, ethanol, name):
    frames = load(qm7x / name)
    assert_close(frames[:6], ethanol[:6])
    assert frames.group.tolist() == [1, 1, 1, 2, 2, 2, 9]
    assert frames.n_atoms.tolist() == [9] * 6 + [5] and frames.energy[6] == -1100.0
    assert len(load(qm7x / name, limit=4)) == 4
    assert_close(load(f"{qm7x / name}@-2"), frames[5:6])


def test_qm7x_holds_other_levels_of_theory(qm7x, ethanol):
    keys = {"energy_key": "ePBE0", "forces_key": "pbe0FOR"}
    frames = load(qm7x / "1000.hdf5", limit=6, check=False, **keys)
    np.testing.assert_allclose(frames.energy, ethanol.energy[:6] + 1.0)
    np.testing.assert_allclose(frames.forces, 2 * ethanol.forces[:6])
    with pytest.raises(UserError, match="not a readable QM7-X file"):
        load(qm7x / "1000.hdf5", energy_key="other")


# -- packed files, and an index behind the name ---------------------------------------------------


@pytest.mark.parametrize(("ending", "module"), [("xz", lzma), ("gz", gzip), ("bz2", bz2)])
@pytest.mark.parametrize("name", ["x.extxyz", "x.npz", "x.db", "input.data", "x"])
def test_packed_files_are_what_is_inside(tmp_path, ethanol, ending, module, name):
    plain = tmp_path / name
    if name == "input.data":
        plain.write_text(N2P2)
    elif name == "x":  # no ending at all says what it is
        write_frames(ethanol[:5], tmp_path / "y.extxyz").rename(plain)
    else:
        write_frames(ethanol[:5], plain)
    expected = load(plain)
    packed = tmp_path / f"{name}.{ending}"
    packed.write_bytes(module.compress(plain.read_bytes()))
    assert_close(load(packed), expected)
    assert load(packed).info["source"] == packed.name
    packed.write_bytes(packed.read_bytes()[:-20])
    with pytest.raises(UserError, match="damaged") as caught:
        load(packed)
    assert str(packed) in str(caught.value)


@pytest.mark.parametrize("name", ["x.extxyz", "x.npz", "x.db", "x.extxyz.xz"])
@pytest.mark.parametrize("index", ["0:3", "-1", "::5", ":", "2", "-4:-2", "8::-1"])
def test_an_index_behind_the_name_is_that_of_ase(tmp_path, ethanol, name, index):
    path = write_frames(ethanol[:12], tmp_path / name.removesuffix(".xz"))
    if name.endswith(".xz"):
        (tmp_path / name).write_bytes(lzma.compress(path.read_bytes()))
    from ase.io import read

    expected = read(write_frames(ethanol[:12], tmp_path / "y.traj"), index=index)
    expected = expected if isinstance(expected, list) else [expected]
    frames = load(f"{tmp_path / name}@{index}")
    for found, image in zip(frames.to_atoms(), expected, strict=True):
        np.testing.assert_allclose(found.positions, image.positions, atol=1e-6)
    assert frames.info["source"] == f"{name}@{index}"


def test_an_index_counts_through_a_whole_set(ethanol):
    assert_close(load("ethanol-gfn2@5:50:5", limit=4), ethanol[5:25:5])


def test_an_index_of_nothing_is_refused(tmp_path, ethanol):
    path = write_frames(ethanol[:3], tmp_path / "x.extxyz")
    for index in ("3", "-4", "5:9"):
        with pytest.raises(UserError, match="holds 3 structures, but none of those asked for"):
            load(f"{path}@{index}")
    with pytest.raises(UserError, match="@first is no choice of structures"):
        load(f"{path}@first")
    with pytest.raises(UserError, match=r"no file nowhere\.xyz"):
        load("nowhere.xyz@0:3")


def test_rows_of_a_data_base_are_chosen_as_in_ase(tmp_path, ethanol):
    path = write_frames(load("carbon-chains-gfn2")[:20], tmp_path / "x.db")
    frames = load(f"{path}@natoms=13,total_charge=1")
    assert 0 < len(frames) < 20 and set(frames.total_charge) == {1.0}


def test_a_name_with_an_at_opens(tmp_path, ethanol):
    for name in ("a@1.extxyz", "b@0:2", "c@x.npz"):
        path = tmp_path / name
        form = ".npz" if name.endswith(".npz") else ".extxyz"
        write_frames(ethanol[:4], tmp_path / f"plain{form}").rename(path)
        assert len(load(path)) == 4
        assert_close(load(f"{path}@1:3"), load(path)[1:3])


def test_coupled_cluster_archive_holds_two_parts(tmp_path, ethanol):
    with zipfile.ZipFile(tmp_path / "x.zip", "w") as archive:
        for part, frames in (("train", ethanol[:10]), ("test", ethanol[10:14])):
            with archive.open(f"ethanol_ccsd_t-{part}.npz", "w") as stream:
                np.savez(stream, **md17_arrays(frames))
    assert_close(load(tmp_path / "x.zip"), ethanol[:14])
    assert_close(load(tmp_path / "x.zip", part="test"), ethanol[10:14])


# -- names and places -----------------------------------------------------------------------------


def test_data_folder_is_searched_before_the_cache(tmp_path, monkeypatch, ethanol):
    for place, n in (("cache/md17-ethanol", 3), ("mine", 5)):
        (tmp_path / place).mkdir(parents=True)
        np.savez(tmp_path / place / "md17_ethanol.npz", **md17_arrays(ethanol[:n]))
    assert len(load("md17-ethanol")) == 3
    monkeypatch.setenv("SO3KRATES_DATA", str(tmp_path / "mine"))
    frames = load("md17-ethanol")
    assert len(frames) == 5
    assert frames.info["name"] == "md17-ethanol" and "Chmiela" in frames.info["citation"]


def test_revised_set_is_joined_from_its_two_files(tmp_path, ethanol):
    folder = tmp_path / "cache" / "rmd17-ethanol"
    folder.mkdir(parents=True)
    for part, frames in (("train", ethanol[:10]), ("test", ethanol[10:14])):
        np.savez(folder / f"rmd17_ethanol_{part}_01.npz", **rmd17_arrays(frames, 5.0))
    revised, original = load("rmd17-ethanol"), load("rmd17-ethanol", labels="original")
    assert_close(revised, ethanol[:14])
    assert revised.info["level_of_theory"] == "DFT, PBE/def2-SVP, very tight convergence"
    assert original.info["level_of_theory"] == "DFT, PBE + vdW-TS"
    assert_close(load("rmd17-ethanol", part="test"), ethanol[10:14])


def test_missing_data_says_how_to_get_it():
    with pytest.raises(UserError, match="data fetch md17-aspirin"):
        load("md17-aspirin")
    with pytest.raises(UserError, match=r"doi\.org/10\.24435"):
        load("nacl-clusters")


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("md17-etanol", "did you mean md17-ethanol"),
        ("nonsense", "data list"),
        ("nowhere/x.npz", "no file nowhere/x.npz"),
    ],
)
def test_unknown_name_is_answered_with_a_hint(name, message):
    with pytest.raises(UserError, match=message):
        load(name)


def test_bad_arguments_are_refused(tmp_path, monkeypatch):
    with pytest.raises(UserError, match="part is 'valid'"):
        load("ethanol-gfn2", part="valid")
    with pytest.raises(UserError, match="labels is"):
        load("ethanol-gfn2", labels="new")
    with pytest.raises(UserError, match="not divided"):
        load("ethanol-gfn2", part="train")
    with pytest.raises(UserError, match="is a folder"):
        load(tmp_path)
    monkeypatch.setenv("SO3KRATES_DATA", str(tmp_path / "none"))
    with pytest.raises(UserError, match="SO3KRATES_DATA names"):
        load("md17-ethanol")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is empty"),
        (b"PK\x03\x04 no archive", "is damaged"),
        (b"neither this nor that\n", "could not be read"),
    ],
)
def test_unreadable_file_is_named(tmp_path, content, message):
    (tmp_path / "x.dat").write_bytes(content)
    with pytest.raises(UserError, match=message) as caught:
        load(tmp_path / "x.dat")
    assert "x.dat" in str(caught.value) and "\n" not in str(caught.value)


def test_truncated_npz_is_named(tmp_path, ethanol):
    np.savez(tmp_path / "x.npz", **md17_arrays(ethanol[:20]))
    whole = (tmp_path / "x.npz").read_bytes()
    (tmp_path / "x.npz").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(UserError, match="damaged"):
        load(tmp_path / "x.npz")


def test_missing_arrays_are_named(tmp_path, ethanol):
    arrays = md17_arrays(ethanol[:3])
    np.savez(tmp_path / "x.npz", R=arrays["R"])
    with pytest.raises(UserError, match="lacks z or nuclear_charges"):
        load(tmp_path / "x.npz")
    np.savez(tmp_path / "x.npz", z=arrays["z"], R=arrays["R"])
    assert load(tmp_path / "x.npz").forces is None
    with pytest.raises(UserError, match="no revised labels"):
        np.savez(tmp_path / "x.npz", **md17_arrays(ethanol[:3]))
        load(tmp_path / "x.npz", labels="revised")


def test_every_card_is_complete():
    for name, card in REGISTRY.items():
        assert card.name == name
        assert all((card.title, card.citation, card.licence, card.level_of_theory))
        assert card.files or card.local_names or card.doi
        for file in card.files:
            assert file.urls and file.part in ("all", "train", "test", "both")


# -- real data, where they are at hand ------------------------------------------------------------

REAL = os.environ.get("SO3KRATES_DATA")


@pytest.mark.skipif(not REAL, reason="SO3KRATES_DATA names no folder with reference data")
@pytest.mark.parametrize("name", REGISTRY)
def test_real_data_pass_every_check(name, monkeypatch):
    monkeypatch.setenv("SO3KRATES_DATA", str(Path(REAL).resolve()))
    if not locate(name):
        pytest.skip(f"{name} is not under SO3KRATES_DATA")
    frames = load(name)
    assert isinstance(frames, Frames) and len(frames) > 0
    assert frames.energy is not None and frames.forces is not None
