"""Similar surroundings, far apart: which atoms have a chi like this one's?

The SPHCs chi of an atom describe its surroundings by directions, degree by degree. Two atoms whose
chi are near have surroundings that look alike to the model, wherever they are: it is what the
spherical neighbourhood of So3krates acts on. Here one can search for them, in one structure or in a
whole set, with the distance in space beside it.

chi turns with the molecule. **Within one structure** its vectors can be compared as they stand, as
the model does: surroundings are alike if they look alike without being turned. **Across
structures**, or where orientation should not matter, only the lengths of its degrees can, before
the first layer and after each: few numbers, and surroundings that differ may share them. ``by``
chooses, "chi" or "lengths".
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float, Int

from so3krates_lite.errors import UserError, require
from so3krates_lite.harmonics import degree_of_component
from so3krates_lite.interpret.baselines import chosen, states_of
from so3krates_lite.potential import Potential
from so3krates_lite.structures.frames import Frames

if TYPE_CHECKING:
    import plotly.graph_objects as go

WAYS = ("lengths", "chi")


@dataclass(frozen=True, eq=False)
class Surroundings:
    """Atoms of a set, each with what describes its surroundings.

    Args:
        description: chi, or lengths of its degrees; no unit
        frame, atom: which one each is
        number: atomic numbers
        position: Å
        by: "chi" or "lengths"
    """

    description: Float[np.ndarray, "places width"]
    frame: Int[np.ndarray, "places"]
    atom: Int[np.ndarray, "places"]
    number: Int[np.ndarray, "places"]
    position: Float[np.ndarray, "places 3"]
    by: str

    def __len__(self) -> int:
        return len(self.atom)

    @property
    def names(self) -> list[str]:
        """A name for each: element and number of the atom, and its frame where there are many."""
        many = bool(self.frame.any())
        return [
            f"{label}{atom}" + (f" of frame {frame}" if many else "")
            for label, atom, frame in zip(self.elements, self.atom, self.frame, strict=True)
        ]

    @property
    def elements(self) -> list[str]:
        """Symbols."""
        from ase.data import chemical_symbols

        return [chemical_symbols[z] for z in self.number]


@dataclass(frozen=True, eq=False)
class Alike:
    """The atoms whose surroundings are nearest to one's, nearest first.

    Args:
        place: where they stand among `Surroundings`
        apart: distance of their descriptions, no unit
        distance: in space, Å; nan in another frame
    """

    place: Int[np.ndarray, "found"]
    apart: Float[np.ndarray, "found"]
    distance: Float[np.ndarray, "found"]


def surroundings(
    potential: Potential,
    frames: Frames,
    *,
    by: str = "lengths",
    layer: int = -1,
    degrees: tuple[int, ...] | None = None,
) -> Surroundings:
    """Describe every atom of ``frames`` by its chi.

    Args:
        by: "lengths" of its degrees in all states, invariant; or "chi" itself after one layer
        layer: of "chi": 0 is the start, l + 1 after layer l, negative ones from the end
        degrees: only these; None: all

    Raises:
        UserError: the model has no chi, or frames of several orientations are described by chi
    """
    require(by in WAYS, "by", by, f"one of {WAYS}")
    states = states_of(potential, frames)
    if states.chi is None:
        raise UserError(
            "This model has no SPHCs chi: surroundings are searched in those of others."
        )
    if by == "chi" and len(frames) > 1:
        raise UserError(
            f"chi turns with the molecule, and {len(frames)} frames were given: take one, or "
            f"describe them by='lengths'."
        )
    known = potential.config.degrees
    if unknown := set(degrees or ()) - set(known):
        raise UserError(f"The model has no degree {min(unknown)}: its degrees are {known}.")
    of_component = np.array(known)[degree_of_component(known)]
    wanted = degrees or known
    if by == "chi":
        state = chosen("layer", layer, len(states.chi))[0]
        described = states.chi[state][..., np.isin(of_component, wanted)]
    else:
        lengths = [np.linalg.norm(states.chi[..., of_component == l], axis=-1) for l in wanted]
        described = np.concatenate(lengths).transpose(1, 2, 0)
    trimmed = frames.trimmed()
    frame, atom = np.nonzero(trimmed.mask)
    return Surroundings(
        described[frame, atom],
        frame,
        atom,
        trimmed.numbers[frame, atom],
        trimmed.positions[frame, atom],
        by,
    )


def alike(
    among: Surroundings,
    atom: int,
    frame: int = 0,
    *,
    most: int = 10,
    beyond: float = 0.0,
    same_element: bool = True,
) -> Alike:
    """The atoms whose surroundings are most like those of one atom.

    Args:
        atom, frame: of which
        most: how many are found
        beyond: only atoms at least so far away in space, in Å, or in other frames
        same_element: of the same element only

    Raises:
        UserError: there is no such atom, or none is left to be found
    """
    here = np.flatnonzero((among.frame == frame) & (among.atom == atom))
    if len(here) != 1:
        raise UserError(f"There is no atom {atom} in frame {frame}.")
    apart = np.linalg.norm(among.description - among.description[here], axis=1)
    distance = np.linalg.norm(among.position - among.position[here], axis=1)
    distance = np.where(among.frame == frame, distance, np.nan)
    fits = np.nan_to_num(distance, nan=np.inf) >= beyond
    fits[here] = False
    if same_element:
        fits &= among.number == among.number[here]
    found = np.flatnonzero(fits)
    if len(found) == 0:
        raise UserError(
            f"No other atom fits: there is none of the element at least {beyond:g} Å away. Lower "
            f"beyond, or search with same_element=False."
        )
    found = found[np.argsort(apart[found], kind="stable")][:most]
    return Alike(found, apart[found], distance[found])


def principal(
    among: Surroundings, components: int = 2
) -> tuple[Float[np.ndarray, "places components"], Float[np.ndarray, "components"]]:
    """Principal components of the descriptions, and the share of the variance along each."""
    centred = among.description - among.description.mean(axis=0)
    most = min(centred.shape)
    require(1 <= components <= most, "components", components, f"1 to {most}")
    U, s, _ = np.linalg.svd(centred, full_matrices=False)
    share = s**2 / max((s**2).sum(), 1e-300)
    return U[:, :components] * s[:components], share[:components]


def map_figure(among: Surroundings, kinds: list[str] | None = None, title: str = "") -> go.Figure:
    """The atoms by the first two components, coloured by element or by ``kinds``."""
    from so3krates_lite.drawing.importance import sphc_map

    places, shares = principal(among)
    return sphc_map(
        places, kinds or among.elements, among.names, shares=shares.tolist(), title=title
    )


def alike_figure(among: Surroundings, atom: int, frame: int = 0, title: str = "") -> go.Figure:
    """All atoms of the frame by their distance from one, in space and in surroundings."""
    from so3krates_lite.drawing.importance import near_and_far

    found = alike(among, atom, frame, most=len(among), same_element=False)
    here = ~np.isnan(found.distance)
    place = found.place[here]
    number = among.number[(among.frame == frame) & (among.atom == atom)]
    return near_and_far(
        found.distance[here],
        found.apart[here],
        [among.names[k] for k in place],
        same=(among.number[place] == number).tolist(),
        title=title,
    )
