"""Expressions of the syntax tree become IR: one rule for every class of node.

A rule is a generator that asks for the expressions below its own (`lower` runs them on a stack of its own, so depth
costs nothing) and answers with a node, or with None after an error: what contains an error is not looked at further.
"""

from __future__ import annotations

from collections.abc import Generator, Sequence

from maskdsl.ir import ops
from maskdsl.ir.nodes import Ascending, Call, Moved, Node, Quantified, Size, Symbol, literal
from maskdsl.ir.ops import FUNCTIONS
from maskdsl.ir.types import BOOL, FLOAT, INT, Axis, Constant, Hole, Parameter, Table
from maskdsl.meaning.findings import an, as_int, quoted
from maskdsl.meaning.lower_calls import check_constant, check_mask, match_arguments, may_call, refuse_table
from maskdsl.meaning.lower_moves import check_bounds, check_move, check_moves, name_variable
from maskdsl.meaning.lower_names import (
    axes_here,
    find_axis,
    is_own,
    is_place,
    place_symbol,
    read_score,
    refuse_call,
    refuse_function,
    refuse_score,
    refuse_unknown,
    use_parameter,
)
from maskdsl.meaning.lower_operators import (
    apply,
    apply_chain,
    apply_logic,
    apply_power,
    call_function,
    choose,
    refuse_count,
)
from maskdsl.meaning.lower_tables import find_table, list_table, look_up, match_axes
from maskdsl.meaning.lowering import Lowering, Setting, Step, Typed
from maskdsl.meaning.reads import first_illegal, is_scoreless
from maskdsl.meaning.scope import Defined, Given, Local
from maskdsl.syntax import ast

Values = Generator[tuple[Lowering, ast.Expression], Node | None, list[Typed] | None]
Pairs = Generator[tuple[Lowering, ast.Expression], Node | None, tuple[tuple[Parameter, Node | Table], ...] | None]
MovePairs = Generator[tuple[Lowering, ast.Expression], Node | None, tuple[tuple[str, Node], ...] | None]


def lower(lowering: Lowering, expression: ast.Expression) -> Node | None:
    """The IR of an expression; None when it has an error, which has then been reported."""
    stack = [_start(lowering, expression)]
    value: Node | None = None
    while stack:
        try:
            below = stack[-1].send(value)
        except StopIteration as end:
            stack.pop()
            value = end.value
        else:
            stack.append(_start(*below))
            value = None
    return value


def _start(lowering: Lowering, expression: ast.Expression) -> Step:
    match expression:
        case ast.Call():
            return _call(lowering, expression)
        case ast.Lookup():
            return _lookup(lowering, expression)
        case ast.Quantified():
            return _quantified(lowering, expression)
        case ast.Moved():
            return _moved(lowering, expression)
        case ast.Binary() | ast.Negate() | ast.Not() | ast.Compare() | ast.And() | ast.Or() | ast.Choice():
            return _operator(lowering, expression)
    return _leaf(lowering, expression)


def _leaf(lowering: Lowering, leaf: ast.Expression) -> Step:
    yield from ()
    match leaf:
        case ast.Integer() | ast.Float() | ast.Boolean():
            return literal(leaf.value, leaf.span)
        case ast.ScoreValue(span=span):
            return read_score(lowering, span)
        case ast.ListValue(span=span):
            told = "a list stands only for a table in an example"
            return lowering.findings.tell("E0301", told, span, help=("declare a table parameter, such as `t: int[n]`",))
    raise AssertionError(f"no rule for {type(leaf).__name__}")


def _all(lowering: Lowering, expressions: Sequence[ast.Expression]) -> Values:
    """All the expressions, every error in them reported; None if one has an error."""
    found = []
    for expression in expressions:
        node = yield lowering, expression
        if node is not None:
            found.append(Typed(node, expression.span))
    return found if len(found) == len(expressions) else None


# ---------------------------------------------------------------- operators


def _operator(
    lowering: Lowering, e: ast.Binary | ast.Negate | ast.Not | ast.Compare | ast.And | ast.Or | ast.Choice
) -> Step:
    if isinstance(e, ast.Negate) and isinstance(e.value, ast.Integer | ast.Float):
        return literal(-e.value.value, e.span)
    values = yield from _all(lowering, _operands(e))
    if values is None:
        return None
    match e:
        case ast.Binary(operator="**"):
            return apply_power(lowering, values[0], values[1], e.span, "**")
        case ast.Binary(operator=operator):
            return apply(lowering, ops.BY_SYMBOL[operator], values, e.span, operator)
        case ast.Negate():
            return apply(lowering, ops.PREFIX["-"], values, e.span, "-")
        case ast.Not():
            return apply(lowering, ops.PREFIX["not"], values, e.span, "not")
        case ast.Compare(operators=operators):
            return apply_chain(lowering, operators, values, e.span)
        case ast.And() | ast.Or():
            return apply_logic(lowering, "and" if isinstance(e, ast.And) else "or", values, e.span)
        case ast.Choice():
            return choose(lowering, values[1], values[0], values[2], e.span)


