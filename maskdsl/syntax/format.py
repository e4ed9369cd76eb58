"""The one layout of a `.mask` file: four spaces, 100 columns, no options; every comment stays, in order.

Not here: how an expression is written and where it breaks (`spell`, `document`).
"""

from __future__ import annotations

from dataclasses import dataclass, field

from maskdsl.source.diagnostic import MaskError
from maskdsl.source.text import Source, Span
from maskdsl.syntax import ast
from maskdsl.syntax.comments import Comment, Comments, comments_of
from maskdsl.syntax.document import STEP, WIDTH, Break, Document, Fill, Group, Indent, flat, layout, separated
from maskdsl.syntax.parse import parse
from maskdsl.syntax.spell import parts, spell, spell_call, spell_place
from maskdsl.syntax.stop import lexemes


def format_file(source: Source) -> str:
    """The text of the source in the layout of the language; raises MaskError where it does not parse.

    Laws: formatting twice is formatting once; the tree stays the same but for spans; no comment is lost or moved
    past another.
    """
    file, diagnostics = parse(source)
    if diagnostics:
        raise MaskError(diagnostics)
    page = Page(source, comments_of(source))
    tops = _tops(file)
    for number, top in enumerate(tops):
        page.next_top = tops[number + 1].span.start if number + 1 < len(tops) else len(source.text)
        if number and not _belong_together(tops[number - 1], top):
            page.lines.append("")
        _write_top(page, top)
    rest = page.comments.take(len(source.text))
    if rest and tops:
        page.lines.append("")
    page.put_comments(rest, 0, keep_blanks=True)
    return "".join(f"{line}\n" for line in page.lines).rstrip("\n") + "\n" * bool(page.lines)


@dataclass(frozen=True, slots=True)
class Edition:
    """`language 1`."""

    number: ast.Integer
    span: Span


Top = Edition | ast.Use | ast.Definition


def _tops(file: ast.File) -> list[Top]:
    if file.edition is None:
        return [*file.uses, *file.definitions]
    whole = Span(file.span.source, 0, file.edition.span.end)
    word = next(found for found in lexemes(whole.source, 0, whole.end) if found.text == "language")
    return [Edition(file.edition, word.to(whole)), *file.uses, *file.definitions]


def _belong_together(before: Top, top: Top) -> bool:
    """Imports stand without blank lines between them, and so do examples of values."""
    if isinstance(before, ast.Example) and isinstance(top, ast.Example):
        are_values = not isinstance(before.expected, ast.Picture) and not isinstance(top.expected, ast.Picture)
        return are_values and not top.doc
    return isinstance(before, ast.Use) and isinstance(top, ast.Use)


# ---------------------------------------------------------------- lines and comments


@dataclass(slots=True)
class Page:
    """The lines written so far, the comments still to write, and where the next definition starts."""

    source: Source
    comments: Comments
    lines: list[str] = field(default_factory=list)
    next_top: int = 0

    def put_comments(self, comments: list[Comment], indent: int, keep_blanks: bool = False) -> None:
        """Comments on lines of their own."""
        for comment in comments:
            self.lines.append(" " * indent + comment.text)
            if comment.before_blank and keep_blanks:
                self.lines.append("")

    def put(self, text: str, indent: int, leading: list[Comment], trailing: Comment | None) -> None:
        """A text with the comments above it and the one at the end of its last line, however long that becomes."""
        lines = text.split("\n")
        self.put_comments(leading, indent)
        if trailing is not None:
            lines[-1] += f"  {trailing.text}"
        self.lines += lines

    def find(self, sign: str, start: int, end: int) -> int:
        """The offset after the first such sign in a range that is known to hold it."""
        return next(found.end for found in lexemes(self.source, start, end) if found.text == sign)


@dataclass(frozen=True, slots=True)
class Item:
    """One of several things that may stand on one line: what it is, and where in the text it was."""

    document: Document
    start: int
    end: int


def _put_items(page: Page, items: list[Item], indent: int, end: int, comma: str = ",") -> None:
    """Each item on a line of its own, with the comments inside and after it up to the offset `end`."""
    for number, item in enumerate(items):
        leading = page.comments.take(item.end)
        following = items[number + 1].start if number + 1 < len(items) else end
        trailing = page.comments.take_trailing(following)
        separator = comma if number + 1 < len(items) else ""
        text = layout((item.document, separator), indent, indent)
        page.put(" " * indent + text, indent, leading, trailing)


