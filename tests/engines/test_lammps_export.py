"""Programs for LAMMPS: split over domains they give the numbers of the whole, and so do the files.

Here stands a LAMMPS in numpy: it divides a periodic box into domains, gives each its own atoms and
then the ghosts within one cutoff, and lists the pairs of its own atoms. Where LAMMPS would carry
what an exchange sends, rows of ghosts are read from their owners: in Python as the network asks for
it, and in an exported program in place of its calls to LAMMPS.
"""

from __future__ import annotations

import dataclasses
import itertools
import json
import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from small import PHYSICS, small_config, small_potential
from waters import SHIFT, water_potential, waters

from so3krates_lite.cli import main
from so3krates_lite.config import GeomAttConfig
from so3krates_lite.engines.lammps_export import domain_energies, export_lammps
from so3krates_lite.errors import UserError
from so3krates_lite.potential import Potential
from so3krates_lite.runtime.settings import precision_context
from so3krates_lite.structures.batching import make_batch
from so3krates_lite.structures.frames import Frames

pytestmark = pytest.mark.usefixtures("quick_compilation")
lammps_jax = pytest.importorskip("lammps_jax.export", reason="needs the extra [engines]")

TYPES = {8: 0, 1: 1}
MAX_ATOMS, NEIGHBOURS = 260, 12


@pytest.fixture(scope="module")
def potential(quick_compilation) -> Potential:
    return water_potential()


@pytest.fixture(scope="module")
def expected(potential):
    """Energies of atoms and forces, by the package's own path."""
    box = waters()
    frames = Frames.from_atoms([box])
    batch = make_batch(frames, potential.config, spare=True, dtype=potential.dtype)
    energies = potential.atomic_energies(batch)[0, : len(box)] + SHIFT[box.numbers]
    return energies, potential.predict(frames).forces[0]


def rows_of_domains(box, cutoff: float, cuts: list[float]):
    """All rows one after another: positions, the atom each is, the row of its owner, whether it is
    a ghost; and pairs of rows."""
    box.wrap()
    places = [np.array(n) @ box.cell.array for n in itertools.product((-1, 0, 1), repeat=3)]
    everywhere = np.concatenate([box.positions + place for place in places])
    atom = np.tile(np.arange(len(box)), len(places))
    is_own = np.repeat([not place.any() for place in places], len(box))
    size = np.diag(box.cell.array)
    domains, own_row = [], np.zeros(len(box), int)
    start = 0
    for low, high in itertools.pairwise([0.0, *cuts, size[0]]):
        bounds = np.array([[low, 0, 0], [high, size[1], size[2]]])
        inside = is_own & (everywhere[:, 0] >= low) & (everywhere[:, 0] < high)
        near = ((everywhere > bounds[0] - cutoff) & (everywhere < bounds[1] + cutoff)).all(axis=1)
        chosen = np.concatenate([np.flatnonzero(inside), np.flatnonzero(near & ~inside)])
        owned = inside.sum()
        own_row[atom[chosen[:owned]]] = start + np.arange(owned)
        distance = np.linalg.norm(
            everywhere[chosen][:owned, None] - everywhere[chosen][None], axis=-1
        )
        pairs = np.argwhere((distance < cutoff) & (distance > 0)) + start
        ghost = np.arange(len(chosen)) >= owned
        domains.append((everywhere[chosen], atom[chosen], ghost, pairs))
        start += len(chosen)
    positions, atoms, ghost, pairs = (np.concatenate(part) for part in zip(*domains, strict=True))
    return positions, atoms, own_row[atoms], ghost, pairs


def padded(rows, box, potential, max_atoms: int, max_edges: int) -> tuple:
    """What LAMMPS hands a program: positions, types, numbers of own atoms and ghosts, pairs."""
    positions, atoms, _, ghost, pairs = rows
    filled = np.full((max_atoms, 3), 7.7)
    filled[: len(positions)] = positions
    types = np.zeros(max_atoms, np.int32)
    types[: len(atoms)] = [TYPES[z] for z in box.numbers[atoms]]
    listed = np.full((2, max_edges), max_atoms, np.int32)  # padding points outside
    listed[:, : len(pairs)] = pairs.T
    counts = np.int32((~ghost).sum()), np.int32(ghost.sum())
    return (
        filled.astype(potential.dtype),
        types,
        *counts,
        *listed,
        np.arange(max_edges) < len(pairs),
    )


