"""i-PI asks for forces through a socket, and a potential answers.

i-PI moves atoms, as classical particles or as rings of beads that stand for their quantum nature,
and knows no forces. It listens on a socket; whoever connects gets positions and returns energy,
forces and virial. The beads of a ring are independent of each other: as many clients as there are
may connect, each takes the next bead that waits, and one that is lost is replaced by the others.

The protocol's messages are ASE's; the conversation is written out here, so that a server that does
not answer, or leaves, ends in a sentence.

Source: Litman et al., J. Chem. Phys. 161, 062504 (2024).
"""

from __future__ import annotations

import socket
import time
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from ase.calculators.socketio import IPIProtocol, SocketClosed

from so3krates_lite.errors import UserError, require
from so3krates_lite.potential import Potential
from so3krates_lite.runtime.files import replacing, write_atomically
from so3krates_lite.simulate.calculator import So3kratesCalculator

if TYPE_CHECKING:
    from ase import Atoms

PREFIX = "/tmp/ipi_"  # where i-PI puts its unix sockets
PORT = 31415
EVERY = 0.2  # s between two knocks at a door that is not open yet


def serve(
    potential: Potential | str | PathLike,
    atoms: Atoms,
    *,
    unix: str | None = None,
    address: str = "localhost",
    port: int = PORT,
    timeout: float = 60.0,
    **settings: Any,
) -> int:
    """Answer a server that speaks i-PI's protocol until it says that it is done.

    Args:
        potential: a `Potential` or `Ensemble`, its file, or the name of one
        atoms: elements in the server's order, whether cells are periodic, and charge and spin if
            the potential reads them; positions and cell come from the server
        unix: name of a unix socket as in i-PI's input, where it stands for a file in /tmp; or a
            path; None: ``address`` and ``port``
        address, port: of the server
        timeout: how many seconds to wait for the server to listen
        settings: as of `So3kratesCalculator`

    Returns:
        how many structures were computed

    Raises:
        UserError: nobody listens there, the server leaves without saying so or sends another number
            of atoms, or the potential cannot compute what it is sent
    """
    atoms = atoms.copy()
    atoms.calc = So3kratesCalculator(potential, **settings)
    _compute(atoms)  # so that what cannot be computed is told at once, and all is compiled
    where: Any = (address, port)
    if unix is not None:
        where = unix if "/" in unix else PREFIX + unix
    name = where if unix is not None else f"{address}:{port}"
    with _connected(where, timeout, name) as connection:
        return _answer(IPIProtocol(connection), atoms, name)


def _connected(where: Any, timeout: float, name: str) -> socket.socket:
    """A connection, as soon as someone listens there."""
    end = time.monotonic() + timeout
    while True:
        try:
            return _knock(where, max(end - time.monotonic(), EVERY))
        except (OSError, OverflowError) as error:
            if time.monotonic() + EVERY > end or isinstance(error, OverflowError):
                raise UserError(
                    f"Nobody listens at {name} ({error}): start i-PI, with this address in its "
                    f"input, or wait longer than {timeout:g} s."
                ) from None
        time.sleep(EVERY)


def _knock(where: Any, seconds: float) -> socket.socket:
    """A connection to a unix socket's path, or to an address and port."""
    if not isinstance(where, str):
        connection = socket.create_connection(where, timeout=seconds)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    else:
        connection = socket.socket(socket.AF_UNIX)
        try:
            connection.connect(where)
        except OSError:
            connection.close()
            raise
    connection.settimeout(None)  # between two steps a server may take its time
    return connection


def _answer(protocol: IPIProtocol, atoms: Atoms, name: str) -> int:
    """The conversation; see the protocol in i-PI's manual."""
    computed, found = 0, None
    try:
        while (message := protocol.recvmsg()) != "EXIT":
            if message == "STATUS":
                protocol.sendmsg("READY" if found is None else "HAVEDATA")
            elif message == "INIT":  # nobody asked, but some send it
                protocol.recvinit()
            elif message == "POSDATA":
                cell, _, positions = protocol.recvposdata()
                if len(positions) != len(atoms):
                    raise UserError(
                        f"{name} sends {len(positions)} atoms, and the structure given here has "
                        f"{len(atoms)}: give the structure that the server begins with."
                    )
                atoms.positions = positions
                if atoms.pbc.any():
                    atoms.cell[:] = cell
                found = _compute(atoms)
                computed += 1
            elif message == "GETFORCE" and found is not None:
                protocol.sendforce(*found)
                found = None
            else:
                raise UserError(f"{name} says {message!r}, which is none of i-PI's: what is it?")
    except (SocketClosed, ConnectionError):
        raise UserError(
            f"{name} left without a word after {computed} structures: see what it says itself."
        ) from None
    return computed


