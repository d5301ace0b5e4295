"""Terms of the energy that are known beforehand: repulsion, electrostatics, dispersion."""