class Rows:
    """An exchange that reads every row from its owner's, as LAMMPS does between processes."""

    def __init__(self, owner: np.ndarray) -> None:
        self.owner, self.calls = owner, 0

    def forward_comm(self, values):
        self.calls += 1
        return jax.tree.map(lambda value: value[self.owner], values)


def test_three_domains_give_the_energies_and_forces_of_the_whole(potential, expected):
    cuts = [1.0, 4.5]
    box = waters()
    rows = rows_of_domains(box, potential.config.cutoff, cuts)
    positions, atoms, owner, ghost, pairs = rows
    arguments = padded(rows, box, potential, len(positions) + 5, len(pairs) + 9)
    owner = np.concatenate([owner, np.arange(len(positions), len(positions) + 5)])
    exchange = Rows(owner)
    own = np.concatenate([~ghost, np.zeros(5, bool)])
    energies = domain_energies(potential, ["O", "H"])

    @jax.jit
    @jax.value_and_grad
    def total(positions, types, nlocal, nghost, *listed):
        graph = lammps_jax.LammpsNeighborList(*listed)
        return jnp.where(own, energies(positions, types, graph, exchange), 0).sum()

    with precision_context(potential.dtype):
        value, slope = jax.tree.map(np.asarray, total(*arguments))
    forces = np.zeros((len(box), 3))
    np.add.at(forces, atoms, -slope[: len(atoms)])  # LAMMPS adds those of ghosts to their owners
    assert exchange.calls == potential.config.layers
    assert value == pytest.approx(expected[0].sum(), abs=1e-8)
    assert np.abs(forces - expected[1]).max() < 1e-10
    assert np.abs(slope[len(atoms) :]).max(initial=0) == 0
    assert ghost.sum() > 10 * len(box)


def loaded(content: dict, program: str, owner: np.ndarray, arguments: tuple):
    """A program of a file, brought to life as what jax.export exports, with rows read from their
    owners in place of its calls to LAMMPS; and what it called."""
    from jaxlib.mlir import ir
    from jaxlib.mlir.dialects import stablehlo

    text = lammps_jax.program_text(content, program)
    call = r"stablehlo\.custom_call @lammps_jax\.(forward|reverse)_comm\((.*?)\) \{.*\} : "
    called = [found[0] for found in re.findall(call, text)]
    text = re.sub(call, r"func.call @\1(\2) : ", text)
    (width,) = set(content["contract"]["comm_widths"])
    from_owners = np.eye(len(owner))[owner]
    for name, matrix in {"forward": from_owners, "reverse": from_owners.T}.items():
        values = jax.ShapeDtypeStruct((len(owner), width), np.float64)
        token = jax.ShapeDtypeStruct((), np.float32)
        lowered = jax.jit(lambda v, t, m=matrix: (m @ v, t + 0)).lower(values, token)
        function = lowered.as_text().replace("public @main", f"private @{name}")
        function = function[function.index("func.func") : function.rindex("}")]
        end = text.rindex("}")
        text = text[:end] + function + text[end:]
    with lowered.compiler_ir("stablehlo").context, ir.Location.unknown():
        needed = stablehlo.StablehloCompatibilityRequirement.WEEK_4
        version = stablehlo.get_version_from_compatibility_requirement(needed)
        artifact = stablehlo.serialize_portable_artifact(ir.Module.parse(text), version)
    # of the same inputs and outputs
    other = jax.export.export(jax.jit(lambda *inputs: (inputs[0].sum(), inputs[0])))(*arguments)
    kept = tuple(range(len(arguments)))
    return dataclasses.replace(
        other, mlir_module_serialized=artifact, module_kept_var_idx=kept
    ), called


