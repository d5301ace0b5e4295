"""A potential survives a trip to disk, refuses other files, and shows its attention."""

from __future__ import annotations

import dataclasses

import jax
import numpy as np
import pytest
from small import deviation, frame_of, molecule, random_parameters, small_config, stack

from so3krates_lite.config import So3kratesConfig
from so3krates_lite.errors import UserError
from so3krates_lite.harmonics import spherical_harmonics
from so3krates_lite.potential import FORMAT_VERSION, Potential
from so3krates_lite.runtime import files
from so3krates_lite.structures.frames import Frames

pytestmark = pytest.mark.usefixtures("quick_compilation")

CONFIG = small_config((1, 2), "v0.3", sphc_start="smooth")
FRAMES = stack(molecule(5, seed=3), molecule(3, seed=4))


@pytest.fixture(scope="module")
def potential() -> Potential:
    shift = np.linspace(-1000.0, 0.0, 100)
    card = {"name": "made up", "energy_mae_eV": 0.1, "atoms": 5, "note": "Å and é survive"}
    return Potential(CONFIG, random_parameters(CONFIG), shift, 2.5, card)


@pytest.fixture(scope="module")
def record(potential):
    return potential.attention(FRAMES)


# -- numbers ---------------------------------------------------------------------------------


def test_element_shifts_are_added_and_the_scale_multiplies(potential):
    bare = dataclasses.replace(potential, element_shift=np.zeros(100), energy_scale=1.0)
    full, plain = potential.predict(FRAMES), bare.predict(FRAMES)
    shifts = [potential.element_shift[z[z > 0]].sum() for z in FRAMES.numbers]
    assert deviation(full.energy, 2.5 * plain.energy + shifts) < 1e-14
    assert deviation(full.forces, 2.5 * plain.forces) < 1e-14


def test_random_potentials_follow_their_seed_in_either_precision():
    same = [Potential.random(CONFIG, seed=3), Potential.random(CONFIG, 3, "float64")]
    other = Potential.random(CONFIG, seed=4)
    assert [p.dtype for p in same] == [np.float32, np.float64]
    leaves = [jax.tree.leaves(jax.device_get(p.params)) for p in (*same, other)]
    for single, double in zip(leaves[0], leaves[1], strict=True):
        np.testing.assert_array_equal(single, double.astype(np.float32))
    assert any((a != b).any() for a, b in zip(leaves[0], leaves[2], strict=True))
    assert same[0].n_parameters == sum(leaf.size for leaf in leaves[0])


def test_astype_changes_the_precision_and_nothing_else(potential):
    single = potential.astype("float32")
    assert (single.dtype, potential.dtype) == (np.float32, np.float64)
    assert single.config == potential.config and single.energy_scale == potential.energy_scale
    assert single.element_shift.dtype == np.float64
    found, expected = single.predict(FRAMES), potential.predict(FRAMES)
    assert found.energy.dtype == found.forces.dtype == np.float64
    assert deviation(found.forces, expected.forces) < 1e-5
    back = single.astype("float64").astype("float32")
    for a, b in zip(jax.tree.leaves(single.params), jax.tree.leaves(back.params), strict=True):
        np.testing.assert_array_equal(a, b)
    with pytest.raises(UserError, match="choose float32 or float64"):
        potential.astype("float16")


def test_both_precisions_work_in_turn_in_one_process(potential):
    """Tables made for one precision must not be handed to the other."""
    single = potential.astype("float32")
    for each in (potential, single, potential, single):
        assert each.attention(FRAMES).sphc.dtype == np.float64
        assert np.isfinite(each.predict(FRAMES).energy).all()


@pytest.fixture(scope="module")
def single() -> Potential:
    """Stiff enough that an error of 1e-6 Å in a place is one of 1e-4 eV/Å in forces."""
    return Potential(CONFIG, random_parameters(CONFIG, dtype=np.float32), energy_scale=20.0)


def error_of(exact: np.ndarray, far: np.ndarray, near: np.ndarray) -> float:
    """Largest error of float32 values of a structure ``far`` off, beyond that of it ``near``."""
    return np.abs(far - exact).max() - np.abs(near - exact).max()


@pytest.mark.parametrize("distance", [100.0, 1e3, 1e4, 1e6])
def test_float32_forces_do_not_depend_on_the_distance_from_the_origin(single, distance):
    near = molecule(6, seed=5).replace(positions=molecule(6, seed=5).positions.round(4))
    far = near.replace(positions=near.positions + distance * np.array([0.6, -0.7, 0.4]))
    exact, found = single.astype("float64").predict(near).forces, single.predict(near).forces
    assert np.abs(found).max() > 0.1
    assert error_of(exact, single.predict(far).forces, found) < 5e-6


