"""Formulas as MathML, which browsers draw and read aloud by themselves: nothing is loaded."""

from __future__ import annotations

import re

from docutils import nodes
from docutils.utils.math import latex2mathml


def formula(node: nodes.Element, as_block: bool = False) -> str:
    """MathML of a formula; brackets grow by themselves there, so ``\\Big`` is left out."""
    text = re.sub(r"\\[Bb]igg?[lr]?(?![a-z])", "", node.astext()).replace(r"\dots", r"\ldots")
    return latex2mathml.tex2mathml(text, as_block)


def inline(self, node: nodes.math) -> None:
    self.body.append(formula(node))
    raise nodes.SkipNode


def block(self, node: nodes.math_block) -> None:
    drawn = formula(node, as_block=True)
    self.body.append(f'<div class="formula">{drawn}</div>')
    raise nodes.SkipNode


def setup(app) -> None:
    app.add_html_math_renderer("mathml", (inline, None), (block, None))
