"""Laying out text that may break at chosen places: documents of pieces, after Wadler's "A prettier printer" (2003).

A document is a string, a `Break`, a `Group` (flat if it fits, else all of its own breaks become newlines), a `Fill`
(as many items on a line as fit), an `Indent`, or a tuple of documents one after the other.
"""

from __future__ import annotations

from dataclasses import dataclass

WIDTH = 100
STEP = 4


@dataclass(frozen=True, slots=True)
class Break:
    """A newline, or the text `flat` where its group stays on one line."""

    flat: str = " "


@dataclass(frozen=True, slots=True)
class Group:
    """All on one line if that fits, else broken at every `Break` that is directly inside."""

    inner: Document


@dataclass(frozen=True, slots=True)
class Indent:
    """Newlines inside are followed by `STEP` more spaces."""

    inner: Document


@dataclass(frozen=True, slots=True)
class Fill:
    """Items on as few lines as possible; a comma follows every item but the last."""

    items: tuple[Document, ...]


Document = str | Break | Group | Indent | Fill | tuple["Document", ...]
Task = tuple[int, bool, Document]  # indentation, whether to stay flat, what to write


def separated(items: list[Document], separator: str = ",") -> Document:
    """The items with the separator and a break between them."""
    pieces: list[Document] = []
    for item in items:
        pieces += [separator, Break(), item] if pieces else [item]
    return tuple(pieces)


def enclosed(start: str, inner: Document, end: str) -> Document:
    """Brackets around a document, which moves to lines of its own where it does not fit between them."""
    return Group((start, Indent((Break(""), inner)), Break(""), end))


def flat(document: Document) -> str:
    """The document on one line, however long."""
    return _written([(0, True, document)], 0, 0)


def layout(document: Document, indent: int = 0, column: int = 0, width: int = WIDTH) -> str:
    """The text of a document that starts in `column`; lines after the first are indented by `indent` spaces or more."""
    return _written([(indent, False, document)], column, width)


def _written(tasks: list[Task], column: int, width: int) -> str:
    """The text of what is still to be written."""
    pieces: list[str] = []
    while tasks:
        spaces, is_flat, item = tasks.pop()
        if isinstance(item, Break) and not is_flat:
            pieces.append("\n" + " " * spaces)
            column = spaces
        elif isinstance(item, Group) and not is_flat:
            tasks.append((spaces, _fits(item.inner, width - column, tasks), item.inner))
        elif isinstance(item, Fill) and not is_flat:
            tasks.extend(reversed(_filled(item, spaces, column, width)))
        else:
            text, more = _open(spaces, is_flat, item)
            pieces.append(text)
            column += len(text)
            tasks.extend(more)
    return "".join(pieces)


def _open(spaces: int, is_flat: bool, item: Document) -> tuple[str, list[Task]]:
    """One piece opened: its text, and the tasks that it stands for, last one first."""
    match item:
        case str():
            return item, []
        case Break(text):
            return text, []
        case Group(inner):
            return "", [(spaces, is_flat, inner)]
        case Indent(inner):
            return "", [(spaces + STEP, is_flat, inner)]
        case Fill(items):
            return "", [(spaces, is_flat, separated(list(items)))]
        case _:
            return "", [(spaces, is_flat, inner) for inner in reversed(item)]


def _fits(document: Document, room: int, after: list[Task]) -> bool:
    """Whether the document flat, and what follows up to the next possible newline, takes at most `room` columns."""
    tasks: list[Task] = [(0, True, document)]
    following = len(after)
    while room >= 0:
        if not tasks:
            if following == 0:
                return True
            following -= 1
            tasks.append(after[following])
        spaces, is_flat, item = tasks.pop()
        if isinstance(item, Break) and not is_flat:
            return True
        text, more = _open(spaces, is_flat, item)
        room -= len(text)
        tasks.extend(more)
    return False


def _filled(item: Fill, spaces: int, column: int, width: int) -> list[Task]:
    """The tasks of a `Fill`: each break flat or not, decided by the flat length of the item after it."""
    tasks: list[Task] = []
    for number, inner in enumerate(item.items):
        comma = "," if number < len(item.items) - 1 else ""
        length = len(flat(inner)) + len(comma)
        if number:
            keeps = column + 1 + length <= width
            tasks.append((spaces, keeps, Break()))
            column = column + 1 if keeps else spaces
        tasks.append((spaces, False, (inner, comma)))
        column += length
    return tasks