def test_float32_forces_of_fragments_far_apart_are_those_of_each(single):
    one, other = molecule(5, seed=5), molecule(4, seed=6)
    numbers = np.concatenate([one.numbers, other.numbers], axis=1)
    parts, distances = stack(one, other), (100.0, 1e4, 1e6)
    moved = [other.positions + np.array([distance, -distance, 0.3]) for distance in distances]
    places = np.concatenate([np.concatenate([one.positions, R], axis=1) for R in moved])
    exact, near = (p.predict(parts).forces for p in (single.astype("float64"), single))
    far = single.predict(Frames(np.repeat(numbers, len(distances), axis=0), places)).forces
    for k, (n, place) in enumerate(((5, slice(0, 5)), (4, slice(5, 9)))):
        for forces in far:
            assert error_of(exact[k, :n], forces[place], near[k, :n]) < 5e-6


@pytest.mark.parametrize("cells", [30, 3000])
def test_float32_forces_and_stress_of_an_unwrapped_crystal_are_those_of_the_folded_one(
    single, cells
):
    rng = np.random.default_rng(0)
    cell = np.array([[4.5, 0.2, 0.0], [0.0, 4.7, 0.1], [0.3, 0.0, 4.9]])
    near = molecule(6, seed=5).replace(cell=cell[None])
    steps = rng.integers(-cells, cells, (1, 6, 3))
    far = near.replace(positions=near.positions + steps @ cell)
    exact, near, far = (
        each.predict(frame, stress=True)
        for each, frame in ((single.astype("float64"), near), (single, near), (single, far))
    )
    assert error_of(exact.forces, far.forces, near.forces) < 5e-6
    assert error_of(exact.stress, far.stress, near.stress) < 1e-7


def test_a_record_states_the_places_that_were_given(single):
    near = molecule(5, seed=5)
    far = near.replace(positions=near.positions + 1e4)
    record = single.attention(far)
    np.testing.assert_array_equal(record.positions, far.positions)
    vector = far.positions[0][record.sender] - far.positions[0][record.receiver]
    assert np.abs(record.vector - vector).max() < 1e-6


def test_an_atom_far_away_adds_its_own_energy(potential):
    water = frame_of([8, 1], [[0, 0, 0], [0, 0, 1.0]])
    far = frame_of([8, 1, 1], [[0, 0, 0], [0, 0, 1.0], [20000, 20000, 0]])
    lone = frame_of([1], [[0, 0, 0]])
    together, *parts = potential.predict(stack(far, water, lone)).energy
    np.testing.assert_allclose(together, sum(parts), rtol=1e-12)


# -- files -----------------------------------------------------------------------------------


@pytest.mark.parametrize("precision", ["float64", "float32"])
def test_a_saved_potential_reads_back_exactly(potential, precision, tmp_path):
    saved = potential.astype(precision)
    path = tmp_path / "folder" / "model.safetensors"
    saved.save(path)
    assert [p.name for p in path.parent.iterdir()] == [path.name]
    again = Potential.load(path)
    assert again.config == saved.config and again.card == saved.card
    assert again.energy_scale == saved.energy_scale and again.dtype == np.dtype(precision)
    np.testing.assert_array_equal(again.element_shift, saved.element_shift)
    assert jax.tree.structure(again.params) == jax.tree.structure(saved.params)
    for a, b in zip(jax.tree.leaves(again.params), jax.tree.leaves(saved.params), strict=True):
        np.testing.assert_array_equal(a, b)
        assert a.dtype == b.dtype
    before, after = saved.predict(FRAMES), again.predict(FRAMES)
    np.testing.assert_array_equal(after.energy, before.energy)
    np.testing.assert_array_equal(after.forces, before.forces)


def test_a_folder_stands_for_its_best_potential(potential, tmp_path):
    potential.save(tmp_path / "best.safetensors")
    assert Potential.load(tmp_path).config == CONFIG


def written(path, kind=Potential.kind, version=FORMAT_VERSION, config=None):
    """A file like a potential's, with one thing different."""
    header = {"config": config or CONFIG.to_dict(), "energy_scale": 1.0, "card": {}}
    arrays = {"element_shift": np.zeros(100), "params/a": np.zeros(1)}
    files.save_arrays(path, kind, version, arrays, header)
    return path


@pytest.mark.parametrize(("step", "age"), [(1, "newer"), (-1, "older")])
def test_another_format_version_is_refused_with_both_numbers(tmp_path, step, age):
    version = FORMAT_VERSION + step
    path = written(tmp_path / "other.safetensors", version=version)
    message = rf"other\.safetensors was written by an? {age} version.*format {version}; this"
    with pytest.raises(UserError, match=message):
        Potential.load(path)


