"""What a name means where it stands: coordinates, lengths, parameters, local names; and what unknown names meant.

Not here: calls of definitions (`lower_calls`), tables with indices (`lower_tables`).
"""

from __future__ import annotations

from maskdsl.ir import ops
from maskdsl.ir.nodes import COORDINATES, Fill, Lookup, Node, Op, Size, Symbol, Use
from maskdsl.ir.ops import FUNCTIONS
from maskdsl.ir.types import BUILT_IN_AXES, FLOAT, Constant, Hole, Table
from maskdsl.meaning.findings import MOST_ADVISED, counted, quoted, spelt
from maskdsl.meaning.lowering import Lowering, Setting
from maskdsl.meaning.scope import OWN_NAMES, PLACE_NAMES, Given, Local
from maskdsl.source.diagnostic import Label
from maskdsl.source.suggest import did_you_mean
from maskdsl.source.text import Span
from maskdsl.syntax import ast
from maskdsl.syntax.habits import NAMES


def place_symbol(name: str, span: Span) -> Node:
    """A coordinate, a length, or the key/value group of the head."""
    if name == "kv_h":
        group = ops.make("floordiv", Size("head", span=span), Size("kv_head", span=span), span=span)
        return ops.make("floordiv", Symbol("h", span=span), group, span=span, hint="kv_h")
    return Symbol(name, span=span)


def coordinate_of(node: Node) -> str | None:
    """The coordinate that a node is: `b`, `h`, `q`, `k`, `kv_h`; None for any other node."""
    match node:
        case Symbol(name=name) if name in COORDINATES:
            return name
        case Op(name="floordiv", args=(Symbol(name="h"), Op(name="floordiv", args=(Size(axis=a), Size(axis=b))))):
            return "kv_h" if (a, b) == ("head", "kv_head") else None
    return None


def read_score(lowering: Lowering, span: Span) -> Node | None:
    """The word `score`: the incoming score, where one may be read."""
    if lowering.setting is Setting.MASK:
        return refuse_score(lowering, span)
    return Symbol("score", FLOAT, span)


def refuse_score(lowering: Lowering, span: Span, source: Node | None = None) -> None:
    """Report a mask that reads `score`; `source` is where it is read, when that is elsewhere."""
    also = () if source is None else (Label(source.span, "`score` is read here"),)
    lowering.findings.tell(
        "E0401", "a mask may not read `score`", span, "read in a mask" if source is None else "", also=also,
        notes=("which pairs attend is decided before their scores are known",),
        help=("make it a `score`, or a `variant` with a mask and a score",),
    )


def use_parameter(lowering: Lowering, given: Given, span: Span) -> Node | None:
    """A parameter named without indices or arguments."""
    lowering.record.parameters.add(given.parameter.name)
    match given.parameter:
        case Constant() as constant:
            return Use(constant, constant.type, span)
        case Hole() as hole:
            return Fill(hole, span=span)
        case Table(axes=()) as table:
            return Lookup(table, (), table.type, span)
        case Table() as table:
            return _refuse_bare_table(lowering, table, given, span)


def refuse_unknown(lowering: Lowering, name: ast.Name, *, called: bool = False) -> None:
    """Report a name that nothing in scope has, once a definition."""
    if name.text in lowering.record.unknown:
        return
    lowering.record.unknown.add(name.text)
    advice: tuple[str, ...] = ()
    if name.text in NAMES:
        advice = (NAMES[name.text],)
    elif lowering.findings.errors < MOST_ADVISED and (line := lowering.findings.line_for(name.text)):
        advice = (f"import it: `{line}`",)
    elif lowering.findings.errors < MOST_ADVISED:
        advice = did_you_mean(name.text, [*lowering.scope, *(FUNCTIONS if called else (*PLACE_NAMES, "score"))])
    lowering.findings.tell("E0201", f"unknown name `{name.text}`", name.span, help=advice)


def refuse_call(lowering: Lowering, call: ast.Call, entry: Given | Local | None) -> None:
    """Report arguments after what takes none: a coordinate, a constant, a table, a local name."""
    name = call.name.text
    match entry:
        case Given(parameter=Table(axes=axes)) if axes:
            inside = ", ".join(a.value.span.text for a in call.arguments)
            told = f"`{name}` is a table: its indices stand in brackets"
            lowering.findings.tell("E0307", told, call.span, help=(f"write `{name}[{inside}]`",))
        case Given(parameter=Hole()):
            lowering.findings.tell(
                "E0210", f"`{name}` takes no arguments", call.arguments[0].span, "an argument of a mask parameter",
                notes=("what is given for a mask parameter has all its arguments already",),
                help=(f"move it: `{name} at (q = …, k = …)`",),
            )
        case _:
            lowering.findings.tell("E0303", f"`{name}` is a value, not a definition: it takes no arguments", call.span)


def find_axis(lowering: Lowering, call: ast.Call, axes: tuple[str, ...], code: str = "E0308") -> str | None:
    """The axis that the last argument of `call` names, one of `axes`."""
    argument = call.arguments[-1]
    match argument:
        case ast.Argument(name=None, value=ast.Call(name=name, parens=False)):
            if name.text in axes:
                return name.text
            if lowering.record.broken_axes:
                return None
            lowering.findings.tell(
                code, f"no table here has an axis `{name.text}`", name.span, help=did_you_mean(name.text, axes),
                notes=(f"the axes here are {', '.join(f'`{a}`' for a in axes)}",),
            )
        case _:
            lowering.findings.tell(code, f"`{call.name.text}` needs the name of an axis", argument.span)
    return None


def axes_here(lowering: Lowering) -> tuple[str, ...]:
    """The named axes that `size` may ask for: the built-in ones and those of the tables in scope."""
    named = dict.fromkeys(BUILT_IN_AXES)
    for name in lowering.scope:
        match lowering.scope.find(name):
            case Given(parameter=Table(axes=axes)):
                named.update(dict.fromkeys(a for a in axes if isinstance(a, str)))
    return tuple(named)


def refuse_function(lowering: Lowering, name: ast.Name) -> None:
    """Report a function named without its arguments."""
    how = f"{name.text}(axis)" if name.text == "size" else f"{name.text}(…)"
    told = f"`{name.text}` is a function: it needs its arguments"
    lowering.findings.tell("E0304", told, name.span, help=(f"write `{how}`",))


def is_own(name: str) -> bool:
    """Whether a name has a fixed meaning that no definition can change."""
    return name in OWN_NAMES


def is_place(name: str) -> bool:
    """Whether a name is a coordinate or a length."""
    return name in (*PLACE_NAMES,)


def _refuse_bare_table(lowering: Lowering, table: Table, given: Given, span: Span) -> None:
    usual = {"batch": "b", "head": "h", "kv_head": "kv_h", "position": "k"}
    indices = ", ".join(usual.get(str(a), "…") for a in table.axes)
    lowering.findings.tell(
        "E0307", f"the table {quoted(span)} needs {counted(len(table.axes), 'index')}", span, spelt(table),
        also=(Label(given.declared.span, "declared here"),), help=(f"write `{table.name}[{indices}]`",),
    )