def test_the_file_holds_a_program_that_gives_our_numbers(potential, expected, tmp_path):
    path = tmp_path / "waters.lammps-jax.json"
    settings = {"max_atoms": MAX_ATOMS, "neighbours": NEIGHBOURS, "platform": "cpu"}
    content = export_lammps(potential, path, ["O", "H"], **settings)
    assert json.loads(path.read_text()) == content
    contract = content["contract"]
    assert contract["cutoff"] == potential.config.cutoff and contract["unit_style"] == "metal"
    assert contract["n_hops"] == 1 and contract["newton"] == "on" and contract["n_species"] == 2
    # x and chi, once per layer
    assert contract["comm_widths"] == [12 + 3 + 5] * potential.config.layers

    box = waters()
    rows = rows_of_domains(box, potential.config.cutoff, [])
    arguments = padded(rows, box, potential, MAX_ATOMS, MAX_ATOMS * NEIGHBOURS)
    owner = np.arange(MAX_ATOMS)
    owner[: len(rows[2])] = rows[2]
    with precision_context(potential.dtype):
        program, called = loaded(content, "energy_and_forces_mlir", owner, arguments)
        energy, found = jax.tree.map(np.asarray, program.call(*arguments))
    layers = potential.config.layers
    assert called == ["forward"] * layers + ["reverse"] * layers
    forces = np.zeros((len(box), 3))
    np.add.at(forces, rows[1], found[: len(rows[1])])
    assert energy == pytest.approx(expected[0].sum(), abs=1e-8)
    assert np.abs(forces - expected[1]).max() < 1e-10


def test_without_the_exchange_the_numbers_would_be_wrong(potential, expected):
    """What the exchange is for: ghosts of one cutoff alone know too little."""
    box = waters()
    rows = rows_of_domains(box, potential.config.cutoff, [])
    arguments = padded(rows, box, potential, len(rows[0]), len(rows[4]))
    energies = domain_energies(potential, ["O", "H"], with_shift=False)
    graph = lammps_jax.LammpsNeighborList(*arguments[4:])
    alone = Rows(np.arange(len(rows[0])))
    with precision_context(potential.dtype):
        found = jax.jit(lambda *inputs: energies(*inputs, graph, alone))(*arguments[:2])
    found = np.asarray(found)[~rows[3]]
    assert np.abs(found).max() < 100  # the elements' own are left out
    wrong = found + SHIFT[box.numbers] - expected[0]
    assert np.abs(wrong).max() > 1e-3


@pytest.mark.parametrize(
    ("config", "reason"),
    [
        (small_config(**PHYSICS), "has repulsion, electrostatics, dispersion"),
        (small_config(charge_embedding=True), "hands out the molecule's charge"),
        (small_config(spherical_radius=1.0), "has a spherical neighbourhood"),
        (GeomAttConfig(), "is no So3krates"),
    ],
)
def test_what_a_domain_cannot_compute_is_refused(config, reason, tmp_path):
    potential = Potential(config, {}) if isinstance(config, GeomAttConfig) else None
    potential = potential or small_potential(config)
    with pytest.raises(UserError, match=f"This potential {reason}.*LammpsForces"):
        export_lammps(potential, tmp_path / "no.json", ["O"], max_atoms=10, neighbours=5)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        ({"max_atoms": 0}, "max_atoms = 0 is not possible"),
        ({"neighbours": 0}, "neighbours = 0 is not possible"),
        ({"platform": "tpu"}, "platform = 'tpu' is not possible"),
        ({"precision": "float16"}, "choose float32 or float64"),
        ({"elements": ["Xe"]}, "Xe"),
        ({"elements": ["water"]}, "symbols such as O and H"),
    ],
)
def test_arguments_that_are_not_possible_are_told(potential, tmp_path, wrong, told):
    settings = {"elements": ["O", "H"], "max_atoms": 10, "neighbours": 5} | wrong
    with pytest.raises(UserError, match=told):
        export_lammps(potential, tmp_path / "no.json", **settings)
    assert not list(tmp_path.iterdir())


def test_the_command_writes_a_file_and_says_what_fits(potential, tmp_path, capsys):
    potential.save(tmp_path / "model.safetensors")
    out = tmp_path / "out.json"
    room = "--elements O H --max-atoms 40 --neighbours 5 --platform cpu --precision float32".split()
    assert main(["export", str(tmp_path / "model.safetensors"), "--lammps", str(out), *room]) == 0
    told = capsys.readouterr().out
    assert "40 atoms and 200 pairs" in told and "2 exchanges of 20 numbers" in told
    assert "without the elements' own" in told
    assert json.loads(out.read_text())["contract"]["precision"] == "float32"
