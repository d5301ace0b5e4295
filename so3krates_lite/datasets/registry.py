"""The list of data sets: what each is, who made it, how, under which licence, and where it lives.

A card is what one must know before training on a data set or quoting a number from it. Cards hold
no data. Where a licence, a checksum or an address is not known, the card says so rather than guess.
Reference numbers are those of the So3krates paper (Frank, Unke, Müller, NeurIPS 2022).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

SO3KRATES_PAPER = (
    "Frank, Unke, Müller, So3krates: equivariant attention for interactions on arbitrary "
    "length-scales in molecular systems, NeurIPS 35 (2022)"
)


@dataclass(frozen=True)
class DataFile:
    """One file to download."""

    name: str
    urls: tuple[str, ...]  # tried in order
    checksum: str | None = None  # "sha256:...", "md5:..." or "gitblob:...", if published
    size: int | None = None  # bytes, if published
    part: str = "all"  # "train" or "test" where the authors divided the data, "both" in an archive


@dataclass(frozen=True)
class PaperNumber:
    """A result of the So3krates paper to stand beside ours."""

    quantity: str  # "force MAE", "energy RMSE", ...
    value: float
    unit: str
    setting: str
    source: str = SO3KRATES_PAPER


@dataclass(frozen=True)
class DatasetCard:
    """What is known about one data set; `energy_unit` and `length_unit` are those of its files."""

    name: str
    title: str
    citation: str
    licence: str
    level_of_theory: str
    energy_unit: str
    length_unit: str
    files: tuple[DataFile, ...] = ()
    local_names: tuple[str, ...] = ()  # file names looked for under SO3KRATES_DATA
    labels: str = "original"  # "revised" where one file carries two sets of labels
    # of either labels, where a set has both; goes before what a file says in a spelling of its own
    theories: Mapping[str, str] = field(default_factory=dict)
    doi: str = ""
    note: str = ""
    bundled: bool = False
    numbers: tuple[PaperNumber, ...] = ()

    @property
    def urls(self) -> tuple[str, ...]:
        """Every address of every file."""
        return tuple(url for file in self.files for url in file.urls)


# -- MD17 and its revisions -----------------------------------------------------------------------

_GDML = "http://www.quantum-machine.org/gdml/data/npz/"
_RMD17 = "https://raw.githubusercontent.com/andersx/rmd17-npz/4f6bb0a186822c90d47cd98b7a27991fe0b3173b/rmd17-npz/"

_MD17_THEORIES = {
    "original": "DFT, PBE + vdW-TS",
    "revised": "DFT, PBE/def2-SVP, very tight convergence",
}
_CHMIELA_2017 = (
    "Chmiela, Tkatchenko, Sauceda, Poltavsky, Schütt, Müller, Sci. Adv. 3, e1603015 (2017)"
)
_CHMIELA_2018 = "Chmiela, Sauceda, Müller, Tkatchenko, Nat. Commun. 9, 3887 (2018)"
_CHRISTENSEN = (
    "Christensen, von Lilienfeld, Mach. Learn.: Sci. Technol. 1, 045018 (2020), arXiv:2007.09593"
)

# molecule: file names of the original set (today's and former), name in the revised set, paper's
# force MAE in kcal/mol/Å with 1000 training frames
_MD17: dict[str, tuple[tuple[str, ...], str, float | None]] = {
    "aspirin": (("md17_aspirin.npz", "aspirin_dft.npz"), "aspirin", 0.236),
    "azobenzene": (("azobenzene_dft.npz",), "azobenzene", None),
    "benzene": (("md17_benzene2017.npz", "benzene2017_dft.npz"), "benzene", None),
    "ethanol": (("md17_ethanol.npz", "ethanol_dft.npz"), "ethanol", 0.096),
    "malonaldehyde": (("md17_malonaldehyde.npz", "malonaldehyde_dft.npz"), "malonaldehyde", 0.147),
    "naphthalene": (("md17_naphthalene.npz", "naphthalene_dft.npz"), "naphthalene", 0.074),
    "paracetamol": (("paracetamol_dft.npz",), "paracetamol", None),
    "salicylic_acid": (("md17_salicylic.npz", "salicylic_dft.npz"), "salicylic", 0.145),
    "toluene": (("md17_toluene.npz", "toluene_dft.npz"), "toluene", 0.073),
    "uracil": (("md17_uracil.npz", "uracil_dft.npz"), "uracil", 0.111),
}

# git's own hashes of the first split's files at the commit in _RMD17
_RMD17_BLOBS: dict[str, tuple[str, str]] = {
    "aspirin": (
        "b79d9c164ca0f545f1f2969b8f143d2585d49692",
        "096745a13fe607787b35eec0526db2918fdb5659",
    ),
    "azobenzene": (
        "0c56af396f15b76de5aadd75162f72e27344b93a",
        "b35ee63516d5b2324f5867ab5d893b2c4cc8aaa5",
    ),
    "benzene": (
        "c9128e863629dae509b3682b75709df9c16d1e04",
        "46ae7cf9e81218554683b960f46723eafb033b6c",
    ),
    "ethanol": (
        "aafb39266ebbda679fca238af07ab65e53ded8dc",
        "b329524f5f108a41b308703778ae4746925c5d48",
    ),
    "malonaldehyde": (
        "a4ad1b9334c8f7bb6653355ef842b1e86a6e2f2b",
        "85e717ec3856623045f9f6be180138f674d5073c",
    ),
    "naphthalene": (
        "0b4afc3fa4e47c86adbda09faf9dea77cd16f81c",
        "11a5f79915107d83bf9d29d6cf1f07cf3e09a60d",
    ),
    "paracetamol": (
        "1a2cba37bf29bffb73295c56b50dad3f979652fe",
        "f6bbc1519808fe9acb2f7e05c94afef93d546acd",
    ),
    "salicylic": (
        "7eb550dd04220bc4c65e22438730bef58c9ecb3c",
        "bf31a2a7b5290391d78a5072c2b998b095e2157d",
    ),
    "toluene": (
        "c8729d52dd47d3108b0d0f4fd83853cc98c61b11",
        "e79d94bee4afca9f9e20853bda364e4518c82087",
    ),
    "uracil": (
        "d2b2b11e6f8033061cb4b4dbed94abf4088b4e3e",
        "7c458850cdd340f4253f92132d63fe42f386d351",
    ),
}


def _md17_cards() -> list[DatasetCard]:
    cards = []
    for molecule, (names, revised, force_mae) in _MD17.items():
        title = molecule.replace("_", " ")
        numbers = (
            ()
            if force_mae is None
            else (PaperNumber("force MAE", force_mae, "kcal/mol/Å", "1000 training frames"),)
        )
        late = molecule in ("azobenzene", "paracetamol")
        shared = f"md17_{molecule}.npz"
        cards.append(
            DatasetCard(
                name=f"md17-{molecule}",
                title=f"MD17 {title}",
                citation=_CHMIELA_2018 if late else _CHMIELA_2017,
                licence="not stated",
                level_of_theory=_MD17_THEORIES["original"],
                theories=_MD17_THEORIES,
                energy_unit="kcal/mol",
                length_unit="Angstrom",
                files=(DataFile(names[0], tuple(_GDML + name for name in names)),),
                local_names=tuple(dict.fromkeys((shared, *names))),
                note="Random frames of one trajectory: test frames lie close to training frames.",
                numbers=numbers,
            )
        )
        train, test = _RMD17_BLOBS[revised]
        first, second = f"rmd17_{revised}_train_01.npz", f"rmd17_{revised}_test_01.npz"
        cards.append(
            DatasetCard(
                name=f"rmd17-{molecule}",
                title=f"Revised MD17 {title}",
                citation=_CHRISTENSEN,
                licence="CC0-1.0",
                level_of_theory=_MD17_THEORIES["revised"],
                theories=_MD17_THEORIES,
                energy_unit="kcal/mol",
                length_unit="Angstrom",
                files=(
                    DataFile(first, (_RMD17 + first,), f"gitblob:{train}", part="train"),
                    DataFile(second, (_RMD17 + second,), f"gitblob:{test}", part="test"),
                ),
                local_names=(f"rmd17_{revised}.npz", shared),
                labels="revised",
                note="First of five official splits, 1000 + 1000 frames; its authors warn against "
                "training on more than 1000 frames.",
            )
        )
    return cards


def _coupled_cluster_cards() -> list[DatasetCard]:
    cards = []
    for molecule in ("aspirin", "benzene", "ethanol", "malonaldehyde", "toluene"):
        method, tag = ("CCSD", "ccsd") if molecule == "aspirin" else ("CCSD(T)", "ccsd_t")
        basis = {"ethanol": "/cc-pVTZ", "benzene": " (basis not stated)"}.get(molecule, "/cc-pVDZ")
        archive = f"{molecule}_{tag}.zip"
        cards.append(
            DatasetCard(
                name=f"ccsd-{molecule}" if tag == "ccsd" else f"ccsdt-{molecule}",
                title=f"{molecule.capitalize()} at coupled-cluster level",
                citation=_CHMIELA_2018,
                licence="not stated",
                level_of_theory=method + basis,
                energy_unit="kcal/mol",
                length_unit="Angstrom",
                files=(DataFile(archive, (_GDML + archive,), part="both"),),
                local_names=(
                    archive,
                    f"{molecule}_{tag}-train.npz",
                    f"{molecule}_{tag.replace('_', '')}_train.npz",
                ),
                note="Divided by its authors into a training and a test file.",
            )
        )
    return cards


# -- sets with charges, and QM7-X -----------------------------------------------------------------

_KO = "Ko, Finkler, Goedecker, Behler, Nat. Commun. 12, 398 (2021)"
_KO_DOI = "10.24435/materialscloud:f3-yh"


def _ko_card(name: str, title: str, folder: str, **more: Any) -> DatasetCard:
    return DatasetCard(
        name=name,
        title=title,
        citation=_KO,
        licence="CC-BY-4.0",
        level_of_theory="DFT, PBE (FHI-aims)",
        energy_unit="Hartree",
        length_unit="bohr",
        doi=_KO_DOI,
        note=f"One archive behind the DOI holds all four sets: unpack it under SO3KRATES_DATA, "
        f"where {folder}/input.data is looked for.",
        **more,
    )


_QM7X_MD5 = {
    "1000": "b50c6a5d0a4493c274368cf22285503e",
    "2000": "4418a813daf5e0d44aa5a26544249ee6",
    "3000": "f7b5aac39a745f11436047c12d1eb24e",
    "4000": "26819601705ef8c14080fa7fc69decd4",
    "5000": "85ac444596b87812aaa9e48d203d0b70",
    "6000": "787fc4a9036af0e67c034a30ad854c07",
    "7000": "5ecce00a188410d06b747cb683d8d347",
    "8000": "c893ae88b8f5c32541c3f024fc1daa45",
}


def _bundled_card(name: str, title: str, note: str, more: str = "") -> DatasetCard:
    return DatasetCard(
        name=name,
        title=title,
        citation="Made by so3krates-lite; method: Bannwarth, Ehlert, Grimme, "
        "J. Chem. Theory Comput. 15, 1652 (2019)",
        licence="CC0-1.0",
        level_of_theory=f"GFN2-xTB (tblite){more}",
        energy_unit="eV",
        length_unit="Angstrom",
        local_names=(f"{name.replace('-', '_')}.npz",),
        bundled=True,
        note=note,
    )


def _other_cards() -> list[DatasetCard]:
    setting = "set of Ko et al."
    return [
        _ko_card(
            "carbon-chains",
            "Carbon chains C10H2 and C10H3+",
            "Carbon_chain",
            local_names=("Carbon_chain/input.data", "carbon_chain_c10h2_c10h3plus.npz"),
            numbers=(PaperNumber("energy RMSE", 0.113, "meV/atom", setting),),
        ),
        _ko_card(
            "nacl-clusters",
            "Na8Cl8+ and Na9Cl8+ clusters",
            "NaCl",
            local_names=("NaCl/input.data",),
            numbers=(PaperNumber("energy RMSE", 0.455, "meV/atom", setting),),
        ),
        _ko_card(
            "ag3-clusters",
            "Ag3+ and Ag3- clusters",
            "Ag_cluster",
            local_names=("Ag_cluster/input.data", "Ag_clusters/input.data"),
        ),
        _ko_card(
            "au2-mgo",
            "Au2 on MgO(001), doped and undoped (periodic)",
            "AuMgO",
            local_names=("AuMgO/input.data", "Au_MgO/input.data"),
        ),
        DatasetCard(
            name="ag3-charge-states",
            title="Ag3 in charge states -1 and +1 on the same geometries",
            citation="Unke, Chmiela, Gastegger, Schütt, Sauceda, Müller, "
            "Nat. Commun. 12, 7273 (2021)",
            licence="not stated",
            level_of_theory="not stated",
            energy_unit="eV",
            length_unit="Angstrom",
            local_names=("ag3_charge_states.npz",),
            doi="10.1038/s41467-021-27504-0",
            note="Most geometries carry both charges and share a group: split with group_split.",
        ),
        DatasetCard(
            name="qm7x",
            title="QM7-X: equilibrium and displaced structures of small organic molecules",
            citation="Hoja, Medrano Sandonas, Ernst, Vazquez-Mayagoitia, DiStasio, Tkatchenko, "
            "Sci. Data 8, 43 (2021)",
            licence="not stated",
            level_of_theory="DFT, PBE0 + MBD",
            energy_unit="eV",
            length_unit="Angstrom",
            files=tuple(
                DataFile(
                    f"{k}.xz", (f"https://zenodo.org/record/4288677/files/{k}.xz",), f"md5:{md5}"
                )
                for k, md5 in _QM7X_MD5.items()
            ),
            local_names=("qm7x_small.npz",),
            doi="10.5281/zenodo.4288677",
            note="Whole set 4.2 million structures; reading it needs h5py. qm7x_small.npz is a "
            "sample of 2500.",
            numbers=(
                PaperNumber("energy MAE", 15.228, "meV", "known molecules, unknown conformations"),
            ),
        ),
        _bundled_card(
            "ethanol-gfn2",
            "Ethanol, 500 K dynamics, 2000 frames",
            "Not MD17: another level of theory and other frames.",
        ),
        _bundled_card(
            "carbon-chains-gfn2",
            "Carbon chains C10H2 and C10H3+, 500 K dynamics, 1000 + 1000 frames",
            "Not the set of Ko et al.: the same molecules, another level of theory.",
        ),
        _bundled_card(
            "cumulenes-gfn2",
            "Cumulenes C3H4 to C15H4 at all angles between their ends, 200 + 25 frames each",
            "so3krates_lite.datasets.cumulenes tells training frames from the scan.",
            ", electronic temperature 1000 K",
        ),
    ]


REGISTRY: dict[str, DatasetCard] = {
    card.name: card for card in (*_other_cards(), *_md17_cards(), *_coupled_cluster_cards())
}
