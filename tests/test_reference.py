"""Agreement with the original code, number by number (origin: tests/reference/README.md).

Deviations are relative to the largest value of each array.
"""

from __future__ import annotations

import jax
import numpy as np
import pytest
import reference_arrays as reference
from small import deviation, one_atom_batch

from so3krates_lite.basis import cosine_cutoff, radial_basis
from so3krates_lite.config import So3kratesConfig
from so3krates_lite.energies import initialise
from so3krates_lite.harmonics import (
    coupling_coefficients,
    degree_of_component,
    parity_of_component,
    spherical_harmonics,
)
from so3krates_lite.model import count_parameters
from so3krates_lite.potential import Potential

pytestmark = pytest.mark.usefixtures("quick_compilation")

TOLERANCE = {
    "paper_base": 1e-10,
    "paper_degrees123": 1e-10,
    "paper_nonlocal": 1e-7,  # the original holds 1/n in float32
    "v03_base": 1e-7,  # and here 1/sqrt(2l+1)
}
BLOCKS = {
    "feature": "FeatureBlock_0/attention_fn/alpha",
    "geometric": "GeometricBlock_0/attention_fn/alpha_r",
}


@pytest.fixture(scope="module", params=reference.NAMES)
def name(request) -> str:
    return request.param


def potential(name: str, precision: str) -> Potential:
    return Potential(reference.config(name), reference.parameters(name, np.dtype(precision)))


def sign_of_chi(name: str) -> np.ndarray | float:
    """v0.1 lets r_ij point from neighbour to centre: odd degrees have the other sign there."""
    paper = name.startswith("paper")
    return parity_of_component(reference.config(name).degrees) if paper else 1.0


@pytest.mark.parametrize("precision", ["float64", "float32"])
def test_energy_and_forces_are_the_original_s(name, precision):
    arrays = reference.load(name)
    tolerance = TOLERANCE[name] if precision == "float64" else 1e-4
    energy, forces, _ = potential(name, precision).predict(reference.frames(name))
    assert deviation(energy, [arrays["energy"], arrays["energy_b"]]) < tolerance
    assert deviation(forces, [arrays["forces"], arrays["forces_b"]]) < tolerance


@pytest.mark.parametrize("precision", ["float64", "float32"])
def test_attention_and_sphcs_of_every_layer_are_the_original_s(name, precision):
    arrays = reference.load(name)
    tolerance = TOLERANCE[name] if precision == "float64" else 1e-4
    record = potential(name, precision).attention(reference.frames(name)).frames(0)
    within = reference.within_cutoff(name)
    np.testing.assert_array_equal(record.receiver, arrays["idx_i"][within])
    np.testing.assert_array_equal(record.sender, arrays["idx_j"][within])
    assert deviation(record.distance, arrays["geom/d_ij"][within]) < tolerance
    for layer in range(record.n_layers):
        stored = f"record/layers_{layer}"
        for block, theirs in BLOCKS.items():
            # the original records its coefficient after the cutoff
            alpha = arrays[f"{stored}/{theirs}"]
            assert not alpha[~within].any()
            assert deviation(getattr(record, block).weighted[layer], alpha[within]) < tolerance
            raw = alpha[within] / arrays["geom/phi_r_cut"].reshape(-1, 1)[within]
            assert deviation(getattr(record, block).coefficient[layer], raw) < tolerance
        for ours, theirs in ((layer, "chi_in"), (layer + 1, "chi_out")):
            chi = arrays[f"{stored}/{theirs}"] * sign_of_chi(name)
            if name == "v03_base" and ours == 0:
                np.testing.assert_array_equal(record.sphc[ours, 0], chi)  # both are zero
            else:
                assert deviation(record.sphc[ours, 0], chi) < tolerance


def test_local_and_spherical_attention_are_all_of_the_original_s(name):
    """alpha = alpha_r + alpha_s there; without spherical neighbourhoods alpha_s is zero."""
    for layer in range(reference.config(name).layers):
        stored = f"record/layers_{layer}/GeometricBlock_0/attention_fn"
        arrays = reference.load(name)
        assert arrays[f"{stored}/alpha_s"].any() == reference.config(name).is_nonlocal
        both = arrays[f"{stored}/alpha_r"] + arrays[f"{stored}/alpha_s"]
        np.testing.assert_allclose(arrays[f"{stored}/alpha"], both, rtol=0, atol=1e-15)


