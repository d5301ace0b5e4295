"""A potential put to use: ASE's calculator, relaxation, vibrations, dynamics, quicker filters."""

from so3krates_lite.runtime.faces import face

__getattr__, __dir__, __all__ = face(
    __name__,
    {
        "So3kratesCalculator": "calculator",
        "fit_filters": "polynomial_filters",
        "infrared_spectrum": "spectra",
        "power_spectrum": "spectra",
        "relax": "dynamics",
        "run_md": "molecular_dynamics",
        "run_nve": "dynamics",
        "measure_stability": "stability",
        "vibrations": "modes",
    },
)
