"""Checks of lesson 9, GeomAtt."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from so3krates_lite.lessons.feedback import (
    RIGHT,
    WRONG,
    Feedback,
    as_array,
    attempt,
    known_mistake,
    of_shape,
    whole_number,
)
from so3krates_lite.lessons.points import all_distances


def _links(rng: np.random.Generator, factors: int, n: int, f: int) -> np.ndarray:
    """Random g of each factor, (factors, n, n, f), the same from both ends as in the model."""
    g = rng.normal(size=(factors, n, n, f))
    return (g + g.transpose(0, 2, 1, 3)) / 2


def _chained(factors: Sequence[np.ndarray]) -> np.ndarray:
    """The matrix product of all factors, for each component of its own."""
    chain = factors[0]
    for g in factors[1:]:
        chain = np.einsum("ilf,ljf->ijf", chain, g)
    return chain


def check_order_three(order_three: Callable) -> Feedback:
    """Lesson 9, exercise 1: ``order_three(g, g2, spacing)``, C_ij from two factors (n, n, f).

    C_ij = spacing * sum over f and over l of g_il g2_lj.
    """
    n, f, spacing = 5, 3, 0.05
    g, h = _links(np.random.default_rng(0), 2, n, f)
    result, trouble = attempt(order_three, g.copy(), h.copy(), spacing)
    if trouble:
        return trouble
    each = _chained([g, h])
    right = spacing * each.sum(-1)
    if np.shape(as_array(result)) == each.shape:
        return Feedback(
            WRONG, "this is still one number per component: sum over f, the last axis, too."
        )
    value = of_shape(result, (n, n), "one number per pair")
    if isinstance(value, Feedback):
        return value
    if np.allclose(value, right):
        return Feedback(RIGHT, "a matrix product for each component, then the sum over them.")
    off = ~np.eye(n, dtype=bool)
    g_off, h_off = off[..., None] * g, off[..., None] * h
    mistakes = [
        (each.sum(-1), "the spacing Δ of the grid is missing."),
        (spacing**2 * each.sum(-1), "Δ stands in it once, in front of everything."),
        (
            spacing * _chained([h, g]).sum(-1),
            "the factors are in the wrong order: the first link, i to l, is g; the second is g2.",
        ),
        (
            spacing * (g * h).sum(-1),
            "you multiplied pair by pair, i to j with i to j; a chain goes from i to l with g, "
            "and from l to j with g2.",
        ),
        (
            spacing * g.sum(-1) @ h.sum(-1),
            "you summed over f before multiplying: each component has a matrix product of its "
            "own, and the sum over f comes last.",
        ),
        (
            spacing * np.einsum("ilf,mjf->ij", g, h),
            "the two links have different atoms between them; both must meet at the same l.",
        ),
        (spacing * _chained([g, g]).sum(-1), "you used g for both links; the second is g2."),
        (spacing * _chained([h, h]).sum(-1), "you used g2 for both links; the first is g."),
        (right / n, "you took the mean over l; all chains are added up."),
        (spacing * each.mean(-1), "you took the mean over f; components are added up."),
        *(
            (
                spacing * _chained(pair).sum(-1),
                "l runs over all atoms, i and j themselves among them.",
            )
            for pair in ((g_off, h), (g, h_off), (g_off, h_off))
        ),
    ]
    return known_mistake(value, mistakes) or Feedback(
        WRONG,
        f"in a small example C of atoms 0 and 1 is {right[0, 1]:.4f}, yours is {value[0, 1]:.4f}.",
    )


def check_without(without: Callable) -> Feedback:
    """Lesson 9, exercise 2: ``without(factors, spacing, atom)``, no chain through ``atom``.

    ``factors`` is a list of k - 1 arrays (n, n, f). Chains that have ``atom`` between their ends
    are left out; those that begin or end there stay.
    """
    n, f, spacing = 5, 3, 0.05
    rng = np.random.default_rng(1)
    done: list[str] = []
    for count, atom in ((2, 2), (3, 2), (1, 0), (4, 1)):
        factors = list(_links(rng, count, n, f))
        result, trouble = attempt(without, [g.copy() for g in factors], spacing, atom)
        links = f"{count} factor{'s' if count > 1 else ''}"
        known = f"right for {' and '.join(done)}; but for {links}: " if done else ""
        if trouble:
            first = trouble.state != WRONG or not done
            return trouble if first else Feedback(WRONG, known + trouble.text)
        value = of_shape(result, (n, n), "one number per pair")
        if isinstance(value, Feedback):
            gone = np.shape(as_array(result)) == (n - 1, n - 1)
            text = "the atom is gone altogether; as an end of a chain it stays."
            return Feedback(WRONG, known + (text if gone else value.text))
        if np.allclose(value, right := _without(factors, spacing, atom)):
            done.append(links)
            continue
        if named := known_mistake(value, _without_mistakes(factors, spacing, atom)):
            return Feedback(WRONG, known + named.text)
        return Feedback(
            WRONG,
            f"{known}without atom {atom}, C of atoms 3 and 4 should be {right[3, 4]:.4f}, "
            f"yours is {value[3, 4]:.4f}.",
        )
    return Feedback(RIGHT, "one factor of 0 wherever the chain would pass, and nothing else.")


def _without(
    factors: list[np.ndarray], spacing: float, atom: int, at: Sequence[int] | None = None
) -> np.ndarray:
    """The right answer; with ``at``, the atom is left out at these places of the chain only."""
    others = (np.arange(len(factors[0])) != atom)[None, :, None]
    places = range(len(factors) - 1) if at is None else at
    inner = [g * others if m in places else g for m, g in enumerate(factors)]
    return spacing * _chained(inner).sum(-1)


def _without_mistakes(
    factors: list[np.ndarray], spacing: float, atom: int
) -> list[tuple[np.ndarray, str]]:
    last, keep = len(factors) - 1, np.arange(len(factors[0])) != atom
    right, whole = _without(factors, spacing, atom), spacing * _chained(factors).sum(-1)
    both = keep[:, None] * keep[None, :]
    early = factors[0].sum(-1)
    for g in factors[1:]:
        early = (early * keep) @ g.sum(-1)
    here = "the atom may stand at each place between the ends: leave it out at every one."
    return [
        (whole, "nothing has changed: the chains through the atom are still there."),
        (whole - right, "these are the chains through the atom; the others are asked for."),
        (right / spacing, "the spacing Δ is missing."),
        (
            np.where(both, right, 0),
            "a chain may begin and end at the atom: only the places in between count.",
        ),
        (right * keep[:, None], "a chain may begin at the atom: only the places in between count."),
        (right * keep, "a chain may end at the atom: only the places in between count."),
        (_without(factors, spacing, atom, [0]), f"you left it out at the first place only; {here}"),
        (
            _without(factors, spacing, atom, [last - 1]),
            f"you left it out at the last place only; {here}",
        ),
        (spacing * early, "the sum over f comes last, after all products."),
        (
            _without(factors[::-1], spacing, atom),
            "the factors stand in reverse order.",
        ),
    ]


def check_same_chains(same_chains: Callable) -> Feedback:
    """Lesson 9, exercise 3: ``same_chains(d, d_other, order)``, as seen from atom 0.

    Takes two matrices of distances (n, n); says whether the chains of order - 1 distances that
    begin at atom 0 agree, each as often in one as in the other, to 1e-6 Å.
    """
    from so3krates_lite.experiments.shapes import SHAPES  # imported here: it brings jax along

    square, tetrahedron = (all_distances(shape) for shape in SHAPES["A"])
    above, beside = (all_distances(shape) for shape in SHAPES["B"])
    renumbered = square[np.ix_([0, 3, 1, 4, 2], [0, 3, 1, 4, 2])]
    from_corner = square[np.ix_([1, 0, 2, 3, 4], [1, 0, 2, 3, 4])]
    line, other_line = np.array([0, 1, 2, -1.0]), np.array([0, 1, 2, -2.0])
    on_line, on_other = (all_distances(np.c_[x, 0 * x, 0 * x]) for x in (line, other_line))
    shaken = renumbered + 1e-12 * (1 - np.eye(5)) * np.arange(5) * np.arange(5)[:, None]
    # two atoms 1 Å away and two 2 Å away: the pairs swap their widths and nothing else
    hinge, swapped = (
        all_distances(
            np.array(
                [
                    (0, 0, 0),
                    *((x, (1 - a * a) ** 0.5, 0) for x in (a, -a)),
                    *((x, 0, (4 - b * b) ** 0.5) for x in (b, -b)),
                ]
            )
        )
        for a, b in ((0.75, 0.6), (0.6, 0.75))
    )
    cases = [
        (square, square, 2, True, "a shape has the same chains as itself."),
        (
            square,
            renumbered,
            3,
            True,
            "numbering the other atoms anew changes nothing: sort the chains before you compare.",
        ),
        (
            square,
            shaken,
            3,
            True,
            "distances that differ by 1e-12 are equal here: round them before you compare, and "
            "before you sort.",
        ),
        (
            on_line,
            on_other,
            2,
            False,
            "the distances 0, 1, 1, 2 and 0, 1, 2, 2 are not the same: count how often each "
            "chain occurs (a list, not a set).",
        ),
        (
            square,
            from_corner,
            2,
            False,
            "seen from a corner the square is another thing: chains begin at atom 0.",
        ),
        (
            square,
            tetrahedron,
            2,
            True,
            "at order 2 a chain is one distance from atom 0; square and tetrahedron agree in them.",
        ),
        (
            square,
            tetrahedron,
            3,
            False,
            "at order 3 a chain has two distances, and the corners of a square are not as far "
            "from each other as those of a tetrahedron.",
        ),
        (
            hinge,
            swapped,
            3,
            False,
            "keep the two distances of a chain together: here each step alone has the same "
            "distances, but the pairs of them differ.",
        ),
        (above, beside, 3, True, "the shapes of set B agree at order 3."),
        (
            above,
            beside,
            4,
            False,
            "at order 4 a chain has three distances, and the shapes of set B differ.",
        ),
    ]
    for one, other, order, right, text in cases:
        result, trouble = attempt(same_chains, one.copy(), other.copy(), order)
        if trouble:
            return trouble
        value = as_array(result)
        if value is None or value.ndim or value not in (0, 1):
            found = type(result).__name__ if value is None else f"{result!r}"
            return Feedback(WRONG, f"your function returned {found}; True or False is expected.")
        if bool(value) != right:
            return Feedback(WRONG, f"order {order}: yours says {bool(value)}, but {text}")
    return Feedback(RIGHT, "this is a proof: no parameters can tell apart what has equal chains.")


def check_reach(reach: Callable) -> Feedback:
    """Lesson 9, exercise 4: ``reach(layers, order)``, distances in the longest chain behind v_i."""
    given = [(1, 2), (1, 4), (3, 2), (2, 3), (3, 4), (5, 3)]
    answers = []
    for layers, order in given:
        result, trouble = attempt(reach, layers, order)
        if trouble:
            return trouble
        value = whole_number(result)
        if value is None:
            return Feedback(WRONG, f"your function returned {result!r}, no whole number.")
        answers.append(value)
    for formula, text in (
        (lambda n, k: n * k, "a chain of order k has k atoms, and k - 1 distances between them."),
        (
            lambda n, k: n * (k - 1) + 1,
            "this counts the atoms of the chain; it has one distance less.",
        ),
        (lambda n, k: k - 1, "this is one layer; the next one hangs its chains on those."),
        (lambda n, k: n + k - 2, "a layer adds a whole chain, k - 1 distances, and not just one."),
        (lambda n, k: n, "a layer adds k - 1 distances; one is right for order 2 only."),
        (
            lambda n, k: (k - 1) ** n,
            "chains are hung one on another: their lengths add up and do not multiply.",
        ),
    ):
        if answers == [formula(*each) for each in given]:
            return Feedback(WRONG, text)
    right = [layers * (order - 1) for layers, order in given]
    if answers == right:
        return Feedback(RIGHT, "each layer hangs k - 1 more distances on the chain.")
    k = next(k for k in range(len(given)) if answers[k] != right[k])
    layers, order = given[k]
    layer = "one layer" if layers == 1 else f"{layers} layers"
    distance = "one distance" if right[k] == 1 else f"{right[k]} distances"
    reach = "reaches" if layers == 1 else "reach"
    text = f"{layer} of order {order} {reach} {distance}, yours says {answers[k]}."
    return Feedback(WRONG, text)