def _operands(
    e: ast.Binary | ast.Negate | ast.Not | ast.Compare | ast.And | ast.Or | ast.Choice
) -> tuple[ast.Expression, ...]:
    match e:
        case ast.Binary(left=left, right=right):
            return (left, right)
        case ast.Negate(value=value) | ast.Not(value=value):
            return (value,)
        case ast.Compare(operands=operands) | ast.And(operands=operands) | ast.Or(operands=operands):
            return operands
        case ast.Choice(value=value, condition=condition, otherwise=otherwise):
            return (value, condition, otherwise)


# ---------------------------------------------------------------- names and calls


def _call(lowering: Lowering, call: ast.Call) -> Step:
    name, entry = call.name.text, lowering.scope.find(call.name.text)
    if isinstance(entry, Local):
        lowering.record.locals.add(name)
    match entry:
        case Defined():
            return (yield from _definition(lowering, call, entry))
        case Given() | Local() if call.arguments:
            yield from _all(lowering, [a.value for a in call.arguments])
            return refuse_call(lowering, call, entry) if not isinstance(entry, Local) or entry.node else None
        case Given():
            return use_parameter(lowering, entry, call.span)
        case Local():
            return _local(lowering, entry, call)
    if is_place(name):
        return refuse_call(lowering, call, None) if call.parens else place_symbol(name, call.span)
    if not is_own(name):
        refuse_unknown(lowering, call.name, called=call.parens)
        yield from _all(lowering, [a.value for a in call.arguments])
        return None
    if not call.parens:
        return refuse_function(lowering, call.name)
    return (yield from _own_function(lowering, call))


def _own_function(lowering: Lowering, call: ast.Call) -> Step:
    match call.name.text:
        case "size":
            return _size(lowering, call)
        case "ascending":
            return _ascending(lowering, call)
        case name:
            values = yield from _all(lowering, [a.value for a in call.arguments])
            named = [a.name for a in call.arguments if a.name is not None]
            if named:
                return lowering.findings.tell("E0208", f"arguments of `{name}` have no names", named[0].span)
            return None if values is None else call_function(lowering, call, FUNCTIONS[name], values)


def _local(lowering: Lowering, local: Local, call: ast.Call) -> Node | None:
    """A name of `where` or a quantifier's variable: the one node that all its uses share."""
    if local.node is not None and lowering.setting is Setting.MASK:
        illegal = first_illegal(local.node, is_scoreless, lowering.record.sound[is_scoreless])
        if illegal is not None:
            return refuse_score(lowering, call.span, illegal)
    return local.node


def _size(lowering: Lowering, call: ast.Call) -> Node | None:
    if len(call.arguments) != 1:
        return refuse_count(lowering, call, "the name of one axis")
    axis = find_axis(lowering, call, axes_here(lowering))
    return None if axis is None else Size(axis, span=call.span)


def _ascending(lowering: Lowering, call: ast.Call) -> Node | None:
    if lowering.setting is not Setting.FACT:
        told = "`ascending` states a fact about a table: it stands in `requires`"
        return lowering.findings.tell("E0412", told, call.span, help=("write `requires ascending(table, axis)`",))
    if len(call.arguments) != 2:
        return refuse_count(lowering, call, "a table and the name of one of its axes")
    given = _named_table(lowering, call.arguments[0])
    if given is None:
        if _is_sound(lowering, call.arguments[0]):
            told = f"`ascending` needs a table, but {quoted(call.arguments[0].span)} is none"
            lowering.findings.tell("E0307", told, call.arguments[0].span)
        return None
    table = given.parameter
    assert isinstance(table, Table)
    lowering.record.parameters.add(table.name)
    axis = find_axis(lowering, call, tuple(a for a in table.axes if isinstance(a, str)))
    return None if axis is None else Ascending(table, table.axes.index(axis), span=call.span)


def _definition(lowering: Lowering, call: ast.Call, defined: Defined) -> Step:
    signature = defined.signature
    if not may_call(lowering, call, defined) or signature is None:
        return None
    matched = match_arguments(lowering, call, signature)
    if matched is None:
        return None
    arguments = yield from _arguments(lowering, matched, dict(signature.defaults))
    if arguments is None or defined.variant is None:
        return None
    return Call(defined.variant, arguments, BOOL if defined.kind == "mask" else FLOAT, call.span)


