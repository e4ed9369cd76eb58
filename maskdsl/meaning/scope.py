"""The names that an expression may use: parameters, local names, definitions, and those that belong to the language.

Not here: what a name becomes in the IR (`lower_names`), how names of other files are found (`imports`).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from maskdsl.ir.nodes import COORDINATES, LENGTHS, Node, Variant
from maskdsl.ir.ops import FUNCTIONS
from maskdsl.ir.types import Parameter
from maskdsl.syntax import ast

KEYWORDS = frozenset(
    "language from import as mask score variant example where requires at and or not if else for in range any all sum "
    "true false inf bool int float then".split()
)
"""Words of the grammar: no definition, parameter, local name or axis may have them."""

PLACE_NAMES = (*COORDINATES, "kv_h", *LENGTHS)
"""The names that stand for where an expression is evaluated."""

OWN_NAMES = frozenset({*PLACE_NAMES, "size", "ascending", *FUNCTIONS})
"""Names with a fixed meaning everywhere."""


@dataclass(frozen=True, slots=True, eq=False)
class Given:
    """A parameter, and where it is declared."""

    parameter: Parameter
    declared: ast.Parameter


@dataclass(frozen=True, slots=True, eq=False)
class Local:
    """A name of `where` or a quantifier's variable; `node` is None when its expression has an error."""

    node: Node | None
    name: ast.Name


@dataclass(frozen=True, slots=True, eq=False)
class Defined:
    """A definition as its callers see it.

    `signature` has the parameters and no body; it is None when the header has an error. `variant` is the whole
    definition; it is None when anything in it has an error.
    """

    kind: str
    name: ast.Name
    signature: Variant | None = None
    variant: Variant | None = None


Entry = Given | Local | Defined


@dataclass(frozen=True, slots=True, eq=False)
class Scope:
    """Names over those of an outer scope, which they hide."""

    names: dict[str, Entry] = field(default_factory=dict)
    outer: Scope | None = None

    def find(self, name: str) -> Entry | None:
        """What the innermost scope that knows the name says."""
        scope: Scope | None = self
        while scope is not None:
            if name in scope.names:
                return scope.names[name]
            scope = scope.outer
        return None

    def __iter__(self) -> Iterator[str]:
        """All names that can be found, innermost first."""
        scope: Scope | None = self
        while scope is not None:
            yield from scope.names
            scope = scope.outer
