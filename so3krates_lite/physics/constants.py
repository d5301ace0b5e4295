"""The constants that the terms were trained with: CODATA 2014, as in ASE.

They are part of the trained model, and differ from the package's own (`units`, CODATA 2018) by
less than 3e-8.
"""

from __future__ import annotations

COULOMB = 14.399645351950548  # e^2 / (4 pi epsilon_0), eV Å
BOHR = 0.5291772105638411  # Å
HARTREE = 27.211386024367243  # eV
FINE_STRUCTURE = 0.0072973525664