def _compute(atoms: Atoms) -> tuple[float, np.ndarray, np.ndarray]:
    """Energy (eV), forces (eV/Å) and virial (eV)."""
    energy, forces = atoms.get_potential_energy(), atoms.get_forces()
    if not (np.isfinite(energy) and np.isfinite(forces).all()):
        raise UserError("Energy or forces are no number here: take a shorter time step.")
    virial = np.zeros((3, 3))
    if atoms.pbc.any():
        virial = -atoms.get_volume() * atoms.get_stress(voigt=False)
    return energy, forces, virial


INPUT = """\
<simulation verbosity='low'>
  <output prefix='run'>
    <properties stride='{every}' filename='out'>
      [step, time{{picosecond}}, conserved{{electronvolt}}, temperature{{kelvin}},
       kinetic_cv{{electronvolt}}, potential{{electronvolt}}]
    </properties>
    <trajectory stride='{every}' filename='pos' format='ase'> positions </trajectory>
    <checkpoint stride='1000'/>
  </output>
  <total_steps>{steps}</total_steps>
  <prng> <seed>{seed}</seed> </prng>
  <ffsocket name='so3krates' mode='{mode}' pbc='false'>
    <address>{address}</address>{port}
    <latency>1e-3</latency>
  </ffsocket>
  <system>
    <initialize nbeads='{beads}'>
      <file mode='ase'> start.extxyz </file>
      <velocities mode='thermal' units='kelvin'> {temperature} </velocities>
    </initialize>
    <forces> <force forcefield='so3krates'/> </forces>
    <motion mode='dynamics'>
      <dynamics mode='nvt'>
        <timestep units='femtosecond'> {time_step} </timestep>
        <thermostat mode='pile_g'>
          <tau units='femtosecond'> 100 </tau> <pile_lambda> 0.5 </pile_lambda>
        </thermostat>
      </dynamics>
    </motion>
    <ensemble> <temperature units='kelvin'> {temperature} </temperature> </ensemble>
  </system>
</simulation>
"""


def write_ipi_input(
    atoms: Atoms,
    folder: str | PathLike,
    *,
    unix: str | None = "so3krates",
    address: str = "localhost",
    port: int = PORT,
    beads: int = 32,
    temperature_K: float = 300.0,
    time_step_fs: float = 0.25,
    steps: int = 1000,
    every: int = 10,
    seed: int = 1,
) -> Path:
    """Write input.xml and start.extxyz for path integrals at constant temperature, to begin with.

    ``beads=1`` is classical dynamics; 32 are usual for water at 300 K. A molecule is put into a
    cell of 100 Å that means nothing. ``unix``, ``address`` and ``port`` as of `serve`.

    Returns:
        the input's path, for ``i-pi input.xml``, to be called in its folder
    """
    from ase.io import write

    require(beads >= 1, "beads", beads, "a whole number from 1 upwards")
    require(temperature_K > 0, "temperature_K", temperature_K, "a temperature above 0")
    bare = atoms.copy()
    if not bare.pbc.any():
        bare.cell, bare.pbc = [100.0] * 3, True
    path = Path(folder) / "input.xml"
    with replacing(path.with_name("start.extxyz")) as start:
        write(start, bare)
    content = INPUT.format(
        mode="unix" if unix else "inet",
        address=unix or address,
        port="" if unix else f" <port>{port}</port>",
        beads=beads,
        temperature=temperature_K,
        time_step=time_step_fs,
        steps=steps,
        every=every,
        seed=seed,
    )
    write_atomically(path, content.encode())
    return path