def test_a_file_of_another_kind_is_refused_by_its_name(tmp_path):
    path = written(tmp_path / "other.safetensors", kind="a cake recipe")
    with pytest.raises(UserError, match=r"holds a cake recipe, but a so3krates-lite potential"):
        Potential.load(path)
    from safetensors.numpy import save_file

    save_file({"a": np.zeros(1)}, path)
    with pytest.raises(UserError, match="safetensors file of another program"):
        Potential.load(path)


@pytest.mark.parametrize("share", [0.0, 0.001, 0.5, 0.999])
def test_a_truncated_file_is_refused(potential, tmp_path, share):
    path = tmp_path / "cut.safetensors"
    potential.save(path)
    content = path.read_bytes()
    path.write_bytes(content[: int(share * len(content))])
    with pytest.raises(UserError, match=r"cut\.safetensors cannot be read as a so3krates-lite"):
        Potential.load(path)


def test_a_missing_file_or_unknown_name_says_what_there_is(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match=r"There is no file .*gone\.safetensors"):
        Potential.load(tmp_path / "gone.safetensors")
    with pytest.raises(UserError, match="no model of that name; bundled are: "):
        Potential.load("no-such-model")


def test_an_unknown_setting_is_named_with_those_that_exist(tmp_path):
    path = written(tmp_path / "m.safetensors", config={**CONFIG.to_dict(), "colour": "blue"})
    with pytest.raises(UserError, match=r"no setting 'colour'; it knows: .*cutoff, degrees"):
        Potential.load(path)


def test_a_failed_save_leaves_the_old_file_and_no_scrap(potential, tmp_path, monkeypatch):
    path = tmp_path / "model.safetensors"
    potential.save(path)
    before = path.read_bytes()

    def fail(*_):
        raise OSError("no space left on device")

    monkeypatch.setattr("os.fsync", fail)
    with pytest.raises(UserError, match="no space"):
        potential.save(path)
    assert path.read_bytes() == before and list(tmp_path.iterdir()) == [path]


# -- configuration ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"variant": "v1"}, "variant = 'v1' is not possible"),
        ({"degrees": ()}, "degrees"),
        ({"degrees": (2, 1)}, "ascending"),
        ({"degrees": (1, 1)}, "ascending"),
        ({"degrees": (-1, 1)}, "from 0 upwards"),
        ({"features": 130}, "multiple of the heads, 4"),
        ({"features": 128}, "multiple of the number of degrees, 3"),
        ({"layers": 0}, "layers = 0 is not possible: expected a positive whole number"),
        ({"cutoff": -1.0}, "positive length"),
        ({"sphc_start": "random"}, "sphc_start = 'random' is not possible"),
    ],
)
def test_impossible_settings_are_named_with_what_is_expected(settings, message):
    with pytest.raises(UserError, match=message):
        So3kratesConfig(**settings)


@pytest.mark.parametrize("variant", ["paper", "v0.3"])
def test_a_configuration_reads_back_from_plain_values(variant):
    config = So3kratesConfig(variant=variant, degrees=(0, 1), heads=2, features=16)
    assert So3kratesConfig.from_dict(config.to_dict()) == config
    assert hash(So3kratesConfig.from_dict(config.to_dict())) == hash(config)


# -- attention record (values against the oracle: test_oracle.py) --------------------------------


def test_pairs_of_a_record_are_directed_and_in_reading_order(record):
    keys = list(zip(record.frame, record.receiver, record.sender, strict=True))
    assert keys == sorted(keys) and len(set(keys)) == len(keys)
    assert {(f, j, i) for f, i, j in keys} == set(keys)
    R = FRAMES.positions
    vector = R[record.frame, record.sender] - R[record.frame, record.receiver]
    assert deviation(record.vector, vector) < 1e-14
    assert (record.distance < CONFIG.cutoff).all()


def test_weighted_is_coefficient_times_cutoff(record):
    phi = (np.cos(np.pi * record.distance / CONFIG.cutoff) + 1) / 2
    for block in (record.feature, record.geometric):
        assert deviation(block.weighted, block.coefficient * phi[:, None]) < 1e-12
        assert (block.contribution >= 0).all()


def test_a_record_leaves_the_parameters_as_they_are(potential):
    before = [np.array(leaf) for leaf in jax.tree.leaves(potential.params)]
    potential.attention(FRAMES)
    for a, b in zip(before, jax.tree.leaves(potential.params), strict=True):
        np.testing.assert_array_equal(a, b)


