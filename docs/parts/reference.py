"""The reference: signatures as they are written, with the shapes of arrays in them.

An annotation such as ``Float[Array, "pairs 3"]`` is a class at run time, whose name says less than
the source does. So the words of the source are shown.
"""

from __future__ import annotations

import inspect
from typing import Any


class AsWritten(str):
    """An annotation's source, without quotes around it."""

    def __repr__(self) -> str:
        return str(self)


def as_written(signature: inspect.Signature) -> str:
    """A signature whose annotations are strings, as its source has it."""

    def said(annotation: Any) -> Any:
        return AsWritten(annotation) if isinstance(annotation, str) else annotation

    parameters = [p.replace(annotation=said(p.annotation)) for p in signature.parameters.values()]
    returned = said(signature.return_annotation)
    return str(signature.replace(parameters=parameters, return_annotation=returned))


def shown_signature(
    app, what: str, name: str, thing: Any, options: Any, signature: str | None, returned: str | None
) -> tuple[str, str | None] | None:
    """For autodoc: the words of the source, where there is a signature at all."""
    if signature is None or what not in ("function", "class", "method"):
        return None
    try:
        found = inspect.signature(thing)
    except (TypeError, ValueError):
        return None
    if what == "method" and next(iter(found.parameters), "") == "self":
        found = found.replace(parameters=list(found.parameters.values())[1:])
    if what == "class":
        found = found.replace(return_annotation=inspect.Signature.empty)
    text = as_written(found)
    # defaults that are objects, such as <factory>, are no Python
    text = text.replace("<factory>", "...")
    head, arrow, tail = text.rpartition(") -> ")
    return (head + ")", tail) if arrow else (text, returned)


def without_substitutions(
    app, what: str, name: str, thing: Any, options: Any, lines: list[str]
) -> None:
    """The lengths ``|u|`` of our docstrings are no substitutions of reStructuredText."""
    for k, line in enumerate(lines):
        parts = line.split("`")
        parts[::2] = [part.replace("|", r"\|") for part in parts[::2]]
        lines[k] = "`".join(parts)


def setup(app) -> None:
    app.connect("autodoc-process-docstring", without_substitutions)
    app.connect("autodoc-process-signature", shown_signature)
