"""From a source text to its syntax tree, with every syntax error of the file in one run."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from lark import TextSlice, UnexpectedInput

from maskdsl.source.diagnostic import Diagnostic, MaskError
from maskdsl.source.text import Source, Span
from maskdsl.syntax import ast
from maskdsl.syntax.build import MAX_DEPTH, Piece, build_piece, too_deep
from maskdsl.syntax.explain import explain_unexpected
from maskdsl.syntax.grammar import load
from maskdsl.syntax.recover import chunks, names_of

MAX_CHARACTERS = 256 * 1024
MAX_LEXEMES, MAX_LEXEMES_EACH = 20_000, 4_000
MAX_ERRORS = 50
_LEXEME = re.compile(r"#[^\n]*|\w+|\|[ \t.x]*|\*\*|//|[<>=!]=|[^\s\w]")
_FIRST = re.compile(r"(?m:^[ \t\ufeff]*)([^#\s]\w*)")
_BRACKET = re.compile(r"#[^\n]*|[()\[\]{}]")


def parse(source: Source) -> tuple[ast.File, tuple[Diagnostic, ...]]:
    """The file's tree and what is wrong with its text; definitions with errors are left out of the tree.

    Never raises, whatever the text; no diagnostics means that the whole text was understood. At most about
    `MAX_ERRORS` are reported, and what follows the last of them is then not read.
    """
    refused = _refuse_size(source)
    if refused is not None:
        return ast.File(None, (), (), Span(source, 0, 0)), (refused,)
    found = _Found()
    for start, end in chunks(source.text):
        if len(found.diagnostics) < MAX_ERRORS:
            _read_chunk(source, start, end, found)
        else:
            found.broken.extend(names_of(source.text[start:end]))
    return found.file(source), tuple(found.diagnostics)


@dataclass(slots=True)
class _Found:
    """What the chunks read so far hold."""

    pieces: list[Piece] = field(default_factory=list)
    diagnostics: list[Diagnostic] = field(default_factory=list)
    broken: list[str] = field(default_factory=list)

    def file(self, source: Source) -> ast.File:
        edition = next((piece.edition for piece in self.pieces if piece.edition is not None), None)
        uses = tuple(use for piece in self.pieces for use in piece.uses)
        definitions = tuple(definition for piece in self.pieces for definition in piece.definitions)
        return ast.File(edition, uses, definitions, Span(source, 0, len(source.text)), tuple(self.broken))


def _read_chunk(source: Source, start: int, end: int, found: _Found) -> None:
    try:
        piece = _parse_chunk(source, start, end)
    except MaskError as error:
        found.diagnostics.extend(error.diagnostics)
        found.broken.extend(names_of(source.text[start:end]))
        return
    found.diagnostics.extend(_misplaced(piece, found.pieces))
    found.pieces.append(piece)


def _parse_chunk(source: Source, start: int, end: int) -> Piece:
    _verify_size(source, start, end)
    _verify_brackets(source, start, end)
    if source.text.startswith("\ufeff", start, end):
        start += 1
    try:
        tree = load().parse(TextSlice(source.text, start, end))
    except UnexpectedInput as error:
        raise MaskError(explain_unexpected(source, start, end, error)) from None
    return build_piece(tree, source)


def _misplaced(piece: Piece, earlier: list[Piece]) -> list[Diagnostic]:
    """The edition stands first, then the imports, then the definitions; each chunk alone cannot know."""
    wrong = []
    if piece.edition is not None and any(p.edition or p.uses or p.definitions for p in earlier):
        wrong.append(Diagnostic("E0101", "the edition of the language stands first in a file", piece.edition.span))
    if piece.uses and any(p.definitions for p in earlier):
        wrong.append(Diagnostic("E0101", "imports stand before the definitions of a file", piece.uses[0].span))
    return wrong


# ---------------------------------------------------------------- limits


def _refuse_size(source: Source) -> Diagnostic | None:
    if len(source.text) > MAX_CHARACTERS:
        size, limit = f"{len(source.text):,} characters", f"{MAX_CHARACTERS:,} characters"
    elif (count := _lexemes(source, 0, len(source.text), MAX_LEXEMES)) > MAX_LEXEMES:
        size, limit = f"{count:,} words and signs", f"{MAX_LEXEMES:,} words and signs"
    else:
        return None
    return _too_large("file", size, limit, Span(source, 0, 0))


def _verify_size(source: Source, start: int, end: int) -> None:
    """Raise MaskError where a definition has more words and signs than it may have; examples may hold long lists."""
    first = _FIRST.search(source.text, start, end)
    if first is None or first[1] == "example" or _lexemes(source, start, end, MAX_LEXEMES_EACH) <= MAX_LEXEMES_EACH:
        return
    count = sum(1 for m in _LEXEME.finditer(source.text, start, end) if m[0][0] != "#")
    if count > MAX_LEXEMES_EACH:
        word = Span(source, *first.span(1))
        size, limit = f"{count:,} words and signs", f"{MAX_LEXEMES_EACH:,}"
        raise MaskError(_too_large("definition", size, limit, word))


def _lexemes(source: Source, start: int, end: int, limit: int) -> int:
    """How many words and signs there are; 0 without counting where there can be no more than `limit`."""
    return sum(1 for _ in _LEXEME.finditer(source.text, start, end)) if end - start > limit else 0


def _too_large(what: str, size: str, limit: str, span: Span) -> Diagnostic:
    return Diagnostic("E0104", f"the {what} is too large: {size}", span, notes=(f"a {what} has at most {limit}",),
                      help=("numbers in bulk belong into a table, which is given at call time",))


def _verify_brackets(source: Source, start: int, end: int) -> None:
    depth = 0
    for match in _BRACKET.finditer(source.text, start, end):
        depth += 1 if match[0] in "([{" else -1 if match[0] in ")]}" else 0
        if depth > MAX_DEPTH:
            raise MaskError(too_deep(Span(source, match.start(), match.end())))
