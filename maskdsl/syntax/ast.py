"""The syntax tree: one class per rule of `grammar/mask.lark`, every node with its span.

Nothing is resolved here: names are text, numbers are values, documentation lines are kept as written.
"""

from __future__ import annotations

from dataclasses import dataclass

from maskdsl.source.text import Span

# ---------------------------------------------------------------- expressions


@dataclass(frozen=True, slots=True, eq=False)
class Name:
    """An identifier where it stands."""

    text: str
    span: Span


@dataclass(frozen=True, slots=True, eq=False)
class Integer:
    value: int
    span: Span


@dataclass(frozen=True, slots=True, eq=False)
class Float:
    value: float
    span: Span


@dataclass(frozen=True, slots=True, eq=False)
class Boolean:
    value: bool
    span: Span


@dataclass(frozen=True, slots=True, eq=False)
class ListValue:
    """`[1, 2]`, nested for tables of more axes; legal only as an argument of an example."""

    items: tuple[Expression, ...]
    span: Span


@dataclass(frozen=True, slots=True, eq=False)
class ScoreValue:
    """The word `score` in an expression."""

    span: Span


@dataclass(frozen=True, slots=True, eq=False)
class Argument:
    """`value` or `name = value` in a call."""

    name: Name | None
    value: Expression
    span: Span


@dataclass(frozen=True, slots=True, eq=False)
class Call:
    """`name`, `name()` or `name(arguments)`: a variable, a function or a definition; `parens` tells the first apart."""

    name: Name
    arguments: tuple[Argument, ...]
    parens: bool
    span: Span


@dataclass(frozen=True, slots=True, eq=False)
class Lookup:
    table: Name
    indices: tuple[Expression, ...]
    span: Span


@dataclass(frozen=True, slots=True, eq=False)
class Quantified:
    """`any|all|sum(body for variable in range([start,] stop))`; `start` is None when not written."""

    kind: str
    body: Expression
    variable: Name
    start: Expression | None
    stop: Expression
    span: Span


@dataclass(frozen=True, slots=True, eq=False)
class Coordinate:
    """`q = value` in `at (…)`; in an example also `size(axis) = value`, for which `size_of` is true."""

    name: Name
    value: Expression
    span: Span
    size_of: bool = False


@dataclass(frozen=True, slots=True, eq=False)
class Moved:
    """`body at (coordinates)`."""

    body: Expression
    coordinates: tuple[Coordinate, ...]
    span: Span


@dataclass(frozen=True, slots=True, eq=False)
class Negate:
    value: Expression
    span: Span


@dataclass(frozen=True, slots=True, eq=False)
class Not:
    value: Expression
    span: Span


@dataclass(frozen=True, slots=True, eq=False)
class Binary:
    """`left operator right` with an operator of `+ - * / // % **`."""

    operator: str
    left: Expression
    right: Expression
    span: Span


@dataclass(frozen=True, slots=True, eq=False)
class Compare:
    """A chain: `operands[0] operators[0] operands[1] …` with operators of `< <= > >= == !=`."""

    operators: tuple[str, ...]
    operands: tuple[Expression, ...]
    span: Span


@dataclass(frozen=True, slots=True, eq=False)
class And:
    operands: tuple[Expression, ...]
    span: Span


@dataclass(frozen=True, slots=True, eq=False)
class Or:
    operands: tuple[Expression, ...]
    span: Span


@dataclass(frozen=True, slots=True, eq=False)
class Choice:
    """`value if condition else otherwise`."""

    value: Expression
    condition: Expression
    otherwise: Expression
    span: Span


Expression = (
    Integer | Float | Boolean | ListValue | ScoreValue | Call | Lookup | Quantified | Moved | Negate | Not | Binary
    | Compare | And | Or | Choice
)

# ---------------------------------------------------------------- definitions


@dataclass(frozen=True, slots=True, eq=False)
class Type:
    """`mask`, `int`, `int[]`, `int[batch, 4]`: `axes` is None without brackets."""

    name: str
    axes: tuple[Name | Integer, ...] | None
    span: Span


@dataclass(frozen=True, slots=True, eq=False)
class Parameter:
    name: Name
    type: Type
    default: Expression | None
    span: Span


@dataclass(frozen=True, slots=True, eq=False)
class Binding:
    name: Name
    value: Expression
    span: Span


@dataclass(frozen=True, slots=True, eq=False)
class Mask:
    doc: tuple[str, ...]
    name: Name
    parameters: tuple[Parameter, ...]
    body: Expression
    where: tuple[Binding, ...]
    requires: tuple[Expression, ...]
    span: Span


@dataclass(frozen=True, slots=True, eq=False)
class Score:
    doc: tuple[str, ...]
    name: Name
    parameters: tuple[Parameter, ...]
    body: Expression
    where: tuple[Binding, ...]
    requires: tuple[Expression, ...]
    span: Span


@dataclass(frozen=True, slots=True, eq=False)
class Field:
    """`name = stages` in a variant; only `score` may have more than one stage (`a then b`)."""

    name: Name
    stages: tuple[Expression, ...]
    span: Span


@dataclass(frozen=True, slots=True, eq=False)
class Variant:
    doc: tuple[str, ...]
    name: Name
    parameters: tuple[Parameter, ...]
    fields: tuple[Field, ...]
    span: Span


@dataclass(frozen=True, slots=True, eq=False)
class Picture:
    """Rows of booleans as written (rows may be ragged; the checker says so); `row_spans` has one span a row."""

    rows: tuple[tuple[bool, ...], ...]
    row_spans: tuple[Span, ...]
    span: Span


@dataclass(frozen=True, slots=True, eq=False)
class Example:
    doc: tuple[str, ...]
    call: Call
    place: tuple[Coordinate, ...]
    expected: Picture | Expression
    span: Span


Definition = Mask | Score | Variant | Example

# ---------------------------------------------------------------- files


@dataclass(frozen=True, slots=True, eq=False)
class Imported:
    """`name [as alias]`."""

    name: Name
    alias: Name | None
    span: Span


@dataclass(frozen=True, slots=True, eq=False)
class Use:
    """`from module import …`; `local` when the module begins with a dot (the file's own folder only)."""

    local: bool
    module: tuple[Name, ...]
    names: tuple[Imported, ...]
    span: Span


@dataclass(frozen=True, slots=True, eq=False)
class File:
    """`broken` are the names that text with errors was meant to define or import: they are not unknown, only unread."""

    edition: Integer | None
    uses: tuple[Use, ...]
    definitions: tuple[Definition, ...]
    span: Span
    broken: tuple[str, ...] = ()
