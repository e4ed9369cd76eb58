"""Cutting a file where definitions begin, so that an error in one leaves the others alone."""

from __future__ import annotations

import re

# What may follow the word `score` inside a definition: an operator, a clause or the next field of a variant.
_WORDS = r"if|else|and|or|not|at|then|where|requires|for|in|as|import|range|mask|score|scale|sink|normalize"
_BEGIN = re.compile(
    rf"""^[ \t\ufeff]*(?:
        (?P<doc>\#\#(?!\#))
      | (?P<head>from[ \t]+[A-Za-z_.] | language[ \t]+[0-9])
      | (?:mask|score|variant|example|def|class)[ \t]+(?!(?:{_WORDS})\b)[A-Za-z_0-9(]
    )""",
    re.MULTILINE | re.VERBOSE,
)
_ONLY_COMMENTS = re.compile(r"(?:[ \t\r\n\f]+|#[^\n]*)*+")
_NAMES = re.compile(r"^[ \t\ufeff]*(?:mask|score|variant|def)[ \t]+([A-Za-z_]\w*)", re.MULTILINE)
_IMPORTED = re.compile(r"^[ \t\ufeff]*from\b[^#\n]*\bimport\b([^#]*)", re.MULTILINE)


def chunks(text: str) -> list[tuple[int, int]]:
    """The ranges `[start, end)` of the text that each begin with a definition or an import; together the whole text.

    In a program without errors no definition is ever cut: the words that begin one cannot follow one another inside.
    """
    starts = [0]
    doc_end: int | None = None
    for match in _BEGIN.finditer(text):
        continues = doc_end is not None and match["head"] is None and _is_only_comments(text, doc_end, match.start())
        if not continues and match.start() > 0:
            starts.append(match.start())
        doc_end = _line_end(text, match.start()) if match["doc"] else None
    return list(zip(starts, [*starts[1:], len(text)], strict=True))


def names_of(text: str) -> tuple[str, ...]:
    """The names that a chunk with errors was most likely meant to define or to import."""
    imported = [word for match in _IMPORTED.finditer(text) for word in re.findall(r"[A-Za-z_]\w*", match[1])]
    return (*(match[1] for match in _NAMES.finditer(text)), *(word for word in imported if word != "as"))


def _is_only_comments(text: str, start: int, end: int) -> bool:
    return _ONLY_COMMENTS.fullmatch(text, start, end) is not None


def _line_end(text: str, start: int) -> int:
    end = text.find("\n", start)
    return len(text) if end < 0 else end
