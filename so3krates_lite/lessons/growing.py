"""Checks of lesson 13, growing."""

from __future__ import annotations

import numpy as np

from so3krates_lite.lessons.feedback import (
    Attempt,
    Wrong,
    exercise,
    of_shape,
    one_number,
    refuse,
    whole_number,
)


@exercise
def check_waste(waste: Attempt) -> str:
    """Lesson 13, exercise 1: ``waste(sizes)``, the share of places that hold nothing."""
    sizes = np.array([9, 3, 12, 7, 12])
    value, right = one_number(waste(sizes)), 1 - sizes.mean() / sizes.max()
    if np.isclose(value, right):
        return "every structure takes as much room as the largest."
    places = len(sizes) * sizes.max()
    mistakes = {
        "that is the share of places that are filled; the rest is asked for.": 1 - right,
        "that is a number of places; divide it by how many there are.": places - sizes.sum(),
        "a share of all places is asked for, filled or not; you divided by the filled ones.": (
            places - sizes.sum()
        )
        / sizes.sum(),
        "in per cent; a share between 0 and 1 is asked for.": 100 * right,
        "a batch has the size of its largest structure, not of its first.": (
            1 - sizes.sum() / (len(sizes) * sizes[0])
        ),
    }
    refuse(value, mistakes)
    raise Wrong(f"for 9, 3, 12, 7 and 12 atoms {right:.3f} is expected, yours gives {value:.3f}.")


def places_of_two(sizes: np.ndarray, edge: int | np.integer) -> int:
    """Places in two batches, one with all structures of up to ``edge`` atoms."""
    small = sizes <= edge
    return sum(len(part) * int(part.max()) for part in (sizes[small], sizes[~small]) if len(part))


@exercise
def check_best_edge(best_edge: Attempt) -> str:
    """Lesson 13, exercise 2: ``best_edge(sizes)``, the largest size of the smaller bucket."""
    for sizes in ([3] * 4 + [5] * 30 + [20] * 3 + [9], [2] * 8 + [30] * 20 + [40] * 50):
        of = np.random.default_rng(1).permutation(np.array(sizes))
        there, number = (found.tolist() for found in np.unique(of, return_counts=True))
        places = {edge: places_of_two(of, edge) for edge in there}
        right = min(places, key=lambda edge: places[edge])
        edge = whole_number(best_edge(of), "the largest size of the smaller bucket")
        if places_of_two(of, edge) == places[right]:
            continue
        above = there[there.index(right) + 1]
        mistakes = {
            "that is the smallest size of the larger bucket; give the largest of the smaller.": (
                above
            ),
            "with the edge at the largest size there is one bucket, not two.": int(of.max()),
            "that is how many places there are; give the edge that makes them fewest.": (
                places[right]
            ),
            "the middle of the sizes is not where least is wasted: try every size as the edge.": (
                int(np.median(of)),
                int(of.mean()),
            ),
        }
        refuse(edge, mistakes)
        counts = ", ".join(f"{n} of {size} atoms" for size, n in zip(there, number, strict=True))
        raise Wrong(
            f"for {counts} an edge of {right} makes {places[right]} places; yours, {edge}, "
            f"{places_of_two(of, edge)}."
        )
    return "two shapes to compile, and most of the waste is gone."


@exercise
def check_pairs_expected(pairs_expected: Attempt) -> str:
    """Lesson 13, exercise 3: ``pairs_expected(n, density, cutoff)``, undirected pairs."""
    n, density, cutoff = 1000, 0.08, 4.5
    value = one_number(pairs_expected(n, density, cutoff))
    sphere = 4 / 3 * np.pi * cutoff**3
    right = n * density * sphere / 2
    if np.isclose(value, right, rtol=1e-3):
        return "it grows with the number of atoms, and with the third power of the cutoff."
    mistakes = {
        "each pair is counted from both ends: take half.": 2 * right,
        "that is the number of neighbours of one atom.": density * sphere,
        "half the neighbours of one atom; how many pairs do n atoms make?": density * sphere / 2,
        "the volume of a sphere is 4π/3 r³; yours is its surface times something.": (
            n * density * 4 * np.pi * cutoff**2 / 2
        ),
        "the volume of a sphere is 4π/3 r³.": (
            n * density * cutoff**3 / 2,
            n * density * np.pi * cutoff**3 / 2,
            n * density * 4 * np.pi * cutoff**3 / 2,
            n * density * (2 * cutoff) ** 3 / 2,
        ),
        "with a cutoff an atom does not meet all others: that is what makes it cheap.": (
            n * (n - 1) / 2,
            n**2 / 2,
        ),
    }
    refuse(value, mistakes, rtol=2e-3)
    raise Wrong(
        f"for 1000 atoms at 0.08 per Å³ and a cutoff of 4.5 Å {right:.0f} pairs are expected, "
        f"yours gives {value:.0f}."
    )


