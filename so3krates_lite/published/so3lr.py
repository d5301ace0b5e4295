"""SO3LR: the published force field for molecules of H C N O F P S Cl, as one of our potentials.

The weights are not part of this package. They come, once, from where they are published: the wheel
of so3krates-torch through pip, which checks its hash, or the authors' repository. Both hold the
same numbers; either file is read without running anything in it (`inert`).
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
from flax.traverse_util import flatten_dict, unflatten_dict

from so3krates_lite.config import So3kratesConfig
from so3krates_lite.datasets.bundled import kept_model
from so3krates_lite.datasets.download import download
from so3krates_lite.embedding import N_ELEMENTS
from so3krates_lite.errors import UserError
from so3krates_lite.physics.dispersion import FREE_ATOMS
from so3krates_lite.potential import Potential
from so3krates_lite.published.inert import read_numpy, read_torch

NAME = "so3lr"
_WHEEL = (
    "so3krates-torch==0.2.1 "
    "--hash=sha256:1e3aea516997290462a280a64486ce022472dbe1edbdab81f8446587a61899d2"
)
_IN_WHEEL = "so3krates_torch/pretrained/so3lr/so3lr.model"
_REPOSITORY = (
    "https://raw.githubusercontent.com/general-molecular-simulations/so3lr/"
    "5ec39b9d8d83872107cd3f1bc5904387eb9ff4c8/so3lr/params/params.pkl"
)
_CHECKSUM = "sha256:1c481bd2d9280f8b7b131ec65e92d25ff73deda76956bc137754c2acb98d93fd"

CONFIG = So3kratesConfig(
    variant="so3lr",
    features=128,
    layers=3,
    degrees=(1, 2, 3, 4),
    cutoff=4.5,
    charge_embedding=True,
    spin_embedding=True,
    physics=("repulsion", "electrostatics", "dispersion"),
)
CARD = {
    "name": "SO3LR",
    "data": "3.85 million structures: small and biomolecules, dimers, ions, water clusters",
    "level of theory": "PBE0+MBD",
    "training": "forces, dipoles and Hirshfeld ratios; no energies",
    "energies": "the zero of energy is arbitrary for each composition: only differences between "
    "structures of the same atoms mean something",
    "not for": "elements but H C N O F P S Cl; metals and solids; breaking and making bonds; "
    "Hirshfeld ratios in liquid water; two molecules in one structure of which one is charged",
    "cutoff": "molecules without long_cutoff; cells with long_cutoff=12 (which shifts energies)",
    "source": "so3krates-torch 0.2.1 / general-molecular-simulations/so3lr 5ec39b9",
    "licence": "MIT, Copyright (c) 2024 Thorben Frank",
    "citation": "A. Kabylda, J. T. Frank, S. Suárez-Dou, A. Khabibrakhmanov, L. Medrano Sandonas, "
    "O. T. Unke, S. Chmiela, K.-R. Müller, A. Tkatchenko, J. Am. Chem. Soc. (2025), "
    "https://doi.org/10.1021/jacs.5c09558",
}

# Where each piece stands in our tree, in the authors' and in the port to torch. A dense map is a
# kernel and, where there is one, a bias.
_ELECTRONS = tuple(
    (f"{name}_embedding", f"feature_embeddings_{k}/ChargeSpinEmbedSparse_0", f"{name}_embedding")
    for k, name in ((1, "charge"), (2, "spin"))
)
_LAYERS = tuple((f"layers/{k}", f"layers_{k}", f"euclidean_transformers.{k}") for k in range(3))
_FILTERS = tuple(
    (f"{our}/{name}_filter", f"{their}/attention_block", number, f"{port}.filter_net_{short}")
    for our, their, port in _LAYERS
    for name, number, short in (("feature", 1, "inv"), ("geometric", 2, "ev"))
)
_CHARGES = "observables_0/electrostatic_energy/partial_charges"
_DENSE = (
    *(
        (f"{our}/{part}", f"{their}/Residual_0/layers_{k}", f"{port}.mlp.{2 * k + 1}")
        for our, their, port in _ELECTRONS
        for k, part in enumerate(("hidden", "out"))
    ),
    *(
        (f"{our}/{kind}/{part}", f"{their}/{kind}_filter{number}_layer_{k}", f"{port}.{module}")
        for our, their, number, port in _FILTERS
        for kind, short in (("radial", "rbf"), ("spherical", "ev"))
        for k, part, module in (
            (1, "hidden", f"mlp_{short}.0"),
            (2, "out", f"mlp_{short}.mlp_{short}_layer_1.0"),
        )
    ),
    *(
        (f"{our}/exchange/{part}", f"{their}/{name}", f"{port}.{module}")
        for our, their, port in _LAYERS
        for part, name, module in (
            ("hidden", "res_mlp_1_layer_1", "mlp_1.1"),
            ("out", "res_mlp_1_layer_2", "mlp_1.3"),
            ("gated/gates", "exchange_block/mlp_layer_2", "interaction_block.linear_layer"),
        )
    ),
    (
        "energy_head/hidden",
        "observables_0/energy_dense_regression",
        "atomic_energy_output_block.layers.0",
    ),
    (
        "energy_head/out",
        "observables_0/energy_dense_final",
        "atomic_energy_output_block.final_layer",
    ),
    (
        "physics/charges/hidden",
        f"{_CHARGES}/charge_dense_regression_vec",
        "partial_charges_output_block.transform_inv_features.0",
    ),
    (
        "physics/charges/out",
        f"{_CHARGES}/charge_dense_final_vec",
        "partial_charges_output_block.transform_inv_features.2",
    ),
    (
        "physics/ratios/hidden",
        "observables_2/hirshfeld_ratios_dense_regression",
        "hirshfeld_output_block.transform_features.0",
    ),
    (
        "physics/ratios/out",
        "observables_2/hirshfeld_ratios_dense_final",
        "hirshfeld_output_block.transform_features.2",
    ),
)
# stacks of matrices, by the authors for multiplication from the left
_HEADS = tuple(
    (
        f"{our}/{block}_attention/{part}/kernel",
        f"{their}/attention_block/W{letter}{number}",
        f"{port}.euclidean_attention_block.W_{letter}_{short}",
    )
    for our, their, port in _LAYERS
    for block, number, short in (("feature", 1, "inv"), ("geometric", 2, "ev"))
    for part, letter in (("coefficients/query", "q"), ("coefficients/key", "k"), ("value", "v"))
    if (block, part) != ("geometric", "value")
)
# one row per element; the port numbers them from hydrogen on, in columns
_ELEMENTS = (
    (
        "embedding",
        "feature_embeddings_0/Embed_0/embedding",
        "inv_feature_embedding.embedding.weight",
    ),
    *(
        (f"{our}/query", f"{their}/Embed_0/embedding", f"{port}.Wq.weight")
        for our, their, port in _ELECTRONS
    ),
    (
        "energy_head/element_scale",
        "observables_0/atomic_scales",
        "atomic_energy_output_block.energy_scales.weight",
    ),
)
# as they are
_ARRAYS = (
    *(
        (f"{our}/{part}", f"{their}/Embed_{k}/embedding", f"{port}.W{part[0]}")
        for our, their, port in _ELECTRONS
        for k, part in ((1, "key"), (2, "value"))
    ),
    *(
        (
            f"{our}/exchange/norm_{place}/{part}",
            f"{their}/layer_normalization_{k}/{part}",
            f"{port}.layer_norm_inv_{k}.{name}",
        )
        for our, their, port in _LAYERS
        for k, place in ((1, "before"), (2, "after"))
        for part, name in (("scale", "weight"), ("bias", "bias"))
    ),
    (
        "physics/charges/element_shift",
        f"{_CHARGES}/Embed_0/embedding",
        "partial_charges_output_block.atomic_embedding.weight",
    ),
    (
        "physics/ratios/element_shift",
        "observables_2/Embed_0/embedding",
        "hirshfeld_output_block.v_shift_embedding.weight",
    ),
    (
        "physics/ratios/query",
        "observables_2/Embed_1/embedding",
        "hirshfeld_output_block.q_embedding.weight",
    ),
    *(
        (
            f"physics/repulsion/{name}{k}",
            f"observables_0/zbl_repulsion/{name}{k}",
            f"zbl_repulsion.{name.lower()}{k}_raw",
        )
        for name, k in (
            *(("a", k) for k in range(1, 5)),
            *(("c", k) for k in range(1, 5)),
            ("p", ""),
            ("d", ""),
        )
    ),
)


def fetch(*, progress: bool = True, force: bool = False) -> Path:
    """Get the published weights, convert them, and keep the potential in the cache.

    Raises:
        UserError: neither place gave them, or what came is not what is expected
    """
    target = kept_model(NAME)
    if target.is_file() and not force:
        return target
    with tempfile.TemporaryDirectory() as folder:
        try:
            weights = from_torch(_by_pip(Path(folder)))
        except UserError as first:
            try:
                file = download(
                    [_REPOSITORY], Path(folder) / "params.pkl", _CHECKSUM, progress=progress
                )
            except UserError as second:
                raise UserError(f"SO3LR could not be fetched: {first}; {second}") from None
            weights = from_numpy(file)
        potential_of(weights).save(target)
    return target


def _by_pip(folder: Path) -> Path:
    """The weights within the wheel that pip downloads, checked by its hash."""
    wanted = folder / "wanted.txt"
    wanted.write_text(_WHEEL)
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check"]
    command += ["--no-deps", "--only-binary=:all:", "--require-hashes", "--dest", str(folder)]
    done = subprocess.run([*command, "-r", str(wanted)], capture_output=True, text=True)
    wheels = list(folder.glob("*.whl"))
    if done.returncode or not wheels:
        told = [line for line in done.stderr.splitlines() if "error" in line.lower()]
        reason = told[-1] if told else "it is not there"
        raise UserError(f"pip did not download so3krates-torch 0.2.1 ({reason})")
    with zipfile.ZipFile(wheels[0]) as wheel:
        return Path(wheel.extract(_IN_WHEEL, folder))


def from_numpy(path: Path) -> dict[str, np.ndarray]:
    """The arrays of the authors' file, by the paths in our tree, one per layer."""
    tree = read_numpy(path).get("params")

    def at(place: str) -> np.ndarray | None:
        found: Any = tree
        for name in place.split("/"):
            found = found.get(name) if isinstance(found, dict) else None
        return found

    found = {
        f"{our}/{part}": at(f"{their}/{part}")
        for our, their, _ in _DENSE
        for part in ("kernel", "bias")
    }
    found |= {our: at(their) for our, their, _ in _ELEMENTS + _ARRAYS}
    found |= {our: _turned(at(their)) for our, their, _ in _HEADS}
    return _complete(found, path)