def test_geometric_attention_of_a_record_moves_the_sphcs(record):
    """Sum of weighted Y over senders is dchi; the gated exchange then stretches each degree."""
    with jax.enable_x64(True):
        Y = np.asarray(spherical_harmonics(record.vector, CONFIG.degrees))
    for layer in range(CONFIG.layers):
        before, after = record.sphc[layer], record.sphc[layer + 1]
        for channel, part in ((0, slice(0, 3)), (1, slice(3, 8))):
            added = record.geometric.weighted[layer, :, channel, None] * Y[:, part]
            size = record.geometric.contribution[layer, :, channel]
            assert deviation(np.linalg.norm(added, axis=1), size) < 1e-12
            moved = before[..., part].copy()
            np.add.at(moved, (record.frame, record.receiver), added)
            stretched = after[..., part]
            factor = (stretched * moved).sum(-1) / np.maximum((moved**2).sum(-1), 1e-300)
            assert deviation(factor[..., None] * moved, stretched) < 1e-12
            assert np.abs(factor[FRAMES.mask] - 1).max() > 1e-3


def test_feature_attention_of_the_first_layer_weighs_the_values(potential, record):
    """|weighted v_j|, with v_j = W_v x_j and x_j the embedding: contribution by hand."""
    params = potential.params
    x = params["embedding"][FRAMES.numbers[record.frame, record.sender]]
    kernel = params["layers"]["feature_attention"]["value"]["kernel"][0]
    v = np.einsum("phf,hfg->phg", x.reshape(len(x), *kernel.shape[:2]), kernel)
    expected = np.abs(record.feature.weighted[0]) * np.linalg.norm(v, axis=-1)
    assert deviation(record.feature.contribution[0], expected) < 1e-12


def test_a_periodic_record_holds_every_image(potential):
    cell = np.array([[2.5, 0.2, 0.0], [0.0, 2.7, 0.1], [0.3, 0.0, 2.9]])
    frame = frame_of([6], [[0.1, 0.2, 0.3]], cell=cell[None], pbc=np.ones((1, 3), bool))
    record = potential.attention(frame)
    assert len(record.receiver) >= 6 and not record.receiver.any() and not record.sender.any()
    # every image and its opposite, at whole lattice vectors
    np.testing.assert_allclose(record.vector.sum(axis=0), 0, atol=1e-12)
    steps = record.vector @ np.linalg.inv(cell)
    np.testing.assert_allclose(steps, steps.round(), atol=1e-12)
    assert record.matrix().shape == (1, 1)


def test_coincident_atoms_contribute_no_direction(potential):
    twins = frame_of([6, 1, 1], np.array([[0.0, 0, 0], [0, 0, 0], [0, 0, 1.1]]))
    record = potential.attention(twins)
    together = record.distance == 0
    assert together.sum() == 2
    np.testing.assert_array_equal(record.geometric.contribution[:, together], 0)


def test_box_around_a_molecule_is_no_cell(potential):
    free = frame_of([6, 1, 1], np.array([[0.0, 0, 0], [1, 0, 0], [0, 0, 1.1]]))
    boxed = free.replace(cell=np.eye(3)[None] * 2, pbc=np.zeros((1, 3), bool))
    np.testing.assert_array_equal(potential.predict(boxed).forces, potential.predict(free).forces)
    with pytest.raises(UserError, match="volume"):
        potential.predict(boxed, stress=True)


def test_untrained_elements_are_refused_unless_allowed(potential):
    shift = np.zeros(100)
    shift[[1, 6]] = -0.5, -38.0
    potential = dataclasses.replace(potential, element_shift=shift)
    oxygen = frame_of([8, 1], np.array([[0.0, 0, 0], [0, 0, 1.0]]))
    with pytest.raises(UserError, match=r"holds O.*trained on H, C"):
        potential.predict(oxygen)
    assert np.isfinite(potential.predict(oxygen, allow_unknown_elements=True).energy).all()


def test_stated_elements_are_refused_or_known_whatever_the_shifts(potential, tmp_path):
    """With no energy zero at all, only the file can say what the training data held."""
    silent = dataclasses.replace(potential, element_shift=np.zeros(100))
    assert silent.elements is None
    stated = dataclasses.replace(silent, trained_elements=frozenset({1, 6}))
    stated.save(tmp_path / "stated.safetensors")
    oxygen = frame_of([8, 1], np.array([[0.0, 0, 0], [0, 0, 1.0]]))
    for each in (stated, stated.astype("float32"), Potential.load(tmp_path / "stated.safetensors")):
        assert each.elements == each.trained_elements == {1, 6}
        for use in (each.predict, each.attention):
            with pytest.raises(UserError, match=r"holds O.*trained on H, C only"):
                use(oxygen)
    # what is stated goes before what the shifts would tell
    assert dataclasses.replace(potential, trained_elements=frozenset({1})).elements == {1}


def test_files_that_do_not_state_their_elements_are_read_as_before(potential, tmp_path):
    path = tmp_path / "earlier.safetensors"
    potential.save(path)
    assert "elements" not in files.load_arrays(path, Potential.kind, FORMAT_VERSION)[1]
    again = Potential.load(path)
    assert again.trained_elements is None
    assert again.elements == potential.elements == set(range(99))
