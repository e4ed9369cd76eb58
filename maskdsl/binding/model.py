"""A model: the program that each of its layers uses.

Not here: which definition a layer uses (`library.models`), where programs come from (`maskdsl.api`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from maskdsl.library.models import Stack
from maskdsl.source.diagnostic import Diagnostic, MaskError
from maskdsl.source.suggest import did_you_mean

if TYPE_CHECKING:
    from maskdsl.binding.program import Program
    from maskdsl.library.manifest import Manifest

Get = Callable[[str, Mapping[str, Any]], "Program"]
"""The program of a definition with these constants. Raises MaskError."""


class Model:
    """One kind of a model, with `total` layers (None: as many as one likes), layers counted from 0.

    `model.layer(5)`, or `model[5]`, is the program of a layer; with a `total`, `len(model)` and iteration work too.
    """

    def __init__(self, stack: Stack, get: Get, total: int | None, constants: Mapping[str, Any]) -> None:
        self._stack = stack
        self._get = get
        self._total = total
        self._constants = dict(constants)
        self._verify_constants()
        if total is not None:
            stack.at(0, total)

    def __repr__(self) -> str:
        kind = "" if self.kind is None else f" ({self.kind})"
        total = "" if self._total is None else f" of {self._total} layers"
        return f"<model {self.name}{kind}{total}: {self.pattern}>"

    @property
    def name(self) -> str:
        """The name of the model's file."""
        return self._stack.model.name

    @property
    def kind(self) -> str | None:
        """Which of the model's kinds this is; None is the model itself."""
        return self._stack.kind

    @property
    def kinds(self) -> tuple[str | None, ...]:
        """The kinds that there are."""
        return self._stack.model.kinds

    @property
    def variants(self) -> tuple[Manifest, ...]:
        """What the definitions that the layers use offer and need, in the order of the file."""
        return tuple(v for v in self._stack.model.variants if v.name in self._stack.conditions)

    @property
    def pattern(self) -> str:
        """Which layers use which definition, such as `gemma3_local: layer % 6 != 5; gemma3_global: layer % 6 == 5`."""
        return self._stack.pattern

    def layer(self, layer: int, total: int | None = None) -> Program:
        """The program of a layer, where the model has `total` layers.

        Raises MaskError E0213 for a layer that there is not or that has no attention, and where `total` is needed;
        else as `maskdsl.get`.
        """
        name = self._stack.at(layer, self._count(total))
        if name is None:
            raise MaskError(self._stack.nothing(layer))
        return self._program(name)

    def layers(self, total: int | None = None) -> tuple[Program | None, ...]:
        """The programs of all layers, the same object for layers of one definition; None where there is no attention.

        Raises MaskError as `layer`.
        """
        return tuple(None if name is None else self._program(name) for name in self.names(total))

    def names(self, total: int | None = None) -> tuple[str | None, ...]:
        """The names of the definitions that the layers use, as `layers`. Raises MaskError as `layer`."""
        count = self._count(total)
        if count is None:
            message = f"nobody said how many layers `{self.name}` has"
            help = f'give their number: `maskdsl.model("{self.name}", total=…)`'
            raise MaskError(Diagnostic("E0213", message, help=(help,)))
        self._stack.at(0, count)
        return tuple(self._stack.at(layer, count) for layer in range(count))

    def __len__(self) -> int:
        return len(self.names())

    def __getitem__(self, layer: int) -> Program:
        return self.layer(layer)

    def __iter__(self) -> Iterator[Program | None]:
        return iter(self.layers())

    def __bool__(self) -> bool:
        return True

    def _count(self, total: int | None) -> int | None:
        return self._total if total is None else total

    def _program(self, name: str) -> Program:
        variant = next(v for v in self.variants if v.name == name)
        known = {p.name for p in variant.parameters if p.kind != "table"}
        return self._get(name, {n: value for n, value in self._constants.items() if n in known})

    def _verify_constants(self) -> None:
        """Raises MaskError E0208 for a constant that no definition of the kind has."""
        known = dict.fromkeys(p.name for v in self.variants for p in v.parameters if p.kind != "table")
        for name in self._constants:
            if name not in known:
                message = f"no layer of `{self.name}` has a constant `{name}`"
                notes = (f"its constants are {', '.join(f'`{n}`' for n in known)}",) if known else ()
                raise MaskError(Diagnostic("E0208", message, notes=notes, help=did_you_mean(name, known)))
