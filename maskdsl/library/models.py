"""Models: the files whose definitions say which layers use them, found by name; one kind of a model, layer by layer.

Not here: how the condition of a `Layers` line is read (`layers`), programs (`maskdsl.binding.model`).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from maskdsl.library.layers import MOST_LAYERS, Condition, read_condition
from maskdsl.source.diagnostic import Diagnostic, MaskError
from maskdsl.source.suggest import did_you_mean

if TYPE_CHECKING:
    from maskdsl.library.manifest import Manifest
    from maskdsl.library.places import Place
    from maskdsl.library.registry import Registry
    from maskdsl.source.text import Source

MARK = "## Layers"


@dataclass(frozen=True, slots=True, eq=False)
class Model:
    """A file of a library whose definitions say which layers use them: `variants` are those definitions, in order."""

    name: str
    source: Source
    variants: tuple[Manifest, ...]

    @property
    def kinds(self) -> tuple[str | None, ...]:
        """The kinds of the model in the order of the file; None stands for the model itself."""
        return tuple(dict.fromkeys(line.kind for variant in self.variants for line in variant.layers))

    def rules(self, kind: str | None = None) -> dict[str, str]:
        """The condition, as text, of every definition that the kind uses. Raises MaskError E0213 for no such kind."""
        if kind not in self.kinds:
            raise MaskError(self._no_kind(kind))
        return {v.name: line.where for v in self.variants for line in v.layers if line.kind == kind}

    def _no_kind(self, kind: str | None) -> Diagnostic:
        named = [k for k in self.kinds if k is not None]
        message = f"`{self.name}` has several kinds" if kind is None else f"`{self.name}` has no kind `{kind}`"
        notes = (f"its kinds are {', '.join(f'`{k}`' for k in named)}",) if named else ("it is of one kind alone",)
        close = () if kind is None else did_you_mean(kind, named)
        help = close or tuple(f'say which: `maskdsl.model("{self.name}", kind="{k}")`' for k in named[:1])
        return Diagnostic("E0213", message, notes=notes, help=help)


@dataclass(frozen=True, slots=True, eq=False)
class Stack:
    """The layers of one kind of a model: a checked condition for each of its definitions."""

    model: Model
    kind: str | None
    conditions: dict[str, Condition]

    @property
    def counted(self) -> bool:
        """Whether some condition reads the number of layers."""
        return any(c.counted for c in self.conditions.values())

    def at(self, layer: int, total: int | None = None) -> str | None:
        """The definition that a layer of `total` uses; None for a layer without attention.

        Raises MaskError E0213 for a layer that there is not, a number of layers that is needed, and for two claims.
        """
        self._verify_layer(layer, total)
        names = [name for name, condition in self.conditions.items() if condition.holds(layer, total)]
        if len(names) > 1:
            claims = ", ".join(f"`{n}`" for n in names)
            message = f"{len(names)} definitions of `{self.model.name}` claim layer {layer}"
            raise MaskError(self._problem(message, claims))
        return names[0] if names else None

    def nothing(self, layer: int) -> Diagnostic:
        """What to say of a layer without attention."""
        return self._problem(f"layer {layer} of `{self.model.name}` has no attention", f"its layers: {self.pattern}")

    @property
    def pattern(self) -> str:
        """Every definition with its condition, such as `gemma3_local: layer % 6 != 5; gemma3_global: …`."""
        return "; ".join(f"{name}: {where}" for name, where in self.model.rules(self.kind).items())

    def _verify_layer(self, layer: int, total: int | None) -> None:
        name = self.model.name
        if total is not None and not 1 <= total <= MOST_LAYERS:
            raise MaskError(self._problem(f"`{name}` cannot have {total} layers", f"1 to {MOST_LAYERS:,} are possible"))
        if layer < 0 or layer >= (MOST_LAYERS if total is None else total):
            counted = "layers count from 0" + (f", and there are {total}" if total is not None else "")
            raise MaskError(self._problem(f"`{name}` has no layer {layer}", counted))
        if total is None and self.counted:
            help = f"give their number: `layer({layer}, total=…)`"
            message = f"which definition layer {layer} of `{name}` uses depends on the number of layers"
            raise MaskError(Diagnostic("E0213", message, notes=(f"its layers: {self.pattern}",), help=(help,)))

    def _problem(self, message: str, note: str) -> Diagnostic:
        return Diagnostic("E0213", message, notes=(note,))


def stack(model: Model, kind: str | None, registry: Registry) -> Stack:
    """The layers of one kind of a model. Raises MaskError E0213 for no such kind, else as `read_condition`."""
    conditions = {name: read_condition(where, name, registry) for name, where in model.rules(kind).items()}
    return Stack(model, kind, conditions)


def find_models(registry: Registry) -> tuple[Model, ...]:
    """Every model of every library, in the order of the libraries."""
    return tuple(m for place, source in _candidates(registry) if (m := _model(place, source, registry)) is not None)


def find_model(name: str, registry: Registry) -> Model:
    """The model called `name`: a file's name, with folders before it or not, or its beginning up to an underscore.

    `longformer` is `longformer_encoder` as long as no other model begins so. Raises MaskError E0211 otherwise.
    """
    *folders, last = name.strip("/").split("/")
    places = [(p, s) for p, s in _candidates(registry) if p.holds(tuple(folders))]
    exact = [(p, s) for p, s in places if p.stem == last]
    close = exact or [(p, s) for p, s in places if p.stem.startswith(f"{last}_")]
    found = [m for place, source in close if (m := _model(place, source, registry)) is not None]
    if len(found) == 1:
        return found[0]
    raise MaskError(_several(name, found) if found else _unknown(name, registry))


def _candidates(registry: Registry) -> Iterable[tuple[Place, Source]]:
    return ((place, source) for place, source in registry.sources() if MARK in source.text)


def _model(place: Place, source: Source, registry: Registry) -> Model | None:
    """The model that a file is; None if it does not parse or no definition of it says its layers."""
    try:
        variants = tuple(registry.manifest(source, name) for name in registry.names(source))
    except MaskError:
        return None
    variants = tuple(v for v in variants if v.layers)
    return Model(place.stem, source, variants) if variants else None


def _unknown(name: str, registry: Registry) -> Diagnostic:
    models = find_models(registry)
    owner = next((m for m in models for v in m.variants if v.name == name), None)
    notes = (f"`{name}` is a definition of the model `{owner.name}`",) if owner else ()
    close = did_you_mean(name.rpartition("/")[2], [m.name for m in models])
    rest = f"the models are {_listed([m.name for m in models])}"
    return Diagnostic("E0211", f"no model is called `{name}`", notes=notes, help=close or (rest,))


def _several(name: str, found: Sequence[Model]) -> Diagnostic:
    ways = [m.name for m in found]
    notes = tuple(f"`{m.name}` is {m.source.name}" for m in found)
    help = (f"say which: {' or '.join(f'`{w}`' for w in ways)}",) if len(set(ways)) == len(ways) else ()
    return Diagnostic("E0211", f"{len(found)} models are called `{name}`", notes=notes, help=help)


def _listed(names: Sequence[str]) -> str:
    return ", ".join(f"`{n}`" for n in names)
