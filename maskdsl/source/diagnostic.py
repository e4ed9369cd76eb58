"""Diagnostics as data, and the one exception that carries them to the user.

Not here: how a diagnostic looks (`render`), which codes exist (`codes`).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from maskdsl.source.codes import CODES
from maskdsl.source.text import Span


@dataclass(frozen=True, slots=True)
class Label:
    """A second place of the story, and what stands there."""

    span: Span
    text: str


@dataclass(frozen=True, slots=True)
class Diagnostic:
    """One mistake of the user: what (`message`), where (`span`, `label`), why (`notes`), how on (`help`).

    `span` is None only where no text exists (a missing file, a name asked of the registry).
    """

    code: str
    message: str
    span: Span | None = None
    label: str = ""
    also: tuple[Label, ...] = ()
    notes: tuple[str, ...] = ()
    help: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        assert self.code in CODES, f"unknown diagnostic code {self.code}"

    @property
    def severity(self) -> str:
        """`"warning"` for the W codes, `"error"` for the others."""
        return "warning" if self.code.startswith("W") else "error"


class MaskError(Exception):
    """The user's mistakes, all that one run found; `diagnostics` holds them in source order."""

    def __init__(self, diagnostics: Diagnostic | Iterable[Diagnostic]) -> None:
        one = isinstance(diagnostics, Diagnostic)
        self.diagnostics: tuple[Diagnostic, ...] = (diagnostics,) if one else tuple(diagnostics)  # type: ignore[arg-type,assignment]
        super().__init__(self.diagnostics)

    def __str__(self) -> str:
        from maskdsl.source.render import render_text

        return "\n\n".join(render_text(d) for d in self.diagnostics)
