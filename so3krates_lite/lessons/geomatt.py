"""Checks of lesson 9, GeomAtt."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from so3krates_lite.lessons.feedback import (
    Attempt,
    Wrong,
    as_array,
    exercise,
    of_shape,
    refuse,
    told,
    whole_number,
    yes_or_no,
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


@exercise
def check_order_three(order_three: Attempt) -> str:
    """Lesson 9, exercise 1: ``order_three(g, g2, spacing)``, C_ij from two factors (n, n, f).

    C_ij = spacing * sum over f and over l of g_il g2_lj.
    """
    n, f, spacing = 5, 3, 0.05
    g, h = _links(np.random.default_rng(0), 2, n, f)
    result = order_three(g, h, spacing)
    each = _chained([g, h])
    right = spacing * each.sum(-1)
    if np.shape(as_array(result)) == each.shape:
        raise Wrong("this is still one number per component: sum over f, the last axis, too.")
    value = of_shape(result, (n, n), "one number per pair")
    if np.allclose(value, right):
        return "a matrix product for each component, then the sum over them."
    off = ~np.eye(n, dtype=bool)
    g_off, h_off = off[..., None] * g, off[..., None] * h
    mistakes = {
        "the spacing Δ of the grid is missing.": each.sum(-1),
        "Δ stands in it once, in front of everything.": spacing**2 * each.sum(-1),
        "the factors are in the wrong order: "
        "the first link, i to l, is g; the second is g2.": spacing * _chained([h, g]).sum(-1),
        "you multiplied pair by pair, i to j with i to j; a chain goes from i to l with g, and "
        "from l to j with g2.": spacing * (g * h).sum(-1),
        "you summed over f before multiplying: each component has a matrix product of its own, and "
        "the sum over f comes last.": spacing * g.sum(-1) @ h.sum(-1),
        "the two links have different atoms between them; both must meet at the same l.": spacing
        * np.einsum("ilf,mjf->ij", g, h),
        "you used g for both links; the second is g2.": spacing * _chained([g, g]).sum(-1),
        "you used g2 for both links; the first is g.": spacing * _chained([h, h]).sum(-1),
        "you took the mean over l; all chains are added up.": right / n,
        "you took the mean over f; components are added up.": spacing * each.mean(-1),
        "l runs over all atoms, i and j themselves among them.": tuple(
            spacing * _chained(pair).sum(-1) for pair in ((g_off, h), (g, h_off), (g_off, h_off))
        ),
    }
    refuse(value, mistakes)
    raise Wrong(
        f"in a small example C of atoms 0 and 1 is {right[0, 1]:.4f}, yours is {value[0, 1]:.4f}."
    )


@exercise
def check_without(without: Attempt) -> str:
    """Lesson 9, exercise 2: ``without(factors, spacing, atom)``, no chain through ``atom``.

    ``factors`` is a list of k - 1 arrays (n, n, f). Chains that have ``atom`` between their ends
    are left out; those that begin or end there stay.
    """
    n, f, spacing = 5, 3, 0.05
    rng = np.random.default_rng(1)
    done: list[str] = []
    for count, atom in ((2, 2), (3, 2), (1, 0), (4, 1)):
        factors = list(_links(rng, count, n, f))
        links = f"{count} factor{'s' if count > 1 else ''}"
        with told(f"right for {' and '.join(done)}; but for {links}: " if done else ""):
            result = without(factors, spacing, atom)
            if np.shape(as_array(result)) == (n - 1, n - 1):
                raise Wrong("the atom is gone altogether; as an end of a chain it stays.")
            value = of_shape(result, (n, n), "one number per pair")
            if not np.allclose(value, right := _without(factors, spacing, atom)):
                refuse(value, _without_mistakes(factors, spacing, atom))
                raise Wrong(
                    f"without atom {atom}, C of atoms 3 and 4 should be {right[3, 4]:.4f}, "
                    f"yours is {value[3, 4]:.4f}."
                )
        done.append(links)
    return "one factor of 0 wherever the chain would pass, and nothing else."


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
) -> dict[str, np.ndarray]:
    last, keep = len(factors) - 1, np.arange(len(factors[0])) != atom
    right, whole = _without(factors, spacing, atom), spacing * _chained(factors).sum(-1)
    both = keep[:, None] * keep[None, :]
    early = factors[0].sum(-1)
    for g in factors[1:]:
        early = (early * keep) @ g.sum(-1)
    here = "the atom may stand at each place between the ends: leave it out at every one."
    return {
        "nothing has changed: the chains through the atom are still there.": whole,
        "these are the chains through the atom; the others are asked for.": whole - right,
        "the spacing Δ is missing.": right / spacing,
        "a chain may begin and end at the atom: only the places in between count.": np.where(
            both, right, 0
        ),
        "a chain may begin at the atom: only the places in between count.": right * keep[:, None],
        "a chain may end at the atom: only the places in between count.": right * keep,
        f"you left it out at the first place only; {here}": _without(factors, spacing, atom, [0]),
        f"you left it out at the last place only; {here}": _without(
            factors, spacing, atom, [last - 1]
        ),
        "the sum over f comes last, after all products.": spacing * early,
        "the factors stand in reverse order.": _without(factors[::-1], spacing, atom),
    }


@exercise
def check_same_chains(same_chains: Attempt) -> str:
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
    cases = {
        "a shape has the same chains as itself.": (square, square, 2, True),
        "numbering the other atoms anew changes nothing: sort the chains before you compare.": (
            square,
            renumbered,
            3,
            True,
        ),
        "distances that differ by 1e-12 are equal here: round them before you compare, and before "
        "you sort.": (square, shaken, 3, True),
        "the distances 0, 1, 1, 2 and 0, 1, 2, 2 are not the same: count how often each chain "
        "occurs (a list, not a set).": (on_line, on_other, 2, False),
        "seen from a corner the square is another thing: chains begin at atom 0.": (
            square,
            from_corner,
            2,
            False,
        ),
        "at order 2 a chain is one distance from atom 0; square and tetrahedron agree in them.": (
            square,
            tetrahedron,
            2,
            True,
        ),
        "at order 3 a chain has two distances, and the corners of a square are not as far from "
        "each other as those of a tetrahedron.": (square, tetrahedron, 3, False),
        "keep the two distances of a chain together: here each step alone has the same distances, "
        "but the pairs of them differ.": (hinge, swapped, 3, False),
        "the shapes of set B agree at order 3.": (above, beside, 3, True),
        "at order 4 a chain has three distances, and the shapes of set B differ.": (
            above,
            beside,
            4,
            False,
        ),
    }
    for text, (one, other, order, right) in cases.items():
        value = yes_or_no(same_chains(one, other, order))
        if value != right:
            raise Wrong(f"order {order}: yours says {value}, but {text}")
    return "this is a proof: no parameters can tell apart what has equal chains."


@exercise
def check_reach(reach: Attempt) -> str:
    """Lesson 9, exercise 4: ``reach(layers, order)``, distances in the longest chain behind v_i."""
    given = [(1, 2), (1, 4), (3, 2), (2, 3), (3, 4), (5, 3)]
    answers = [whole_number(reach(*each)) for each in given]
    right = [layers * (order - 1) for layers, order in given]
    if answers == right:
        return "each layer hangs k - 1 more distances on the chain."
    for text, formula in {
        "a chain of order k has k atoms, and k - 1 distances between them.": lambda n, k: n * k,
        "this counts the atoms of the chain; it has one distance less.": lambda n, k: (
            n * (k - 1) + 1
        ),
        "this is one layer; the next one hangs its chains on those.": lambda n, k: k - 1,
        "a layer adds a whole chain, k - 1 distances, and not just one.": lambda n, k: n + k - 2,
        "a layer adds k - 1 distances; one is right for order 2 only.": lambda n, k: n,
        "chains are hung one on another: their lengths add up and do not multiply.": lambda n, k: (
            (k - 1) ** n
        ),
    }.items():
        if answers == [formula(*each) for each in given]:
            raise Wrong(text)
    k = next(k for k in range(len(given)) if answers[k] != right[k])
    layers, order = given[k]
    layer = "one layer" if layers == 1 else f"{layers} layers"
    distance = "one distance" if right[k] == 1 else f"{right[k]} distances"
    reach = "reaches" if layers == 1 else "reach"
    raise Wrong(f"{layer} of order {order} {reach} {distance}, yours says {answers[k]}.")