def from_torch(path: Path) -> dict[str, np.ndarray]:
    """The same of the port to torch, whose maps multiply from the left."""
    module = read_torch(path, ("so3krates_torch.", "torch.nn."))

    def at(place: str) -> np.ndarray | None:
        try:
            return module[place]
        except KeyError:
            return None

    found = {}
    for our, _, port in _DENSE:
        found[f"{our}/kernel"] = _turned(at(f"{port}.weight"))
        found[f"{our}/bias"] = at(f"{port}.bias")
    for our, _, port in _ELEMENTS:
        rows = _turned(at(port))
        if rows is not None:
            found[our] = np.concatenate([np.zeros_like(rows[:1]), rows])
    found |= {our: at(port) for our, _, port in _ARRAYS + _HEADS}
    return _complete(found, path)


def _turned(matrices: np.ndarray | None) -> np.ndarray | None:
    return None if matrices is None else matrices.swapaxes(-1, -2)


def _complete(found: dict[str, np.ndarray | None], path: Path) -> dict[str, np.ndarray]:
    """Without the biases that no map of charges and spins has."""
    for our, _, _ in _ELECTRONS:
        for part in ("hidden", "out"):
            found.pop(f"{our}/{part}/bias", None)
    for name, array in found.items():
        if not isinstance(array, np.ndarray) or array.dtype != np.float32:
            raise UserError(f"{path} are not the weights of SO3LR: there is no array for {name}.")
    return found  # type: ignore[return-value]