# ---------------------------------------------------------------- the head of a file


def _write_top(page: Page, top: Top) -> None:
    page.put_comments(page.comments.take(top.span.start), 0, keep_blanks=True)
    match top:
        case Edition(number):
            text = f"language {flat(spell(number))}"
            page.put(text, 0, page.comments.take(top.span.end), page.comments.take_trailing(page.next_top))
        case ast.Use():
            text = layout(_spell_use(top))
            page.put(text, 0, page.comments.take(top.span.end), page.comments.take_trailing(page.next_top))
        case ast.Variant():
            _write_variant(page, top)
        case ast.Example():
            _write_example(page, top)
        case _:
            _write_formula(page, top)


def _spell_use(use: ast.Use) -> Document:
    module = "." * use.local + ".".join(name.text for name in use.module)
    names = [one.name.text if one.alias is None else f"{one.name.text} as {one.alias.text}" for one in use.names]
    return Group((f"from {module} import", Indent((Break(), Fill(tuple(names))))))


# ---------------------------------------------------------------- heads of definitions


def _doc(lines: tuple[str, ...]) -> list[str]:
    return [f"## {line}".rstrip() for line in lines]


def _write_head(page: Page, node: ast.Mask | ast.Score | ast.Variant, sign: str, body: int) -> str:
    """The documentation, and the head unless it may share its line with what follows: that head is returned.

    `sign` (`=` or `{`) ends the head, `body` is the offset of what follows it.
    """
    after_name, end = node.name.span.end, page.find(sign, _after_parameters(page, node, body), body)
    start = f"{type(node).__name__.lower()} {node.name.text}"
    above = page.comments.take(after_name)
    items = [Item(_spell_parameter(p), p.span.start, p.span.end) for p in node.parameters]
    head = f"{start}({', '.join(flat(item.document) for item in items)}) {sign}" if items else f"{start} {sign}"
    if not items or (len(head) <= WIDTH and not page.comments.has(end)):
        page.put_comments([*above, *page.comments.take(end)], 0)
        page.lines += _doc(node.doc)
    else:
        page.put_comments(above, 0)
        page.lines += [*_doc(node.doc), f"{start}("]
        close = _after_parameters(page, node, body)
        _put_items(page, items, STEP, close)
        page.put_comments(page.comments.take(end), STEP)
        head = f") {sign}"
    return head


def _after_parameters(page: Page, node: ast.Mask | ast.Score | ast.Variant, body: int) -> int:
    """The offset after the `)` of the parameters, or after the name where there are none."""
    if node.parameters:
        return page.find(")", node.parameters[-1].span.end, body)
    return node.name.span.end


def _spell_parameter(parameter: ast.Parameter) -> Document:
    text = f"{parameter.name.text}: {_type(parameter.type)}"
    if parameter.default is None:
        return text
    return Group((f"{text} =", Indent((Break(), spell(parameter.default)))))


def _type(kind: ast.Type) -> str:
    if kind.axes is None:
        return kind.name
    axes = [axis.text if isinstance(axis, ast.Name) else flat(spell(axis)) for axis in kind.axes]
    return f"{kind.name}[{', '.join(axes)}]"


# ---------------------------------------------------------------- masks and scores


def _write_formula(page: Page, node: ast.Mask | ast.Score) -> None:
    head = _write_head(page, node, "=", node.body.span.start)
    clauses = [item.span.start for item in (*node.where, *node.requires)]
    following = clauses[0] if clauses else page.next_top
    if not _put_on_one_line(page, head, node.body, following):
        trailing = page.comments.take_trailing(node.body.span.start)
        page.put(head, 0, [], trailing)
        _put_body(page, node.body, following)
    bindings = [Item(_spell_binding(b), b.span.start, b.span.end) for b in node.where]
    facts = [Item(spell(fact), fact.span.start, fact.span.end) for fact in node.requires]
    if bindings:
        _put_clause(page, "where", bindings, facts[0].start if facts else page.next_top)
    if facts:
        _put_clause(page, "requires", facts, page.next_top)


