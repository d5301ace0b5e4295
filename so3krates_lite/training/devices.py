"""Training on several devices: each takes its share of a step's frames.

The weights are the same everywhere. Of a step's frames each device gets as many as any other,
computes the gradient of its share, and all add up what they have found; so the numbers are those of
one device, to rounding. Devices may be in one machine or in several: then one process runs on each
machine, all of them do the same, and the first one writes (`join`).
"""

from __future__ import annotations

import socket
import time
from typing import Any, TypeVar

import jax
import numpy as np
from jax.sharding import Mesh, NamedSharding

from so3krates_lite.errors import UserError, require
from so3krates_lite.runtime.devices import EVERYWHERE, Number, row_of

Tree = TypeVar("Tree")

HEARTBEAT_S = 30  # after which a process that says nothing is taken as lost


def mesh_of(number: Number, batch_size: int) -> Mesh | None:
    """The devices to train on, in a row; None where one is enough.

    Args:
        number: how many, or "all" that there are, those of other processes included
        batch_size: of a step, which is shared evenly

    Raises:
        UserError: there are not so many, or the batch cannot be shared evenly
    """
    mesh = row_of(number)
    number = 1 if mesh is None else mesh.size
    if batch_size % number:
        raise UserError(
            f"A batch of {batch_size} frames cannot be shared evenly by {number} devices: take a "
            f"batch_size that is a multiple of {number}, or fewer devices."
        )
    return mesh


def on_all(tree: Tree, mesh: Mesh | None) -> Tree:
    """The same arrays on every device of the mesh."""
    if mesh is None:
        return tree
    place = NamedSharding(mesh, EVERYWHERE)
    if jax.process_count() == 1:
        return jax.device_put(tree, place)

    def copied(leaf: Any) -> jax.Array:
        value = np.asarray(leaf)
        return jax.make_array_from_callback(value.shape, place, lambda index: value[index])

    return jax.tree.map(copied, tree)


def is_first() -> bool:
    """Whether this process is the one that writes files and shows progress."""
    return jax.process_index() == 0


def join(coordinator: str, processes: int, process: int, timeout_s: float = 60.0) -> None:
    """Take part in a training of several processes; to be called before anything is computed.

    All of them call it with the same address and number. They wait for one another first, in plain
    sockets, since JAX ends a process whose partners do not appear without a word to Python.

    Args:
        coordinator: "host:port" of the first process's machine, as all can reach it
        processes: how many there are
        process: which one this is, from 0
        timeout_s: how long to wait for the others

    Raises:
        UserError: an impossible argument, or the others did not appear in time
    """
    host, colon, port = coordinator.rpartition(":")
    if not (host and colon and port.isdecimal() and 0 < int(port) < 65536):
        raise UserError(f'coordinator = {coordinator!r}: give "host:port", such as "node1:12345".')
    require(processes > 1, "processes", processes, "2 or more")
    inside = 0 <= process < processes
    require(inside, "process", process, f"0 to {processes - 1}")
    meet((host, int(port)), processes, process, timeout_s)
    jax.distributed.initialize(
        coordinator,
        processes,
        process,
        initialization_timeout=max(round(timeout_s), 1),
        heartbeat_timeout_seconds=HEARTBEAT_S,
    )


def meet(address: tuple[str, int], processes: int, process: int, timeout_s: float) -> None:
    """Return when all processes have called this; a `UserError` says who has not."""
    end = time.monotonic() + timeout_s
    if process:
        while True:
            try:
                with socket.create_connection(address, timeout=1) as line:
                    line.settimeout(max(end - time.monotonic(), 0.1))
                    line.sendall(process.to_bytes(4, "big"))
                    if line.recv(1) == b"!":
                        return
            except OSError:
                pass
            if time.monotonic() > end:
                raise UserError(
                    f"Process {process} found no first process at {address[0]}:{address[1]} within "
                    f"{timeout_s:g} s: check the address, and that process 0 is running there."
                )
            time.sleep(0.1)
    missing, lines = set(range(1, processes)), []
    with socket.create_server(("", address[1]), reuse_port=False) as door:
        while missing:
            door.settimeout(max(end - time.monotonic(), 0.1))
            try:
                line, _ = door.accept()
                line.settimeout(5)
                missing.discard(int.from_bytes(line.recv(4), "big"))
                lines.append(line)
            except TimeoutError:
                names = ", ".join(map(str, sorted(missing)))
                raise UserError(
                    f"Of {processes} processes, {names} did not appear at {address[0]}:"
                    f"{address[1]} within {timeout_s:g} s: check that all were started, and that "
                    f"they reach this machine."
                ) from None
    for line in lines:
        line.sendall(b"!")
        line.close()


def partner_lost(error: Exception) -> UserError:
    """What is told where a process of several has ended."""
    return UserError(
        "Another process of this training has ended, so this one ends, too "
        f"({str(error).splitlines()[0][:120]}). The run is kept as of the last whole epoch: start "
        "all processes again with resume (--resume)."
    )