def potential_of(weights: dict[str, np.ndarray]) -> Potential:
    """The potential that has these weights.

    Raises:
        UserError: an array has another shape than SO3LR's
    """
    like = Potential.random(CONFIG)
    flat = {}
    for name, leaf in flatten_dict(like.params, sep="/").items():
        parts = name.split("/")
        if parts[0] == "layers":
            names = ["/".join(["layers", str(k), *parts[1:]]) for k in range(CONFIG.layers)]
            value = np.stack([weights[name] for name in names])
        elif name in ("physics/repulsion/a", "physics/repulsion/c"):
            value = np.concatenate([weights[f"{name}{k}"] for k in range(1, 5)])
        else:
            value = weights[name.replace("repulsion/D", "repulsion/d")]
        if value.ndim and leaf.ndim and leaf.shape[0] == N_ELEMENTS:
            value = value[:N_ELEMENTS]
        if value.size != leaf.size or value.shape[-1:] not in (leaf.shape[-1:], (1,)):
            raise UserError(
                f"The weights of SO3LR have {name} of shape {value.shape} instead of {leaf.shape}."
            )
        flat[name] = value.reshape(leaf.shape)
    params = unflatten_dict(flat, sep="/")
    return Potential(CONFIG, params, card=CARD, trained_elements=frozenset(FREE_ATOMS))