def _put_on_one_line(page: Page, head: str, body: ast.Expression, following: int) -> bool:
    """Write head and body as one line, if they fit and no comment stands in the way."""
    text = f"{head} {flat(spell(body))}"
    if len(text) > WIDTH or page.comments.has(parts(body)[-1].end):
        return False
    page.put(text, 0, [], page.comments.take_trailing(following))
    return True


def _put_body(page: Page, body: ast.Expression, following: int) -> None:
    lines = parts(body)
    if len(lines) > 1 and page.comments.has(lines[-1].end):
        _put_items(page, [Item(part.document, part.start, part.end) for part in lines], STEP, following, comma="")
    else:
        _put_items(page, [Item(spell(body), body.span.start, body.span.end)], STEP, following)


def _spell_binding(node: ast.Binding) -> Document:
    return Group((f"{node.name.text} =", Indent((Break(), spell(node.value)))))


def _put_clause(page: Page, word: str, items: list[Item], following: int) -> None:
    """`where …` or `requires …`: on one line, or an item a line where it is too long or has comments inside."""
    text = " " * STEP + word + " " + ", ".join(flat(item.document) for item in items)
    page.put_comments(page.comments.take(items[0].end), STEP)
    if len(text) > WIDTH or page.comments.has(items[-1].end):
        page.lines.append(" " * STEP + word)
        _put_items(page, items, 2 * STEP, following)
    else:
        page.put(text, STEP, [], page.comments.take_trailing(following))


# ---------------------------------------------------------------- variants


def _write_variant(page: Page, node: ast.Variant) -> None:
    close = node.span.end - 1
    body = node.fields[0].span.start if node.fields else close
    head = _write_head(page, node, "{", body + (not node.fields))
    if not node.fields and not page.comments.has(close) and len(head) < WIDTH:
        page.put(f"{head}}}", 0, [], page.comments.take_trailing(page.next_top))
        return
    page.put(head, 0, [], page.comments.take_trailing(body))
    width = max((len(f.name.text) for f in node.fields), default=0)
    items = [Item(_spell_field(f, width), f.span.start, f.span.end) for f in node.fields]
    _put_items(page, items, STEP, close, comma="")
    page.put_comments(page.comments.take(close), STEP)
    page.put("}", 0, [], page.comments.take_trailing(page.next_top))


def _spell_field(node: ast.Field, width: int) -> Document:
    first, *rest = [spell(stage) for stage in node.stages]
    return Group((f"{node.name.text.ljust(width)} = ", Indent((first, *((Break(), "then ", stage) for stage in rest)))))


# ---------------------------------------------------------------- examples


def _write_example(page: Page, node: ast.Example) -> None:
    end = _end_of_head(page, node)
    page.put_comments(page.comments.take(end), 0)
    if isinstance(node.expected, ast.Picture):
        _put_head(page, node, _spell_example(node, ()), node.expected.span.start)
        rows = [Item(_row(row), span.start, span.end) for row, span in _rows(node.expected)]
        _put_items(page, rows, STEP, page.next_top, comma="")
    else:
        value: Document = ("== ", Indent(spell(node.expected)))
        _put_head(page, node, _spell_example(node, value), page.next_top)


def _spell_example(node: ast.Example, value: Document) -> str:
    rest = [part for part in (spell_place(node.place) if node.place else (), value) if part]
    after: Document = (Indent((Break(), Group(separated(rest, "")))),) if rest else ()
    return layout(Group(("example ", spell_call(node.call), after)))


def _put_head(page: Page, node: ast.Example, text: str, following: int) -> None:
    page.lines += _doc(node.doc)
    page.put(text, 0, [], page.comments.take_trailing(following))


def _end_of_head(page: Page, node: ast.Example) -> int:
    if not isinstance(node.expected, ast.Picture):
        return node.span.end
    if not node.place:
        return node.call.span.end
    return page.find(")", node.place[-1].span.end, node.expected.span.start)


def _rows(picture: ast.Picture) -> list[tuple[tuple[bool, ...], Span]]:
    return list(zip(picture.rows, picture.row_spans, strict=True))


def _row(row: tuple[bool, ...]) -> str:
    marks = ["x" if visible else "." for visible in row]
    spaced = "| " + " ".join(marks)
    # A wide picture is written without spaces, so that it keeps to the width for twice as many columns.
    return spaced if STEP + len(spaced) <= WIDTH else "| " + "".join(marks)
