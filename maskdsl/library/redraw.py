"""Redraws the pictures in a file: only the cells of picture rows change.

Not here: comparing pictures (`examples`).
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from maskdsl.library.examples import draw_picture
from maskdsl.meaning.examples import Example
from maskdsl.meaning.module import Module
from maskdsl.source.text import Span

CELL = re.compile(r"[x.]")


def redraw(module: Module) -> tuple[str, int]:
    """The text of a file with every picture as its definition gives it, and how many pictures changed.

    The file must be free of errors. Raises MaskError for an example that cannot be evaluated.
    """
    text, changed = module.source.text, 0
    edits = [edit for example in module.examples for edit in _edits(example)]
    for span, row in sorted(edits, key=lambda edit: -edit[0].start):
        text = text[: span.start] + row + text[span.end :]
    for example in module.examples:
        changed += any(span.text != row for span, row in _edits(example))
    return text, changed


def _edits(example: Example) -> Iterator[tuple[Span, str]]:
    """The rows of an example's picture and what they should be; nothing for an example with a value."""
    if isinstance(example.expected, tuple):
        for span, row in zip(example.row_spans, draw_picture(example), strict=True):
            cells = iter("x" if visible else "." for visible in row)
            yield span, CELL.sub(lambda _, cells=cells: next(cells), span.text)  # type: ignore[misc]