def _arguments(
    lowering: Lowering, matched: Sequence[tuple[Parameter, ast.Argument | None]], defaults: dict[Constant, Node]
) -> Pairs:
    axes: dict[Axis, Axis] = {}
    found: list[tuple[Parameter, Node | Table]] = []
    for parameter, argument in matched:
        value: Node | Table | None
        if argument is None:
            assert isinstance(parameter, Constant)
            value = defaults[parameter]
        elif isinstance(parameter, Table):
            value = _table_argument(lowering, parameter, argument, axes)
        else:
            value = yield from _value_argument(lowering, parameter, argument)
        if value is not None:
            found.append((parameter, value))
    return tuple(found) if len(found) == len(matched) else None


def _value_argument(lowering: Lowering, parameter: Constant | Hole, argument: ast.Argument) -> Step:
    inside = lowering.set(Setting.MASK) if isinstance(parameter, Hole) else lowering
    node = yield inside, argument.value
    if node is None:
        return None
    value = Typed(node, argument.value.span)
    if isinstance(parameter, Hole):
        return check_mask(lowering, parameter, value)
    return check_constant(lowering, parameter, value)


def _table_argument(
    lowering: Lowering, parameter: Table, argument: ast.Argument, axes: dict[Axis, Axis]
) -> Table | None:
    given = _named_table(lowering, argument)
    if given is None and lowering.record.lists is not None:
        return list_table(lowering, parameter, argument, axes)
    if given is None:
        if _is_sound(lowering, argument):
            refuse_table(lowering, parameter, argument)
        return None
    table = given.parameter
    assert isinstance(table, Table)
    lowering.record.parameters.add(table.name)
    return table if match_axes(lowering, parameter, table, axes, argument.value.span) else None


def _named_table(lowering: Lowering, argument: ast.Argument) -> Given | None:
    """The table that an argument names, if it is a bare name of one."""
    match argument.value:
        case ast.Call(name=name, parens=False):
            match lowering.scope.find(name.text):
                case Given(parameter=Table()) as given:
                    return given
    return None


def _is_sound(lowering: Lowering, argument: ast.Argument) -> bool:
    """Whether an argument that is no table has no error of its own (a broken parameter, an unknown name)."""
    match argument.value:
        case ast.Call(name=name, arguments=()):
            entry = lowering.scope.find(name.text)
            if entry is None and not is_own(name.text):
                refuse_unknown(lowering, name)
                return False
            return not isinstance(entry, Local) or entry.node is not None
    return True


# ---------------------------------------------------------------- tables, moves, quantifiers


def _lookup(lowering: Lowering, lookup: ast.Lookup) -> Step:
    table = find_table(lowering, lookup.table)
    indices = yield from _all(lowering, lookup.indices)
    return None if table is None or indices is None else look_up(lowering, table, lookup, indices)


def _moved(lowering: Lowering, moved: ast.Moved) -> Step:
    if not check_moves(lowering, moved):
        return None
    body = yield lowering, moved.body
    moves = yield from _moves(lowering, moved)
    if body is None or moves is None:
        return None
    return Moved(body, moves, body.type, moved.span) if check_move(lowering, moved, body) else None


def _moves(lowering: Lowering, moved: ast.Moved) -> MovePairs:
    found = []
    for coordinate in moved.coordinates:
        node = yield lowering, coordinate.value
        wanted = FLOAT if coordinate.name.text == "score" else INT
        if node is not None and wanted is FLOAT and node.type is INT:
            node = ops.make("to_float", node, span=node.span)
        if node is not None and node.type is not wanted:
            _refuse_move(lowering, coordinate, node)
        elif node is not None:
            found.append((coordinate.name.text, node))
    return tuple(found) if len(found) == len(moved.coordinates) else None


def _refuse_move(lowering: Lowering, coordinate: ast.Coordinate, node: Node) -> None:
    name, text = coordinate.name.text, quoted(coordinate.value.span)
    wanted = FLOAT if name == "score" else INT
    code = "E0302" if (node.type, wanted) == (FLOAT, INT) else "E0301"
    told = f"`{name}` is {an(wanted)}, but {text} is {an(node.type)}"
    lowering.findings.tell(code, told, coordinate.value.span, an(node.type), help=(as_int(text, node.type),))


def _quantified(lowering: Lowering, e: ast.Quantified) -> Step:
    start = literal(0, e.stop.span) if e.start is None else (yield lowering, e.start)
    stop = yield lowering, e.stop
    variable = name_variable(lowering, e)
    node = None if variable is None else Symbol(variable, span=e.variable.span)
    body = yield lowering.inside({e.variable.text: Local(node, e.variable)}), e.body
    if start is None or stop is None or body is None or variable is None or not check_bounds(lowering, e, start, stop):
        return None
    value = Typed(body, e.body.span)
    if e.kind == "sum" and body.type is BOOL:
        return apply(lowering, ops.OPS["add"], (value, value), e.span, "sum")
    if e.kind != "sum" and body.type is not BOOL:
        return apply_logic(lowering, e.kind, (value,), e.span)
    return Quantified(e.kind, variable, start, stop, body, body.type, e.span)
