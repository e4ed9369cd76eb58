"""`maskdsl show`: a definition as a picture, in the terminal or in a file; its IR; its pictures redrawn."""

from __future__ import annotations

import shutil
import textwrap
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from maskdsl.cli.bounds import MOST_HEADS, WIDEST
from maskdsl.cli.outcome import can_draw, count
from maskdsl.cli.target import Target, find_target, find_targets, parse_settings, parse_sides
from maskdsl.library.files import writing

if TYPE_CHECKING:
    from maskdsl.cli.trial import Trial
    from maskdsl.cli.view import View
    from maskdsl.library.registry import Registry
    from maskdsl.tiles.report import TileReport

SQUARES_UP_TO = 40
"""Wider masks are drawn with half blocks, two queries a line."""

NUMBERS_UP_TO = 20
"""Wider scores are drawn as shades, in plain pictures too."""


def run(
    what: Annotated[str, typer.Argument(metavar="NAME|FILE[:NAME]", help="A registered name, or a file.")],
    set: Annotated[list[str] | None, typer.Option("--set", metavar="NAME=VALUE", help="A parameter's value.")] = None,
    size: Annotated[str | None, typer.Option(metavar="N|QxK", help="Tokens, or queries x keys.")] = None,
    after: Annotated[str | None, typer.Option(metavar="PASS", help="Print the program after this pass.")] = None,
    output: Annotated[Path | None, typer.Option("-o", "--output", help="Draw into a png, svg or pdf file.")] = None,
    accept: Annotated[bool, typer.Option("--accept", help="Redraw the pictures in the file.")] = False,
    batch: Annotated[int, typer.Option(min=0, max=MOST_HEADS - 1, help="The batch row to show.")] = 0,
    head: Annotated[int, typer.Option(min=0, max=MOST_HEADS - 1, help="The head to show.")] = 0,
    heads: Annotated[int | None, typer.Option(min=1, max=MOST_HEADS, help="How many heads there are.")] = None,
    score: Annotated[float, typer.Option(help="The score that comes in.")] = 0.0,
    tile: Annotated[int | None, typer.Option(min=1, max=WIDEST, help="The side of a tile, in tokens.")] = None,
    plain: Annotated[bool, typer.Option("--plain", help="Draw with x and . as examples do.")] = False,
) -> None:
    """Show a mask or score as a picture."""
    from maskdsl.cli.trial import DEFAULT_HEADS, Wish
    from maskdsl.cli.view import MOST_TOKENS
    from maskdsl.library.registry import shared

    if accept:
        return _accept(what, shared())
    lengths = None if size is None else parse_sides(size, "--size", MOST_TOKENS)
    wish = Wish(parse_settings(set or ()), lengths, batch + 1, heads or (head + 1 if head >= DEFAULT_HEADS else None))
    if output is None and after is None:
        for target in find_targets(what, shared()):
            _print_view(make_view(target, wish, shared(), batch, head, score), plain, tile)
        return None
    target = find_target(what, shared())
    if after is not None:
        return _print_program(target, wish, after, shared())
    assert output is not None
    return _save(make_view(target, wish, shared(), batch, head, score), output, tile)


def make_view(target: Target, wish: Any, registry: Registry, b: int, h: int, score: float) -> tuple[Trial, View]:
    """The arguments that a definition is shown with, and what it looks like. Raises MaskError as `make_trial` does."""
    from maskdsl.cli.trial import checked_definition, make_trial
    from maskdsl.cli.view import view

    module, variant = checked_definition(target.source, target.name, registry)
    trial = make_trial(module, variant, wish)
    for index, axis, option in ((b, "batch", "--batch"), (h, "head", "--head")):
        if index >= trial.sizes[axis]:
            raise typer.BadParameter(f"there are {trial.sizes[axis]} along `{axis}`, counted from 0", param_hint=option)
    return trial, view(trial, b, h, score)


# ---------------------------------------------------------------- in the terminal


def _print_view(shown: tuple[Trial, View], plain: bool, tile: int | None) -> None:
    trial, view = shown
    title, *facts = describe(trial, view)
    print("\n".join([title, *_documentation(trial.manifest.doc), *facts]))
    if (report := report_tiles(trial, view, tile)) is not None:
        from maskdsl.cli.tiles import blame, summary

        print(f"  {summary(report)}")
        if report.undecided and (culprit := blame(report)):
            print(f"  {culprit}")
    print()
    for row in drawing(view, plain or not can_draw()):
        print(f"  {row}".rstrip())
    print()


def report_tiles(trial: Trial, view: View, tile: int | None = None) -> TileReport | None:
    """The report of the tiles of the row and head that are shown; None without a mask, or where tiles are pairs."""
    from maskdsl.cli.tiles import default_tile, report_trial

    side = tile or default_tile(trial.q_len, trial.kv_len)
    if not view.has_mask or (tile is None and side == 1):
        return None
    return report_trial(trial, (side, side)).at(view.b, view.h)


