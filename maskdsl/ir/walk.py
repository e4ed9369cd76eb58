"""Walking and rewriting: iterative, so depth costs no stack; shared nodes are visited once.

`children` and `with_children` are the only places that know the shape of each node class.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from typing import Any, TypeVar

from maskdsl.ir.nodes import Call, Lookup, Moved, Node, Op, Quantified, Variant

T = TypeVar("T")


def children(node: Node) -> tuple[Node, ...]:
    """The nodes directly below: arguments, indices, bounds, body, moved values; not a call's target."""
    match node:
        case Op(args=args):
            return args
        case Lookup(indices=indices):
            return indices
        case Quantified(start=start, stop=stop, body=body):
            return (start, stop, body)
        case Moved(body=body, moves=moves):
            return (body, *(value for _, value in moves))
        case Call(arguments=arguments):
            return tuple(a for _, a in arguments if isinstance(a, Node))
    return ()


def with_children(node: Node, below: tuple[Node, ...]) -> Node:
    """The same node over other children (given in the order of `children`); the node itself if nothing changed."""
    if all(new is old for new, old in zip(below, children(node), strict=True)):
        return node
    match node:
        case Op():
            return replace(node, args=below)
        case Lookup():
            return replace(node, indices=below)
        case Quantified():
            return replace(node, start=below[0], stop=below[1], body=below[2])
        case Moved(moves=moves):
            return replace(node, body=below[0], moves=tuple((c, v) for (c, _), v in zip(moves, below[1:], strict=True)))
        case Call(arguments=arguments):
            rest = iter(below)
            return replace(node, arguments=tuple((p, next(rest) if isinstance(a, Node) else a) for p, a in arguments))
    raise AssertionError(f"{type(node).__name__} has no children")


def topological(roots: Node | Iterable[Node], stop: Callable[[Node], bool] = lambda node: False) -> Iterator[Node]:
    """Every node reachable from the roots once, children before parents; nothing below a node that `stop`s."""
    seen: set[int] = set()
    stack = [(r, False) for r in ([roots] if isinstance(roots, Node) else list(roots))][::-1]
    while stack:
        node, ready = stack.pop()
        if ready:
            yield node
        elif id(node) not in seen:
            seen.add(id(node))
            stack.append((node, True))
            if not stop(node):
                stack.extend((c, False) for c in reversed(children(node)) if id(c) not in seen)


def fold(root: Node, combine: Callable[[Node, tuple[T, ...]], T]) -> T:
    """The value of a graph, bottom-up: `combine(node, values of its children)`, once per shared node."""
    values: dict[int, T] = {}
    for node in topological(root):
        values[id(node)] = combine(node, tuple(values[id(c)] for c in children(node)))
    return values[id(root)]


def rewrite(root: Node, rule: Callable[[Node], Node | None]) -> Node:
    """The graph with `rule` applied bottom-up to every node (after its children); None keeps the node."""

    def apply(node: Node, below: tuple[Node, ...]) -> Node:
        rebuilt = with_children(node, below)
        return rule(rebuilt) or rebuilt

    return fold(root, apply)


def rewrite_variant(variant: Variant, rule: Callable[[Node], Node]) -> Variant:
    """The variant with `rule` applied to each of its roots and facts (whole expressions, not every node)."""
    roots: dict[str, Any] = {name: rule(node) for name, node in variant.roots}
    return replace(variant, **roots, facts=tuple(rule(f) for f in variant.facts))
