"""In which order the definitions of a file are lowered: callees first; those that use themselves are reported.

Not here: the order of files (`imports`).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from maskdsl.meaning.findings import Findings, listed
from maskdsl.meaning.signatures import Definition
from maskdsl.syntax import ast

Uses = Mapping[int, Sequence[tuple[ast.Name, int]]]
"""For each definition, by number: the names of definitions in it, with the numbers of what they mean."""


def order_definitions(findings: Findings, definitions: Sequence[Definition], numbers: Mapping[str, int]) -> list[int]:
    """The numbers of the definitions, callees before callers; `numbers` says what a name means.

    A call that closes a circle is reported (E0207) and otherwise left out of account.
    """
    uses = {i: [(n, numbers[n.text]) for n in names_used(d) if n.text in numbers] for i, d in enumerate(definitions)}
    found: list[int] = []
    state: dict[int, int] = {}  # 1: on the path, 2: done
    for root in range(len(definitions)):
        found.extend(_visit(findings, definitions, uses, root, state))
    return found


def _visit(
    findings: Findings, definitions: Sequence[Definition], uses: Uses, root: int, state: dict[int, int]
) -> Iterator[int]:
    if root in state:
        return
    state[root] = 1
    path = [(root, iter(uses[root]))]
    while path:
        number, rest = path[-1]
        step = next(rest, None)
        if step is None:
            path.pop()
            state[number] = 2
            yield number
            continue
        name, used = step
        if used not in state:
            state[used] = 1
            path.append((used, iter(uses[used])))
        elif state[used] == 1:
            circle = [n for n, _ in path]
            _refuse_circle(findings, name, [definitions[n].name.text for n in circle[circle.index(used) + 1 :]])


def _refuse_circle(findings: Findings, name: ast.Name, through: list[str]) -> None:
    by_way = f" through {listed(through[:5])}" if through else ""
    findings.tell(
        "E0207", f"`{name.text}` uses itself{by_way}", name.span, "",
        notes=("a definition is put in the place of its name, so a circle would never end",),
        help=("a bounded search is a quantifier: `any(… for i in range(8))`",),
    )


# ---------------------------------------------------------------- names in an expression

_Hidden = frozenset[str]


def names_used(definition: Definition) -> Iterator[ast.Name]:
    """The names in a definition that no parameter, local name or quantifier of it explains."""
    hidden = frozenset(p.name.text for p in definition.parameters)
    if isinstance(definition, ast.Variant):
        for field in definition.fields:
            for stage in field.stages:
                yield from names_in(stage, hidden)
        return
    for binding in definition.where:
        yield from names_in(binding.value, hidden)
        hidden |= {binding.name.text}
    for expression in (definition.body, *definition.requires):
        yield from names_in(expression, hidden)


def names_in(expression: ast.Expression, hidden: _Hidden = frozenset()) -> Iterator[ast.Name]:
    """The names in an expression that are not hidden, nor the variables of its quantifiers."""
    waiting = [(expression, hidden)]
    while waiting:
        e, hides = waiting.pop()
        if isinstance(e, ast.Call) and e.name.text not in hides:
            yield e.name
        if isinstance(e, ast.Quantified):
            waiting.append((e.body, hides | {e.variable.text}))
        waiting.extend((part, hides) for part in reversed(_parts(e)))


def _parts(e: ast.Expression) -> Sequence[ast.Expression]:
    """The expressions directly below one, without the body of a quantifier."""
    match e:
        case ast.Call(name=ast.Name(text="size")):
            return []  # the name of an axis
        case ast.Call(name=ast.Name(text="ascending"), arguments=arguments):
            return [a.value for a in arguments[:1]]
        case ast.Call(arguments=arguments):
            return [a.value for a in arguments]
        case ast.Lookup(indices=parts) | ast.ListValue(items=parts) | ast.Compare(operands=parts):
            return parts
        case ast.And(operands=parts) | ast.Or(operands=parts):
            return parts
        case ast.Quantified(start=start, stop=stop):
            return [stop] if start is None else [start, stop]
        case ast.Moved(body=body, coordinates=coordinates):
            return [body, *(c.value for c in coordinates)]
        case ast.Negate(value=value) | ast.Not(value=value):
            return [value]
        case ast.Binary(left=left, right=right):
            return [left, right]
        case ast.Choice(value=value, condition=condition, otherwise=otherwise):
            return [value, condition, otherwise]
    return []
