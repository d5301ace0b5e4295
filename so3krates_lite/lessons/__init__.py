"""What the lessons' notebooks lean on: checks that answer an exercise in a helpful sentence.

A check takes the learner's function, tries it on small arrays whose answer is known, and returns a
`Feedback`. It never raises: an exercise that nobody has touched says so, and one that fails says
what is wrong as precisely as it can. A check knows the plausible mistakes by computing them: a
result that equals a mistake's result names the mistake.
"""

from so3krates_lite.lessons.attention import (
    check_both_ends,
    check_coefficient,
    check_geometric_message,
    check_softmax_weights,
)
from so3krates_lite.lessons.explorer import check_listened, check_paths, check_rank_correlation
from so3krates_lite.lessons.feedback import RIGHT, UNTOUCHED, WRONG, Feedback
from so3krates_lite.lessons.filters import (
    check_convolve,
    check_network,
    check_silence,
)
from so3krates_lite.lessons.geomatt import (
    check_order_three,
    check_reach,
    check_same_chains,
    check_without,
)
from so3krates_lite.lessons.growing import (
    check_best_edge,
    check_joined,
    check_pairs_expected,
    check_quantum_over_classical,
    check_waste,
)
from so3krates_lite.lessons.harmonics import (
    check_direction,
    check_lowest_degree,
    check_mirror_signs,
    check_turn_about_z,
)
from so3krates_lite.lessons.length_scales import (
    check_charge_floor,
    check_longest_chain,
    check_nearness,
)
from so3krates_lite.lessons.model import check_count, check_couples, check_numerical_forces
from so3krates_lite.lessons.molecules import (
    check_gradient_to_force,
    check_invariance_test,
    check_neighbour_count,
    check_smoother_cutoff,
)
from so3krates_lite.lessons.so3lr import (
    check_dipole_length,
    check_electrostatic_energy,
    check_spread_missing,
)
from so3krates_lite.lessons.sphcs import (
    check_far_twins,
    check_first_degree,
    check_length_from_angles,
    check_safe_length,
)
from so3krates_lite.lessons.tour import check_force_error, check_listener, check_mirror
from so3krates_lite.lessons.training import (
    check_frames_needed,
    check_padded_loss,
    check_whole_walkers,
    check_work_slope,
)
from so3krates_lite.lessons.using import (
    check_force_deviation,
    check_kinetic_temperature,
    check_spring_wavenumber,
    check_zero_point_energy,
)

__all__ = [
    "RIGHT",
    "UNTOUCHED",
    "WRONG",
    "Feedback",
    "check_best_edge",
    "check_both_ends",
    "check_charge_floor",
    "check_coefficient",
    "check_convolve",
    "check_count",
    "check_couples",
    "check_dipole_length",
    "check_direction",
    "check_electrostatic_energy",
    "check_far_twins",
    "check_first_degree",
    "check_force_deviation",
    "check_force_error",
    "check_frames_needed",
    "check_geometric_message",
    "check_gradient_to_force",
    "check_invariance_test",
    "check_joined",
    "check_kinetic_temperature",
    "check_length_from_angles",
    "check_listened",
    "check_listener",
    "check_longest_chain",
    "check_lowest_degree",
    "check_mirror",
    "check_mirror_signs",
    "check_nearness",
    "check_neighbour_count",
    "check_network",
    "check_numerical_forces",
    "check_order_three",
    "check_padded_loss",
    "check_pairs_expected",
    "check_paths",
    "check_quantum_over_classical",
    "check_rank_correlation",
    "check_reach",
    "check_safe_length",
    "check_same_chains",
    "check_silence",
    "check_smoother_cutoff",
    "check_softmax_weights",
    "check_spread_missing",
    "check_spring_wavenumber",
    "check_turn_about_z",
    "check_waste",
    "check_whole_walkers",
    "check_without",
    "check_work_slope",
    "check_zero_point_energy",
]
