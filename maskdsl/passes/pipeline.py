"""THE list of passes, in the order in which they run, and running them.

Not here: what a pass does (a file of its own each).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from maskdsl.ir.nodes import Call, Fill, Moved, Variant
from maskdsl.passes import (
    ascending_intervals,
    fold_constants,
    guard_lookups,
    inline_calls,
    inline_moves,
    share,
    simplify,
    unroll_quantifiers,
)
from maskdsl.passes.context import Context


@dataclass(frozen=True, slots=True)
class Pass:
    """A rewriting of variants that keeps their value; `removes` are the classes of nodes that are gone after it."""

    name: str
    run: Callable[[Variant, Context], Variant]
    removes: tuple[type, ...] = ()


PASSES: tuple[Pass, ...] = (
    Pass("inline_calls", inline_calls.run, (Call,)),
    Pass("inline_moves", inline_moves.run, (Moved, Fill)),
    Pass("fold_constants", fold_constants.run),
    Pass("unroll_quantifiers", unroll_quantifiers.run),
    Pass("simplify", simplify.run),
    Pass("ascending_intervals", ascending_intervals.run),
    Pass("guard_lookups", guard_lookups.run),
    Pass("share", share.run),
)


def run_passes(variant: Variant, context: Context | None = None, after: str | None = None) -> Variant:
    """The variant after all passes, or after the pass named `after` and those before it.

    Constants must have values already where a quantifier's bound needs them. Raises MaskError (E0403, E0406) for
    programs that grow too large, AssertionError for an unknown name.
    """
    assert after is None or after in {p.name for p in PASSES}, f"no pass is called {after}"
    for step in PASSES:
        variant = step.run(variant, context or Context())
        if step.name == after:
            break
    return variant


def gone_after(name: str) -> tuple[type, ...]:
    """The classes of nodes that the passes up to the named one have removed: what `verify` must not find."""
    names = [p.name for p in PASSES]
    return tuple(kind for p in PASSES[: names.index(name) + 1] for kind in p.removes)
