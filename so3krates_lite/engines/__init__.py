"""Simulation engines of others, driven by a potential of ours: i-PI, OpenMM, LAMMPS; catalogues."""

from so3krates_lite.runtime.faces import face

__getattr__, __dir__, __all__ = face(
    __name__,
    {
        "LammpsForces": "lammps",
        "catalogued": "catalogues",
        "export_lammps": "lammps_export",
        "openmm_system": "openmm",
        "serve": "ipi",
        "write_ipi_input": "ipi",
    },
)