def describe(trial: Trial, view: View, drawn: int = 1) -> list[str]:
    """The lines above a picture of every `drawn`-th token: the call, how much is visible, where arguments come from."""
    extent = f"{trial.q_len:,} × {trial.kv_len:,} queries and keys"
    extent += f" (every {ordinal(drawn)} drawn)" if drawn > 1 else ""
    if view.has_mask:
        seen = int(view.mask.sum())
        share = f"{seen / view.mask.size:.1%}"
        pairs = f"{seen:,} of {view.mask.size:,} pairs visible ({share})"
        extent += f", {pairs if view.step == 1 else f'{share} visible'}"
    elif view.curve:
        extent = "the same at every query and key"
    at = [f"{name} = {value}" for name, value in (("b", view.b), ("h", view.h)) if name in view.depends]
    layers = [line.text for line in trial.manifest.layers]
    facts = [", at ".join([extent, *([", ".join(at)] if at else [])]), trial.told, *_fields(trial), *layers]
    return [view.title, *(f"  {fact}" for fact in facts if fact)]


def _documentation(doc: str) -> list[str]:
    """A definition's documentation, in lines as wide as the terminal, at most 100."""
    from maskdsl.source.excerpt import printable

    width = min(100, shutil.get_terminal_size().columns)
    paragraphs = [textwrap.wrap(printable(" ".join(part.split())), max(20, width - 2)) for part in doc.split("\n\n")]
    return [f"  {line}" for part in paragraphs for line in part]


def ordinal(number: int) -> str:
    """Such as `2nd` or `16th`."""
    teens = number % 100 in (11, 12, 13)
    return f"{number}{'th' if teens else {1: 'st', 2: 'nd', 3: 'rd'}.get(number % 10, 'th')}"


def _fields(trial: Trial) -> list[str]:
    """What surrounds the softmax, in the language's own words."""
    from maskdsl.ir.print import text

    names = ("scale", "sink", "normalize")
    return [f"{n} = {text(node)}" for n in names if (node := getattr(trial.variant, n)) is not None]


def drawing(view: View, plain: bool) -> list[str]:
    """The rows of the picture: scores where they depend on the place, else the mask, else how scores change."""
    if view.score is not None and view.score_moves:
        return _score_rows(view, plain)
    if view.has_mask:
        return [*mask_rows(view, plain), *(["", *_curve_rows(view)] if view.curve else [])]
    return _curve_rows(view)


def mask_rows(view: View, plain: bool) -> list[str]:
    """The rows of the mask's picture."""
    from maskdsl.library import picture

    wide = view.kv_len > SQUARES_UP_TO
    draw = picture.letter_rows if plain else picture.half_block_rows if wide else picture.square_rows
    return draw(view.mask)


def _score_rows(view: View, plain: bool) -> list[str]:
    from maskdsl.library import picture

    assert view.score is not None
    low, high = picture.score_range(view.score, view.mask)
    legend = f"scores from {low:.4g} to {high:.4g} where {view.incoming:g} comes in"
    draw = picture.number_rows if plain and view.kv_len <= NUMBERS_UP_TO else picture.shade_rows
    return [*draw(view.score, view.mask), "", legend]


def _curve_rows(view: View) -> list[str]:
    """A few scores and what they become, at every place alike."""
    import numpy as np

    if view.curve is None:
        return []
    before, after = view.curve
    picked = [int(np.argmin(np.abs(before - s))) for s in (-100, -30, -10, -3, -1, 0, 1, 3, 10, 30, 100)]
    return ["score before   after", *(f"{before[i]:12g}   {after[i]:.6g}" for i in picked)]


# ---------------------------------------------------------------- files and programs


def _save(shown: tuple[Trial, View], path: Path, tile: int | None) -> None:
    from maskdsl.cli.plot import save_picture

    trial, view = shown

    if path.suffix.lower() not in (".png", ".svg", ".pdf"):
        raise typer.BadParameter(f"{path} should end with .png, .svg or .pdf", param_hint="--output")
    with writing(path):
        save_picture(view, path, report_tiles(trial, view, tile))
    print(f"drew {view.title} into {path}")


def _print_program(target: Target, wish: Any, after: str, registry: Registry) -> None:
    from maskdsl.cli.trial import checked_definition, make_trial
    from maskdsl.ir.print import text
    from maskdsl.passes.context import Context
    from maskdsl.passes.pipeline import PASSES, run_passes
    from maskdsl.source.excerpt import printable

    names = [p.name for p in PASSES]
    if after not in names:
        raise typer.BadParameter(f"{after!r} is no pass; the passes are {', '.join(names)}", param_hint="--after")
    module, variant = checked_definition(target.source, target.name, registry)
    trial = make_trial(module, variant, wish)
    lines = text(run_passes(trial.variant, Context(trial.sizes), after)).split("\n")
    print("\n".join(map(printable, lines)))


def _accept(what: str, registry: Registry) -> None:
    """Redraw the pictures of the file that is meant."""
    from maskdsl.cli.fmt import write_whole
    from maskdsl.library.redraw import redraw
    from maskdsl.source.diagnostic import MaskError

    source = next(iter(find_targets(what, registry))).source
    module = registry.check(source)
    if module.errors:
        raise MaskError(module.errors)
    text, changed = redraw(module)
    if changed and source.path is not None:
        write_whole(source.path, text)
    print(f"{source.name}: {count(changed, 'picture')} redrawn")
