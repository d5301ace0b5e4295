"""Cards of data sets against tables written by hand: numbers that users read and quote."""

from __future__ import annotations

import itertools

import pytest

from so3krates_lite.datasets.registry import REGISTRY, SO3KRATES_PAPER
from so3krates_lite.experiments import charge_transfer
from so3krates_lite.experiments.md17 import PEERS, PUBLISHED, PUBLISHED_TRANSFER

# Frank, Unke, Müller 2022: force MAE in kcal/mol/Å, 1000 training frames
MD17 = {
    "aspirin": 0.236,
    "ethanol": 0.096,
    "malonaldehyde": 0.147,
    "naphthalene": 0.074,
    "salicylic_acid": 0.145,
    "toluene": 0.073,
    "uracil": 0.111,
}
PAPER = {
    **{f"md17-{name}": ("force MAE", value, "kcal/mol/Å") for name, value in MD17.items()},
    "carbon-chains": ("energy RMSE", 0.113, "meV/atom"),
    "nacl-clusters": ("energy RMSE", 0.455, "meV/atom"),
    "qm7x": ("energy MAE", 15.228, "meV"),
}
# GeomAtt's paper: energy and force MAE in kcal/mol and kcal/mol/Å
GEOMATT = {
    "aspirin": (0.89, 2.03),
    "benzene": (0.18, 0.41),
    "ethanol": (0.25, 0.98),
    "malonaldehyde": (0.32, 1.31),
    "naphthalene": (0.32, 0.81),
    "salicylic_acid": (0.35, 1.17),
    "toluene": (0.24, 0.80),
    "uracil": (0.27, 0.99),
}
GEOMATT_TRANSFER = {
    ("aspirin", "benzene"): (0.38, 1.45),
    ("aspirin", "toluene"): (0.80, 2.36),
    ("benzene", "naphthalene"): (1.16, 3.97),
    ("toluene", "benzene"): (0.21, 0.83),
}
# energy RMSE in meV/atom, force RMSE in meV/Å
CHARGE_TRANSFER = {
    ("carbon-chains", "2G-HDNNP"): (1.619, 129.5),
    ("carbon-chains", "3G-HDNNP"): (2.045, 231.0),
    ("carbon-chains", "4G-HDNNP"): (1.194, 78.00),
    ("carbon-chains", "SpookyNet"): (0.364, 5.802),
    ("carbon-chains", "So3krates"): (0.113, None),
    ("nacl-clusters", "2G-HDNNP"): (1.692, 57.39),
    ("nacl-clusters", "3G-HDNNP"): (2.042, 76.67),
    ("nacl-clusters", "4G-HDNNP"): (0.481, 32.78),
    ("nacl-clusters", "SpookyNet"): (0.135, 1.052),
    ("nacl-clusters", "So3krates"): (0.455, None),
}
# what the files are in, by the first word of the name; all others in eV and Å
UNITS = {
    "md17": ("kcal/mol", "Angstrom"),
    "rmd17": ("kcal/mol", "Angstrom"),
    "ccsd": ("kcal/mol", "Angstrom"),
    "ccsdt": ("kcal/mol", "Angstrom"),
    "nacl": ("Hartree", "bohr"),
    "au2": ("Hartree", "bohr"),
    "carbon-chains": ("Hartree", "bohr"),
    "ag3-clusters": ("Hartree", "bohr"),
}
THEORY = {
    "md17-ethanol": "DFT, PBE + vdW-TS",
    "rmd17-ethanol": "DFT, PBE/def2-SVP, very tight convergence",
    "ccsd-aspirin": "CCSD/cc-pVDZ",
    "ccsdt-ethanol": "CCSD(T)/cc-pVTZ",
    "ccsdt-benzene": "CCSD(T) (basis not stated)",
    "ccsdt-toluene": "CCSD(T)/cc-pVDZ",
    "carbon-chains": "DFT, PBE (FHI-aims)",
    "carbon-chains-gfn2": "GFN2-xTB (tblite)",
    "qm7x": "DFT, PBE0 + MBD",
}


