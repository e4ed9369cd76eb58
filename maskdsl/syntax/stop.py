"""Where reading stopped and what stood around it: what the sentences of `explain` and `habits` are made from."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from lark import UnexpectedInput, UnexpectedToken

from maskdsl.source.diagnostic import Diagnostic, Label
from maskdsl.source.text import Source, Span

LEXEME = re.compile(
    r"""\#\#(?!\#)[^\n]* | (?P<comment>\#[^\n]*) | (?P<space>[ \t\r\n\f]+)
      | [^\W\d]\w* | [0-9][\w.]*(?:(?<=[eE])[+-][0-9]+)? | "[^"\n]*"? | '[^'\n]*'?
      | && | \|\| | === | !== | <=> | << | >> | -> | => | =< | <> | == | != | <= | >= | := | [-+*/%]= | \*\* | //
      | \+\+ | /\* | .""",
    re.VERBOSE | re.DOTALL,
)
CLOSER = {"(": ")", "[": "]", "{": "}"}
_NO_VALUES = frozenset("if else for in at then where requires and or not".split())
_VALUE = frozenset("BOOL FLOAT INT LPAR LSQB MINUS NAME QUANTIFIER SCORE".split())
DEEP_STACK = 2000


@dataclass(frozen=True, slots=True)
class Stop:
    """The place in a chunk `[start, end)` where no reading goes on.

    `found` is the lexeme there, None at the end of the chunk; `before` are all lexemes before it; `opened` the brackets
    open there; `expected` the names of the grammar's terminals that could have followed.
    """

    source: Source
    start: int
    end: int
    before: tuple[Span, ...]
    found: Span | None
    opened: tuple[Span, ...]
    expected: frozenset[str]

    @property
    def text(self) -> str:
        """The lexeme where reading stopped, empty at the end."""
        return self.found.text if self.found is not None else ""

    @property
    def previous(self) -> str:
        """The lexeme before, empty at the start."""
        return self.before[-1].text if self.before else ""

    @property
    def place(self) -> Span:
        """What to underline: the lexeme found, or at the end of the chunk the last lexeme before."""
        if self.found is not None:
            return self.found
        return self.before[-1] if self.before else Span(self.source, self.end, self.end)

    @property
    def kind(self) -> str:
        """The word that begins the chunk, such as `mask`, `score`, `variant`, `example` or `from`."""
        return next((span.text for span in self.before if not span.text.startswith("##")), "")

    @property
    def wants_value(self) -> bool:
        """Whether an expression could have begun here."""
        return {"NAME", "FLOAT"} <= self.expected

    @property
    def wants_operator(self) -> bool:
        """Whether a complete expression stands before."""
        return bool(self.expected & {"PLUS", "_AND", "_OR", "_IF"})

    @property
    def in_head(self) -> bool:
        """Whether no `=` at bracket depth 0 has come yet."""
        return not self.opened and not any(span.text == "=" for span in outside_brackets(self.before))

    def wrong(self, message: str, *help: str, code: str = "E0101", span: Span | None = None, label: str = "",
              also: tuple[Label, ...] = (), notes: tuple[str, ...] = ()) -> Diagnostic:
        """A diagnostic at `span`, by default at the lexeme where reading stopped."""
        return Diagnostic(code, message, span or self.place, label, also, notes, help)


def stop_of(source: Source, start: int, end: int, error: UnexpectedInput) -> Stop:
    """What lark's error says, with the lexemes around it; `[start, end)` is the chunk that was read."""
    at_end = isinstance(error, UnexpectedToken) and error.token.type == "$END"
    at = end if at_end else error.pos_in_stream
    assert at is not None
    before = tuple(lexemes(source, start, at))
    found = None if at_end else next(iter(lexemes(source, at, end)), None)
    expected = _expected(error)
    if before and before[-1].text in _NO_VALUES and "_OR" in expected and "LPAR" in expected:
        # The lexer took a word such as `if` for a name, where a value had to come; the mistake is that word.
        before, found, expected = before[:-1], before[-1], _VALUE
    return Stop(source, start, end, before, found, open_brackets(before), expected)


def lexemes(source: Source, start: int, end: int) -> list[Span]:
    """The words, numbers, signs and documentation lines of a range, whether the language knows them or not."""
    found = LEXEME.finditer(source.text, start, end)
    return [Span(source, m.start(), m.end()) for m in found if m.lastgroup is None]


def open_brackets(spans: tuple[Span, ...]) -> tuple[Span, ...]:
    """The opening brackets that nothing closes, outermost first."""
    opened: list[Span] = []
    for span in spans:
        if span.text in CLOSER:
            opened.append(span)
        elif opened and span.text == CLOSER[opened[-1].text]:
            opened.pop()
    return tuple(opened)


def outside_brackets(spans: tuple[Span, ...]) -> list[Span]:
    """The lexemes at bracket depth 0."""
    outside: list[Span] = []
    depth = 0
    for span in spans:
        depth -= span.text in (")", "]", "}")
        if depth <= 0:
            outside.append(span)
        depth += span.text in CLOSER
    return outside


def _expected(error: UnexpectedInput) -> frozenset[str]:
    parser: Any = error.interactive_parser
    if len(parser.parser_state.state_stack) > DEEP_STACK:
        return frozenset(name for name in parser.choices() if name.isupper())
    return frozenset(parser.accepts())


def line_around(span: Span) -> Span:
    """The line of the text on which a span begins, without indentation and newline."""
    text = span.source.text
    start, stop = text.rfind("\n", 0, span.start) + 1, text.find("\n", span.start)
    line = text[start : stop if stop >= 0 else len(text)]
    return Span(span.source, start + len(line) - len(line.lstrip()), start + len(line.rstrip()))


def shorten(text: str, width: int = 40) -> str:
    """The text itself, or its beginning and `…` where it is longer than `width`."""
    return text if len(text) <= width else text[: width - 1] + "…"
