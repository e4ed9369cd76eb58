"""How a row of the table is written in a language: argument texts in, expression text out.

A dialect is a column of such writers plus the texts of the functions that its expressions may call (its support). A
further dialect is a further module like `ops_torch` and a further field of `ops.Function`; a column may be sparse, and
stand on another where it has no form of its own.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from maskdsl.ir.nodes import Value
from maskdsl.ir.types import Scalar


@dataclass(frozen=True, slots=True)
class Argument:
    """An argument's text (a name, a call, or in parentheses), its type, and its value if it is a literal.

    A `natural` int is known to be at least 0.
    """

    text: str
    type: Scalar
    value: Value | None = None
    natural: bool = False

    @property
    def is_literal(self) -> bool:
        """Whether the text is a Python number or bool, no tensor."""
        return self.value is not None


Writer = Callable[..., str]
"""Takes one `Argument` a parameter, returns the text of an expression that needs no parentheses around it."""


def template(text: str) -> Writer:
    """A writer that puts the arguments' texts into `{0}`, `{1}`, …"""

    def write(*args: Argument) -> str:
        return text.format(*(a.text for a in args))

    return write


class Unwritable(Exception):
    """A row has no form in a dialect; the text says which and why."""


def refuse(why: str) -> Writer:
    """The writer of a row that a dialect does not have: raises Unwritable."""

    def write(*args: Argument) -> str:
        raise Unwritable(why)

    return write


def by_type(**writers: Writer | str) -> Writer:
    """A writer that goes by the last argument's type: `by_type(int=…, float=…)`."""
    rules = {Scalar(name): template(w) if isinstance(w, str) else w for name, w in writers.items()}

    def write(*args: Argument) -> str:
        return rules[args[-1].type](*args)

    return write


def support_for(body: str, support: Mapping[str, str]) -> str:
    """The definitions of those support functions that the text or one of them calls, in the order of `support`."""
    called, texts = set[str](), [body]
    while texts:
        text = texts.pop()
        found = {name for name in support if re.search(rf"(?<![\w.]){name}\(", text)} - called
        called |= found
        texts += [support[name] for name in found]
    return "\n\n".join(text for name, text in support.items() if name in called)

