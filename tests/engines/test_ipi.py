"""Clients of i-PI: the numbers that arrive there are ours, and every end is a sentence."""

from __future__ import annotations

import dataclasses
import os
import socket
import subprocess
import sysconfig
import threading
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from ase.calculators.socketio import SocketIOCalculator
from ase.io import read, write
from waters import water_potential, waters

from so3krates_lite.cli import main
from so3krates_lite.engines.ipi import serve, write_ipi_input
from so3krates_lite.errors import UserError
from so3krates_lite.simulate.calculator import So3kratesCalculator

pytestmark = pytest.mark.usefixtures("quick_compilation")

BEADS, STEPS = 4, 3


@pytest.fixture(scope="module")
def potential(quick_compilation):
    return water_potential()


@pytest.fixture
def free_port() -> int:
    with socket.socket() as taken:
        taken.bind(("localhost", 0))
        return taken.getsockname()[1]


@contextmanager
def client(*arguments, **named):
    """`serve` beside us; its result, or what it raised, is there when the block has been left."""
    found = []

    def work() -> None:
        try:
            found.append(serve(*arguments, **named))
        except UserError as error:
            found.append(error)

    thread = threading.Thread(target=work)
    thread.start()
    try:
        yield found
    finally:
        thread.join(timeout=120)
        assert not thread.is_alive()


def test_two_clients_share_the_beads_of_i_pi_and_their_energies_are_ours(
    potential, tmp_path, capsys
):
    pytest.importorskip("ipi", reason="needs the extra [engines]")
    atoms, name = waters()[:6], f"so3krates-test-{os.getpid()}"
    atoms.pbc = False
    # ASE's hartree and i-PI's differ by 1e-7 of it: without the elements' thousands of eV
    potential = dataclasses.replace(potential, element_shift=np.zeros(100))
    potential.save(tmp_path / "model.safetensors")
    write(tmp_path / "waters.xyz", atoms)
    settings = {"beads": BEADS, "steps": STEPS, "every": 1}
    write_ipi_input(atoms, tmp_path, unix=name, **settings)
    i_pi = Path(sysconfig.get_path("scripts"), "i-pi")
    with (tmp_path / "log").open("w") as log:
        server = subprocess.Popen(
            [i_pi, "input.xml"], cwd=tmp_path, stdout=log, stderr=subprocess.STDOUT
        )
        try:
            with client(potential, atoms, unix=name) as found:
                files = map(str, (tmp_path / "model.safetensors", tmp_path / "waters.xyz"))
                assert main(["serve", *files, "--unix", name]) == 0
            assert server.wait(timeout=60) == 0, (tmp_path / "log").read_text()
        finally:
            server.kill()
            server.wait()
    other = int(capsys.readouterr().out.split()[0])
    assert found[0] > 0 and other > 0 and found[0] + other == BEADS * (STEPS + 1)

    energy = np.loadtxt(tmp_path / "run.out")[:, 5]
    beads = [read(tmp_path / f"run.pos_{k}.extxyz", ":") for k in range(BEADS)]
    for step in range(STEPS + 1):
        ours = []
        for bead in beads:
            atoms.positions = bead[step].positions
            atoms.calc = So3kratesCalculator(potential)
            ours.append(atoms.get_potential_energy())
        assert energy[step] == pytest.approx(np.mean(ours), abs=2e-6)
    assert np.ptp(energy) > 1e-3  # they moved
    assert np.abs(beads[0][-1].positions - beads[1][-1].positions).max() > 1e-3  # by themselves


def test_a_server_of_ase_gets_energy_forces_and_stress_of_the_cell_it_sends(potential, free_port):
    began, now = waters(), waters()
    now.rattle(0.1, seed=3)
    now.set_cell(now.cell.array @ [[1, 0, 0], [0.1, 1.05, 0], [0, -0.1, 1]], scale_atoms=True)
    expected = now.copy()
    expected.calc = So3kratesCalculator(potential)
    with (
        client(potential, began, port=free_port) as found,
        SocketIOCalculator(port=free_port, timeout=60) as now.calc,
    ):
        assert now.get_potential_energy() == pytest.approx(expected.get_potential_energy())
        assert np.abs(now.get_forces() - expected.get_forces()).max() < 1e-10
        assert np.abs(now.get_stress() - expected.get_stress()).max() < 1e-10
        now.calc.server.protocol.end()
    assert found == [1]


def test_a_server_that_leaves_without_a_word_ends_in_a_sentence(potential, free_port):
    atoms = waters()
    with (
        client(potential, atoms, port=free_port) as found,
        SocketIOCalculator(port=free_port, timeout=60) as atoms.calc,
    ):
        atoms.get_potential_energy()
    assert "left without a word after 1 structures" in str(found[0])


def test_another_number_of_atoms_is_told(potential, free_port):
    fewer = waters()[:6]
    with (
        client(potential, waters(), port=free_port) as found,
        SocketIOCalculator(port=free_port, timeout=60) as fewer.calc,
        pytest.raises(OSError),  # what ASE says of a client that has left
    ):
        fewer.get_potential_energy()
    assert "sends 6 atoms, and the structure given here has 24" in str(found[0])


def test_who_speaks_another_language_is_told(potential):
    with (
        socket.create_server(("localhost", 0)) as server,
        client(potential, waters(), port=server.getsockname()[1]) as found,
        server.accept()[0] as connection,
    ):
        connection.sendall(b"HTTP/1.1 200 OK")
    assert "says 'HTTP/1.1 200', which is none of i-PI's" in str(found[0])


@pytest.mark.parametrize("where", [{"unix": "so3krates-nobody"}, {"port": 1}, {"port": 99_999}])
def test_nobody_at_the_address_ends_in_a_sentence(potential, where):
    with pytest.raises(UserError, match=r"Nobody listens at .*: start i-PI"):
        serve(potential, waters(), timeout=0.3, **where)


def test_what_cannot_be_computed_is_told_before_anyone_is_called(potential):
    strange = waters()
    strange.symbols[0] = "Xe"
    with pytest.raises(UserError, match="Xe"):
        serve(potential, strange, unix="so3krates-nobody", timeout=1e-3)


def test_an_example_that_cannot_be_leaves_nothing_behind(tmp_path):
    with pytest.raises(UserError, match="beads = 0 is not possible"):
        write_ipi_input(waters(), tmp_path, beads=0)
    assert not list(tmp_path.iterdir())


def test_the_command_writes_an_example(tmp_path, capsys):
    write(tmp_path / "waters.xyz", waters())
    where = ["--unix", "here", "--write", str(tmp_path / "run"), "--beads", "8"]
    assert main(["serve", "ethanol-gfn2", str(tmp_path / "waters.xyz"), *where]) == 0
    text = (tmp_path / "run" / "input.xml").read_text()
    assert "nbeads='8'" in text and "<address>here</address>" in text
    assert (tmp_path / "run" / "start.extxyz").exists() and "i-pi" in capsys.readouterr().out
