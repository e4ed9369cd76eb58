"""A closure as a function of the tensors that it closes over, which Dynamo can trace with other tensors in their place.

Not here: which closures there are (`mods`, `flex`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from types import CodeType, FunctionType
from typing import Any

from torch import Tensor


@dataclass(frozen=True, slots=True)
class Recipe:
    """How a closure is made: what makes it, and its parts in order, which are recipes, tensors' places, or constants.

    A part is a pair of what it is ("closure", "tensor", "constant") and the recipe, None, or the value.
    """

    make: Callable[..., Any]
    parts: tuple[tuple[str, Any], ...]


def tensors_of(function: Callable[..., Any] | None) -> Iterator[Tensor]:
    """The tensors that a closure and the closures in it hold, each as often as it is held, in a fixed order."""
    for cell in getattr(function, "__closure__", None) or ():
        held = cell.cell_contents
        if isinstance(held, Tensor):
            yield held
        elif isinstance(held, FunctionType):
            yield from tensors_of(held)


def recipe_of(function: FunctionType) -> Recipe:
    """The recipe of a closure."""
    parts: list[tuple[str, Any]] = []
    for cell in function.__closure__ or ():
        held = cell.cell_contents
        if isinstance(held, Tensor):
            parts.append(("tensor", None))
        elif isinstance(held, FunctionType):
            parts.append(("closure", recipe_of(held)))
        else:
            parts.append(("constant", held))
    return Recipe(_maker(function), tuple(parts))


def made(recipe: Recipe, tensors: list[Tensor]) -> Any:
    """The closure over tensors taken from the end of `tensors`, which are in the reverse order of `tensors_of`."""
    held: list[Any] = []
    for kind, value in recipe.parts:
        if kind == "tensor":
            held.append(tensors.pop())
        elif kind == "closure":
            held.append(made(value, tensors))
        else:
            held.append(value)
    return recipe.make(*held)


def _maker(function: FunctionType) -> Callable[..., Any]:
    """A function whose parameters are what `function` closes over, and which returns it over them.

    Compiled from a text of the same shape, whose inner code is then exchanged: functions made by hand out of cells are
    what Dynamo does not trace.
    """
    names = function.__code__.co_freevars
    own = "inner" + "_" * max((len(n) for n in names), default=0)  # longer than any of them
    text = f"def make({', '.join(names)}):\n    def {own}():\n        return {_tuple(names)}\n    return {own}\n"
    outer = _code_in(compile(text, "<maskdsl closure>", "exec"), "make")
    inner = _code_in(outer, own)
    assert inner.co_freevars == names, (inner.co_freevars, names)
    constants = tuple(function.__code__ if c is inner else c for c in outer.co_consts)
    return FunctionType(outer.replace(co_consts=constants), function.__globals__, "make")


def _code_in(code: CodeType, name: str) -> CodeType:
    return next(c for c in code.co_consts if isinstance(c, CodeType) and c.co_name == name)


def _tuple(names: Sequence[str]) -> str:
    return f"({''.join(f'{n}, ' for n in names)})"
