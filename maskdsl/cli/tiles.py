"""`maskdsl explain --tiles`: which tiles of a mask are skipped, how close that is to the truth, and what is in the way.

Not here: how tiles are decided and counted (`tiles`).
"""

from __future__ import annotations

from collections.abc import Iterator
from math import isfinite
from textwrap import shorten
from typing import TYPE_CHECKING, Any

from maskdsl.cli.outcome import count
from maskdsl.cli.target import find_target, parse_settings
from maskdsl.source.excerpt import Mark, excerpt

if TYPE_CHECKING:
    from maskdsl.cli.trial import Trial
    from maskdsl.tiles.losses import Loss
    from maskdsl.tiles.report import Counts, TileReport

MOST_LOSSES = 5
"""Conditions to blame that are printed."""


def explain_tiles(
    what: str, settings: list[str], lengths: tuple[int, int], heads: int, block: tuple[int, int]
) -> tuple[Trial, TileReport]:
    """A definition with arguments, and the report of its tiles. Raises MaskError as `make_trial` does."""
    trial = make_tile_trial(what, settings, lengths, heads)
    return trial, report_trial(trial, block)


def report_trial(trial: Trial, block: tuple[int, int]) -> TileReport:
    """The report of the tiles of a definition with its arguments."""
    from maskdsl.tiles.arrays import Shape
    from maskdsl.tiles.report import report_tiles

    shape = Shape(trial.sizes["batch"], trial.sizes["head"], trial.q_len, trial.kv_len)
    return report_tiles(trial.variant, shape, trial.tables, trial.sizes, block)


def default_tile(q_len: int, kv_len: int) -> int:
    """The power of two that cuts a picture's longer side into about eight tiles."""
    return int(2 ** max(0, max(q_len, kv_len).bit_length() - 4))


def make_tile_trial(what: str, settings: list[str], lengths: tuple[int, int], heads: int) -> Trial:
    """The definition with what was set, else the constants and masks of its full size, and random tables."""
    from maskdsl.cli.trial import Wish, checked_definition, full_values, make_trial
    from maskdsl.library.registry import shared

    target = find_target(what, shared())
    module, variant = checked_definition(target.source, target.name, shared())
    values = {**full_values(module, variant), **parse_settings(settings)}
    return make_trial(module, variant, Wish(values, lengths, heads=heads, examples=False))


# ---------------------------------------------------------------- for people


def text_lines(trial: Trial, report: TileReport) -> Iterator[str]:
    """The report as lines."""
    sides = f"{trial.q_len:,} × {trial.kv_len:,} queries and keys in tiles of {report.block[0]} × {report.block[1]}"
    rows = [count(n, noun) for n, noun in zip(report.found.shape, ("batch row", "head"), strict=False) if n > 1]
    yield trial.title
    yield f"  {', '.join([sides, *rows])}"
    if trial.told:
        yield f"  {trial.told}"
    yield ""
    yield from _table(report)
    yield ""
    yield from _judgement(report)
    for loss in report.losses[:MOST_LOSSES]:
        yield ""
        yield from _loss_lines(loss)


def summary(report: TileReport) -> str:
    """One line: such as `tiles of 128 × 128: 120 full, 16 partial, 120 empty (46.9% skipped)`."""
    n = report.ours
    undecided = f", {report.undecided:,} of the partial ones undecided" if report.undecided else ""
    counts = f"{n.full:,} full, {n.partial:,} partial, {n.empty:,} empty ({n.sparsity:.1%} skipped){undecided}"
    return f"tiles of {report.block[0]} × {report.block[1]}: {counts}"


def blame(report: TileReport) -> str | None:
    """One line: the condition that leaves most tiles open; None where none does."""
    if not report.losses:
        return None
    loss = report.losses[0]
    line, column = loss.span.source.position(loss.span.start)
    text = shorten(" ".join(loss.span.text.split()), 60, placeholder=" …")
    return f"left open by `{text}` at {loss.span.source.name}:{line}:{column}"


def _table(report: TileReport) -> Iterator[str]:
    yield f"  {'':16}{'full':>10}{'partial':>10}{'empty':>10}{'skipped':>10}"
    yield _row("by the formula", report.ours)
    yield _row("in truth", report.truth)
    heads = report.found.shape[1]
    if heads > 1:
        from maskdsl.tiles.report import count_tiles

        for h in range(heads):
            yield _row(f"  head {h}", count_tiles(report.found[:, h]))


def _row(name: str, n: Counts) -> str:
    return f"  {name:16}{n.full:10,}{n.partial:10,}{n.empty:10,}{n.sparsity:10.1%}"


def _judgement(report: TileReport) -> Iterator[str]:
    if not report.undecided:
        yield "  every tile is decided: the bounds find exactly the tiles that there are"
        return
    full, empty = report.truth.full - report.ours.full, report.truth.empty - report.ours.empty
    kinds = " and ".join(f"{n:,} {kind}" for n, kind in ((full, "full"), (empty, "empty")) if n)
    yield f"  of the partial tiles, {report.undecided:,} could not be decided: {kinds} in truth"
    must, ratio = report.truth.visited, report.visited_ratio
    visits = f"visits {ratio:.3f} × the tiles that it must" if must else "visits tiles where it need not visit any"
    yield f"  {visits}" + (f", finds {report.full_ratio:.3f} × the full ones" if report.truth.full else "")


def _loss_lines(loss: Loss) -> Iterator[str]:
    source = loss.span.source
    line, column = source.position(loss.span.start)
    yield f"  {source.name}:{line}:{column} leaves {count(loss.tiles, 'tile')} open"
    for row in excerpt(source, [Mark(loss.span.start, loss.span.end, "", True)]):
        number = str(row.number) if row.number else ""
        yield f"  {number:>4} |{''.join(text for text, _ in row.pieces)}".rstrip()


# ---------------------------------------------------------------- for machines


def as_values(trial: Trial, report: TileReport) -> dict[str, Any]:
    """The report as plain values."""
    return {
        "name": trial.variant.name,
        "constants": {n: v if isfinite(v) else str(v) for n, v in trial.constants.items()},
        "q_len": trial.q_len,
        "kv_len": trial.kv_len,
        "block": list(report.block),
        "batch_rows": report.found.shape[0],
        "heads": report.found.shape[1],
        "arguments": trial.told,
        "found": _counts(report.ours),
        "exact": _counts(report.truth),
        "undecided": report.undecided,
        "visited_ratio": report.visited_ratio if isfinite(report.visited_ratio) else None,
        "full_ratio": report.full_ratio,
        "losses": [_loss_values(loss) for loss in report.losses],
    }


def _counts(n: Counts) -> dict[str, Any]:
    return {"full": n.full, "partial": n.partial, "empty": n.empty, "sparsity": n.sparsity}


def _loss_values(loss: Loss) -> dict[str, Any]:
    line, column = loss.span.source.position(loss.span.start)
    return {"tiles": loss.tiles, "file": loss.span.source.name, "line": line, "column": column, "text": loss.span.text}