@exercise
def check_joined(joined: Attempt) -> str:
    """Lesson 13, exercise 4: ``joined(means, counts)``, of devices, to the mean of all."""
    rng = np.random.default_rng(3)
    counts = np.array([4.0, 4, 4, 1])
    means = rng.normal(size=(4, 5))
    value = of_shape(joined(means, counts), (5,), "one mean of all frames per weight")
    right = counts @ means / counts.sum()
    if np.allclose(value, right):
        return "sums may be joined in any order and any grouping; means may not."
    mistakes = {
        "the last device has one frame and counts as much as those with four: weigh them.": (
            means.mean(axis=0)
        ),
        "that is the sum over all frames; divide by how many there are.": counts @ means,
        "you divided by the number of devices; the weights are numbers of frames.": (
            counts @ means / len(counts)
        ),
        "that is a sum of means.": means.sum(axis=0),
        "a device with more frames counts more, not less.": (
            (means / counts[:, None]).sum(axis=0) / (1 / counts).sum()
        ),
    }
    refuse(value, mistakes)
    raise Wrong(f"the first number should be {right[0]:.4f}, yours is {value[0]:.4f}.")


def quantum_share(beads: int, u: float) -> float:
    """⟨x²⟩ of an oscillator in ``beads`` copies over kT/(mω²), with u = ħω/kT."""
    k = np.arange(beads)
    return float(np.sum(u**2 / (u**2 + (2 * beads * np.sin(np.pi * k / beads)) ** 2)))


@exercise
def check_quantum_over_classical(quantum_over_classical: Attempt) -> str:
    """Lesson 13, exercise 5: ``quantum_over_classical(beads, u)``, with u = ħω/kT."""
    for beads, u in ((1, 4.0), (6, 5.0)):
        value, right = one_number(quantum_over_classical(beads, u)), quantum_share(beads, u)
        if np.isclose(value, right, rtol=1e-4):
            continue
        k = np.arange(beads)
        sine = np.sin(np.pi * k / beads)

        def over(*squares: np.ndarray, u: float = u) -> tuple[float, ...]:
            return tuple(float(np.sum(u**2 / (u**2 + each))) for each in squares)

        mistakes = {
            "a sum over all modes of the ring, not their mean.": right / beads,
            "the sum begins with k = 0, the motion of the whole ring.": right - 1,
            "the spring's square is (2P sin(πk/P))²: the 2 and the P belong into the square.": over(
                (2 * sine) ** 2, (beads * sine) ** 2, 2 * (beads * sine) ** 2
            ),
            "the sine is squared, too.": over(4 * beads**2 * abs(sine), 4 * beads**2 * sine),
            "half a turn for all k, sin(πk/P), not a whole one.": over(
                (2 * beads * np.sin(2 * np.pi * k / beads)) ** 2
            ),
            "that is the limit of infinitely many copies; P of them are asked for.": (
                u / 2 / np.tanh(u / 2)
            ),
            "u² stands above, so that one copy gives 1.": right / u**2,
        }
        refuse(value, mistakes, rtol=1e-4)
        raise Wrong(
            f"for {beads} {'copy' if beads == 1 else 'copies'} and u = {u:g} {right:.4f} is "
            f"expected, yours gives {value:.4f}."
        )
    return "one copy is the classical atom; many are the quantum one."