@pytest.mark.parametrize("precision", ["float64", "float32"])
def test_attention_in_the_spherical_neighbourhood_is_the_original_s(precision):
    name = "paper_nonlocal"
    arrays, within = reference.load(name), reference.within_cutoff(name)
    assert 0 < within.sum() < len(within)
    record = potential(name, precision).attention(reference.frames(name)).frames(0)
    tolerance = TOLERANCE[name] if precision == "float64" else 1e-4
    spherical = record.spherical
    np.testing.assert_array_equal(spherical.receiver, arrays["idx_i"])
    np.testing.assert_array_equal(spherical.sender, arrays["idx_j"])
    assert deviation(spherical.distance, arrays["geom/d_ij"]) < tolerance
    for layer in range(record.n_layers):
        stored = f"record/layers_{layer}"
        alpha = arrays[f"{stored}/GeometricBlock_0/attention_fn/alpha_s"]
        assert deviation(spherical.attention.weighted[layer], alpha) < tolerance
        # near and far pairs, inside the cutoff and beyond it
        for near in (alpha.any(axis=1), ~alpha.any(axis=1)):
            assert (near & within).any() and (near & ~within).any()
        chi = arrays[f"{stored}/chi_in"]
        X = np.linalg.norm(chi[arrays["idx_j"]] - chi[arrays["idx_i"]], axis=1)
        assert deviation(spherical.sphc_distance[layer], X) < tolerance


def test_radial_basis_cutoff_and_harmonics_are_the_original_s(name):
    arrays, config = reference.load(name), reference.config(name)
    with jax.enable_x64(True):
        phi = np.asarray(cosine_cutoff(arrays["geom/d_ij"], config.cutoff))
        basis = radial_basis(arrays["geom/d_ij"], config.radial_functions, config.cutoff)
        basis = np.asarray(basis) * (phi[:, None] if config.radial_cutoff else 1)
        harmonics = np.asarray(spherical_harmonics(arrays["geom/unit_r_ij"], config.degrees))
    assert deviation(phi, arrays["geom/phi_r_cut"].reshape(-1)) < 1e-12
    assert deviation(basis, arrays["geom/rbf_ij"]) < 1e-12
    assert deviation(harmonics, arrays["geom/sph_ij"]) < 1e-12


def test_coupling_coefficients_are_the_original_s():
    with np.load(reference.FOLDER / "coupling_l1to3.npz") as file:
        table = file["cg"]
    degrees = (1, 2, 3)
    degree = np.array(degrees)[degree_of_component(degrees)]
    l3, l1, l2 = degree[:, None, None], degree[None, :, None], degree[None, None, :]
    wanted = np.where((l1 < l2) & ((l1 + l2 + l3) % 2 == 0), table, 0)
    assert deviation(coupling_coefficients(degrees), wanted) < 1e-12
    assert np.count_nonzero(wanted) > 100


def test_each_coupling_block_has_squares_that_sum_to_one_and_no_odd_parity():
    degrees = (0, 1, 2, 3, 4)
    degree = np.array(degrees)[degree_of_component(degrees)]
    square = coupling_coefficients(degrees) ** 2
    for l3 in degrees:
        for l1 in degrees:
            for l2 in degrees:
                block = square[np.ix_(degree == l3, degree == l1, degree == l2)].sum()
                triangle = abs(l1 - l2) <= l3 <= l1 + l2
                kept = l1 < l2 and triangle and (l1 + l2 + l3) % 2 == 0
                assert block == pytest.approx(1.0 if kept else 0.0, abs=1e-12)


def test_small_models_have_the_original_s_number_of_parameters(name):
    expected = {"paper_degrees123": 12903, "v03_base": 24845}.get(name, 27753)
    assert count_parameters(reference.parameters(name)) == expected
    assert int(reference.load(name)["n_params"]) == expected
    ours = jax.eval_shape(lambda: fresh(reference.config(name)))
    theirs = reference.parameters(name)
    assert jax.tree.map(lambda leaf: leaf.shape, ours) == jax.tree.map(np.shape, theirs)


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        (So3kratesConfig(), 715_435),
        (So3kratesConfig(radial_hidden=132, spherical_hidden=33), 724_987),
        (So3kratesConfig(variant="v0.3"), 607_537),
        (So3kratesConfig(variant="v0.3", layers=3), 319_213),
    ],
)
def test_published_sizes_have_the_published_number_of_parameters(config, expected):
    assert count_parameters(jax.eval_shape(lambda: fresh(config))) == expected


def fresh(config: So3kratesConfig) -> dict:
    """Initial parameters; only their shapes are asked for here."""
    return initialise.function(jax.random.key(0), one_atom_batch(config), config)
