"""Reference arrays of the original implementation, and its parameters under our names.

The arrays in tests/reference were computed with the original public code (see the README there).
"""

from __future__ import annotations

import ast
from functools import lru_cache
from pathlib import Path

import numpy as np

from so3krates_lite.config import So3kratesConfig
from so3krates_lite.structures.frames import Frames

FOLDER = Path(__file__).parent / "reference"
NAMES = ("paper_base", "paper_degrees123", "paper_nonlocal", "v03_base")


@lru_cache
def load(name: str) -> dict[str, np.ndarray]:
    with np.load(FOLDER / f"{name}.npz", allow_pickle=False) as file:
        return {key: file[key] for key in file.files}


def config(name: str) -> So3kratesConfig:
    given = ast.literal_eval(str(load(name)["config"]))
    paper = name.startswith("paper")
    return So3kratesConfig(
        variant="paper" if paper else "v0.3",
        features=given["F"],
        layers=given["L"],
        degrees=tuple(given["degrees"]),
        heads=given["H"],
        cutoff=given["r_cut"],
        radial_functions=given["K"],
        radial_hidden=given["rad"][0],
        spherical_hidden=given["sph"][0],
        radial_cutoff=paper,
        # "chi_cut_dynamic" puts the border of the spherical neighbourhood at 1/n
        spherical_radius=1.0 if given.get("chi_cut_dynamic") else None,
    )


def within_cutoff(name: str) -> np.ndarray:
    """Which of the directed pairs are closer than the cutoff; where no list is global, all are."""
    arrays = load(name)
    return arrays["geom/d_ij"].reshape(-1) < config(name).cutoff


def frames(name: str) -> Frames:
    arrays = load(name)
    return Frames(
        numbers=np.stack([arrays["z"]] * 2), positions=np.stack([arrays["R"], arrays["R_b"]])
    )


def parameters(name: str, dtype=np.float64) -> dict:
    """The original's parameters as a tree of ours (layers stacked on the first axis)."""
    arrays = load(name)
    n_layers = config(name).layers

    def stacked(path: str) -> np.ndarray:
        leaves = [arrays[f"params/layers_{k}/{path}"] for k in range(n_layers)]
        return np.stack(leaves).astype(dtype)

    def module(path: str, squeeze: bool = False) -> dict:
        names = [n for n in ("kernel", "bias") if f"params/layers_0/{path}/{n}" in arrays]
        values = {n: stacked(f"{path}/{n}") for n in names}
        return {n: value[:, 0] for n, value in values.items()} if squeeze else values

    def filter_of(block: str) -> dict:
        def mlp(k: int) -> dict:
            path = f"{block}/filter_fn/VmapMLP_{k}/layers_"
            return {
                ours: module(f"{path}{n}", squeeze=True) for n, ours in enumerate(("hidden", "out"))
            }

        return {"radial": mlp(0), "spherical": mlp(1)}

    def coefficients_of(block: str) -> dict:
        path = f"{block}/attention_fn/VmapConvAttentionCoefficients_0/Dense_"
        return {"query": module(f"{path}0"), "key": module(f"{path}1")}

    exchange = {"gates": module("InteractionBlock_0/MLP_0/layers_0")}
    if name.startswith("paper"):
        exchange["from_mixed"] = module("InteractionBlock_0/MLP_1/layers_0")
        exchange["selfmix"] = {"c": stacked("InteractionBlock_0/selfmix/params")}
    value = module("FeatureBlock_0/attention_fn/VmapAttentionAggregation_0/Dense_0")
    head = {
        ours: {
            n: arrays[f"params/observables_0/MLP_0/layers_{k}/{n}"].astype(dtype)
            for n in ("kernel", "bias")
        }
        for k, ours in enumerate(("hidden", "out"))
    }
    return {
        "embedding": arrays["params/feature_embeddings_0/Embed_0/embedding"].astype(dtype),
        "layers": {
            "feature_filter": filter_of("FeatureBlock_0"),
            "geometric_filter": filter_of("GeometricBlock_0"),
            "feature_attention": {
                "coefficients": coefficients_of("FeatureBlock_0"),
                "value": value,
            },
            "geometric_attention": {"coefficients": coefficients_of("GeometricBlock_0")},
            "exchange": exchange,
        },
        "energy_head": head,
    }
