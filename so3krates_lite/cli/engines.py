"""The commands that hand a potential to an engine: serve, export."""

from __future__ import annotations

import argparse

from so3krates_lite.cli.options import (
    MODEL_HELP,
    above_zero,
    add_loading,
    add_model_and_data,
    add_precision,
    command,
    file_to_write,
    first_structure,
    load_data,
    load_model,
    positive,
)


def add_serve(commands) -> None:
    parser = command(
        commands,
        "serve",
        _serve,
        "answer i-PI, or who speaks its protocol, with forces",
        "Connects to a server and computes what it sends until it is done; several may answer one\n"
        "server. The first structure tells elements, periodicity and charge. --write puts an\n"
        "input.xml for i-PI into a folder instead.\n\n"
        "  so3krates-lite serve so3lr water.xyz --unix water --write run\n"
        "  (cd run && i-pi input.xml) &\n"
        "  so3krates-lite serve so3lr water.xyz --unix water",
    )
    add_model_and_data(parser)
    where = parser.add_mutually_exclusive_group()
    where.add_argument("--unix", metavar="NAME", help="unix socket in /tmp, or a path with a /")
    where.add_argument("--address", default="localhost", help="of the server [localhost]")
    parser.add_argument("--port", type=positive, default=31415, help="with --address [31415]")
    parser.add_argument(
        "--timeout", type=above_zero, default=60.0, help="seconds to wait for the server [60]"
    )
    add_precision(parser)
    parser.add_argument("--write", metavar="FOLDER", help="write an example for i-PI instead")
    parser.add_argument("--beads", type=positive, default=32, help="in the example [32]")
    add_loading(parser)


def _serve(options: argparse.Namespace) -> None:
    from so3krates_lite.engines.ipi import serve, write_ipi_input

    atoms = first_structure(load_data(options))
    where = {"unix": options.unix, "address": options.address, "port": options.port}
    if options.write:
        path = write_ipi_input(atoms, options.write, beads=options.beads, **where)
        print(f"{path} is written: call i-pi {path.name} in its folder.")
        return
    settings = {"timeout": options.timeout, "precision": options.precision}
    computed = serve(load_model(options), atoms, **where, **settings)
    print(f"{computed} structures computed; the server is done.")


def add_export(commands) -> None:
    parser = command(
        commands,
        "export",
        _export,
        "a compiled program for another engine",
        "For LAMMPS with Kokkos and the pair style jax/kk of lammps-jax; see docs/engines.md.\n\n"
        "  so3krates-lite export runs/water --lammps water.lammps-jax.json --elements O H \\\n"
        "      --max-atoms 8192 --neighbours 64",
    )
    parser.add_argument("model", help=MODEL_HELP)
    parser.add_argument("--lammps", type=file_to_write, required=True, help="the file to write")
    parser.add_argument(
        "--elements", nargs="+", required=True, help="element of each atom type, in order"
    )
    parser.add_argument(
        "--max-atoms", type=positive, required=True, help="of one process, ghosts included"
    )
    parser.add_argument(
        "--neighbours", type=positive, required=True, help="of an atom, on average, and some more"
    )
    parser.add_argument("--platform", choices=("cuda", "cpu"), default="cuda", help="[cuda]")
    add_precision(parser)


def _export(options: argparse.Namespace) -> None:
    from so3krates_lite.engines.lammps_export import export_lammps

    content = export_lammps(
        options.model,
        options.lammps,
        options.elements,
        max_atoms=options.max_atoms,
        neighbours=options.neighbours,
        precision=options.precision,
        platform=options.platform,
    )
    contract = content["contract"]
    print(
        f"{options.lammps} is written: {contract['max_atoms']} atoms and {contract['max_edges']} "
        f"pairs at most in each process, {len(contract['comm_widths'])} exchanges of "
        f"{contract['comm_widths'][0]} numbers per atom."
    )
    if options.precision == "float32":
        print("Its energies are without the elements' own, which float32 has no digits for.")
