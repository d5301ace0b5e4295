"""Checks of lesson 0, the tour."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float

from so3krates_lite.lessons.feedback import (
    Attempt,
    Wrong,
    exercise,
    of_shape,
    one_number,
    refuse,
    same,
    told,
    whole_number,
)
from so3krates_lite.record.attention_record import AttentionRecord
from so3krates_lite.record.parts import BlockAttention
from so3krates_lite.units import convert


@exercise
def check_force_error(force_mae: Attempt) -> str:
    """Tour, exercise 1: ``force_mae(predicted, reference)``, eV/Å in, kcal/mol/Å out."""
    rng = np.random.default_rng(0)
    reference = rng.normal(size=(5, 9, 3))
    predicted = reference + rng.normal(0.02, 0.05, reference.shape)
    value, error = one_number(force_mae(predicted, reference)), predicted - reference
    mae = float(np.abs(error).mean())
    right = convert(mae, "eV", "kcal/mol")
    mistakes = {
        "this is the error in eV/Å. Convert it: 1 eV is 23.06 kcal/mol.": mae,
        "you divided where you should multiply: a kcal/mol is the smaller unit, so the number must "
        "grow.": convert(mae, "kcal/mol", "eV"),
        "errors of both signs cancel in your mean. Take the absolute value first.": convert(
            error.mean(), "eV", "kcal/mol"
        ),
        "this is the root-mean-square error. The mean of absolute values is asked for.": convert(
            np.sqrt((error**2).mean()), "eV", "kcal/mol"
        ),
        "you averaged the length of each atom's error vector. Papers average over x, y and z "
        "components.": convert(np.linalg.norm(error, axis=-1).mean(), "eV", "kcal/mol"),
        "this is the sum; divide by the number of components, or use mean().": convert(
            np.abs(error).sum(), "eV", "kcal/mol"
        ),
    }
    if np.isclose(value, right, rtol=1e-3):
        return "absolute value, mean over all components, then the unit."
    refuse(value, mistakes, rtol=1e-3)
    with told(after=" Then convert: 1 eV is 23.06 kcal/mol."):
        refuse(convert(value, "eV", "kcal/mol"), mistakes, rtol=1e-3)
    raise Wrong(f"on a small example {right:.4f} is expected, yours gives {value:.4f}.")


@exercise
def check_mirror(mirror: Attempt) -> str:
    """Tour, exercise 2: ``mirror(vectors, normal)`` reflects (..., 3) in a plane through 0."""
    rng = np.random.default_rng(1)
    vectors = rng.normal(size=(4, 9, 3))
    normal = np.array([2.0, -1.0, 2.0]) / 3
    result, what = mirror(vectors, normal), "as many vectors as went in"
    value = of_shape(result, vectors.shape, what, "are expected")
    part = (vectors @ normal)[..., None] * normal
    mistakes = {
        "nothing has changed: your function returns the vectors as they were.": vectors,
        "you flattened the vectors onto the plane. The mirror image lies as far behind the plane "
        "as the object is before it: take the normal component away twice.": vectors - part,
        "this turns every component round (an inversion). Only the component along the normal "
        "changes its sign.": -vectors,
        "this is half a turn about the normal: a rotation, no mirror. The component along the "
        "normal must change its sign, the rest must stay.": 2 * part - vectors,
        "the part to take away is a vector: (v · n) times n, not the number v · n alone.": vectors
        - 2 * (vectors @ normal)[..., None],
        "this is what to take away; subtract it from the vectors.": 2 * part,
        "this is the part along the normal; take it away from the vectors, twice.": part,
        "you added the part along the normal; take it away.": vectors + 2 * part,
        "v · n is one number for each vector: use @, where * multiplies by component.": (
            vectors - 2 * vectors * normal,
            vectors - 2 * vectors * normal**2,
        ),
    }
    if np.allclose(value, vectors - 2 * part, atol=1e-6):
        return "twice the component along the normal, taken away."
    refuse(value, mistakes, atol=1e-6)
    if same(mirror(value, normal), vectors):
        raise Wrong(
            "twice your mirror gives the object back, as it must, but the "
            "mirror hangs elsewhere: is the plane at right angles to the normal?"
        )
    raise Wrong(
        "this is no reflection: seen twice in the mirror, a vector must be "
        "itself again, and a vector within the plane must stay as it is."
    )


@exercise
def check_listener(strongest_listener: Attempt) -> str:
    """Tour, exercise 3: ``strongest_listener(record, sender)``, an atom's index.

    The listener is the receiver of the pair whose |weighted| feature attention to ``sender``,
    summed over layers and heads, is largest.
    """
    record = _practice_record()
    size = np.abs(record.feature.weighted).sum(axis=(0, 2))
    signed = record.feature.weighted.sum(axis=(0, 2))
    loud = np.abs(record.feature.coefficient).sum(axis=(0, 2))
    late = np.abs(signed)
    first, last = np.abs(record.feature.weighted[[0, -1]]).sum(axis=-1)
    peak = np.abs(record.feature.weighted).max(axis=(0, 2))

    def best(
        values: np.ndarray,
        given: np.ndarray = record.sender,
        wanted: np.ndarray = record.receiver,
    ) -> list[int]:
        atoms = range(record.n_atoms())
        return [int(wanted[np.where(given == a, values, -np.inf).argmax()]) for a in atoms]

    answers = []
    for atom in range(record.n_atoms()):
        value = whole_number(strongest_listener(record, atom), "an atom's index")
        if not 0 <= value < record.n_atoms():
            raise Wrong(
                f"your function returned {value} for a molecule of "
                f"{record.n_atoms()} atoms: is that the place of a pair, where "
                "record.receiver tells the atom?"
            )
        answers.append(value)
    mistakes = {
        "you found whom the atom listens to. Here it speaks: choose the pairs with record.sender, "
        "answer with record.receiver.": best(size, record.receiver, record.sender),
        "an atom does not listen to itself: choose the pairs with record.sender, answer with "
        "record.receiver.": list(range(record.n_atoms())),
        "attention is signed: a strong negative coefficient is strong, too. Take the absolute "
        "value before you add.": best(signed),
        "you used the coefficients before the cutoff. The weighted ones stand in front of the "
        "message.": best(loud),
        "you looked at the first layer only: add up all layers and heads.": best(first),
        "you looked at the last layer only: add up all layers and heads.": best(last),
        "both signs cancel in your sum: take the absolute value before you add, not after.": best(
            late
        ),
        "you took the largest number of each pair: add up all layers and heads.": best(peak),
    }
    right = best(size)
    if answers == right:
        return "senders chosen, sizes added up, the receiver named."
    refuse(answers, mistakes, rtol=0, atol=0)
    bad = next(a for a in range(record.n_atoms()) if answers[a] != right[a])
    raise Wrong(
        f"in a small example atom {right[bad]} listens most to atom {bad}, "
        f"yours says {answers[bad]}."
    )


def _practice_record() -> AttentionRecord:
    """Five atoms, two layers, two heads; with this seed no two of the mistakes look alike."""
    rng = np.random.default_rng(1)
    positions: Float[np.ndarray, "atoms 3"] = rng.normal(0.0, 1.2, (5, 3))
    receiver, sender = np.nonzero(~np.eye(5, dtype=bool))
    vector = positions[sender] - positions[receiver]
    distance = np.linalg.norm(vector, axis=-1)
    phi = 0.5 * (np.cos(np.pi * np.minimum(distance / 5, 1)) + 1)[:, None]

    def block(channels: int) -> BlockAttention:
        coefficient = rng.normal(size=(2, len(distance), channels))
        return BlockAttention(coefficient, coefficient * phi, np.abs(coefficient * phi))

    return AttentionRecord(
        numbers=np.full((1, 5), 6),
        positions=positions[None],
        frame=np.zeros(len(distance), dtype=int),
        receiver=receiver,
        sender=sender,
        distance=distance,
        vector=vector,
        cutoff=5.0,
        degrees=(1,),
        feature=block(2),
        geometric=block(1),
        sphc=np.zeros((3, 1, 5, 3)),
    )