def test_the_paper_s_numbers_are_the_paper_s():
    found = {
        name: (number.quantity, number.value, number.unit)
        for name, card in REGISTRY.items()
        for number in card.numbers
    }
    assert found == PAPER
    every = [number for card in REGISTRY.values() for number in card.numbers]
    assert len(every) == len(PAPER)
    assert all(number.source == SO3KRATES_PAPER and number.setting for number in every)


def test_other_published_numbers_are_those_published():
    assert (PUBLISHED["geomatt"], PUBLISHED_TRANSFER) == (GEOMATT, GEOMATT_TRANSFER)
    assert {name: force for name, (_, force) in PUBLISHED["so3krates"].items()} == MD17
    energies = [energy for energy, _ in PUBLISHED["so3krates"].values()]
    assert energies == [0.139, 0.052, 0.077, 0.115, 0.106, 0.095, 0.103]
    assert list(PEERS["NequIP"].values()) == [0.184, 0.071, 0.129, 0.039, 0.090, 0.046, 0.076]
    assert list(PEERS["PaiNN"].values()) == [0.371, 0.230, 0.319, 0.083, 0.209, 0.102, 0.140]
    assert all(list(errors) == list(MD17) for errors in PEERS.values())
    published = charge_transfer.PUBLISHED
    assert {
        (name, model): errors
        for name, models in published.items()
        for model, errors in models.items()
    } == CHARGE_TRANSFER


@pytest.mark.parametrize("name", REGISTRY)
def test_units_are_those_of_the_files(name):
    card = REGISTRY[name]
    known = UNITS.get(name) or UNITS.get(name.split("-")[0], ("eV", "Angstrom"))
    assert (card.energy_unit, card.length_unit) == known
    assert card.name == name
    assert card.labels == ("revised" if name.startswith("rmd17-") else "original")
    assert card.level_of_theory == THEORY.get(name, card.level_of_theory)


def test_every_molecule_has_its_cards():
    late = {"azobenzene", "paracetamol"}
    molecules = {*MD17, "benzene", *late}
    coupled = {"benzene", "ethanol", "malonaldehyde", "toluene"}
    for kind, known in {"md17": molecules, "rmd17": molecules, "ccsdt": coupled}.items():
        assert {n.partition("-")[2] for n in REGISTRY if n.startswith(f"{kind}-")} == known
    assert "ccsd-aspirin" in REGISTRY
    for molecule in molecules:  # the two of 2018 were not in the set of 2017
        where = "Nat. Commun. 9, 3887 (2018)" if molecule in late else "Sci. Adv. 3, e1603015"
        assert where in REGISTRY[f"md17-{molecule}"].citation


def test_files_are_those_of_the_molecule():
    """No file and no checksum serves two molecules; a file's name is in its address."""
    for name, card in REGISTRY.items():
        kind, _, molecule = name.partition("-")
        assert card.urls == tuple(url for file in card.files for url in file.urls)
        for file in card.files:
            assert all(url.startswith("http") for url in file.urls), name
            assert any(url.endswith(f"/{file.name}") for url in file.urls), name
            if kind in ("md17", "rmd17", "ccsd", "ccsdt"):
                first = molecule.split("_")[0]
                assert all(first in url.rsplit("/", 1)[1] for url in file.urls), name
    files = {file for card in REGISTRY.values() for file in card.files}
    assert len(files) == sum(len(card.files) for card in REGISTRY.values())
    sums = [file.checksum for file in files if file.checksum]
    assert len(sums) == len(set(sums)) == 28
    revised = [card for name, card in REGISTRY.items() if name.startswith("rmd17-")]
    for card, part in itertools.product(revised, ("train", "test")):
        (file,) = (file for file in card.files if file.part == part)
        assert f"_{part}_01.npz" in file.name and file.checksum.startswith("gitblob:")
    mine = {name for name, card in REGISTRY.items() if card.bundled}
    assert mine == {"ethanol-gfn2", "carbon-chains-gfn2", "cumulenes-gfn2"}
