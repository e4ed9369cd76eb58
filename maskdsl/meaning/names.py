"""Which names a file may give to its definitions, parameters, local names and axes."""

from __future__ import annotations

from maskdsl.meaning.findings import Findings
from maskdsl.meaning.scope import KEYWORDS, OWN_NAMES, PLACE_NAMES
from maskdsl.source.diagnostic import Label
from maskdsl.source.text import Span
from maskdsl.syntax import ast


def check_name(findings: Findings, name: ast.Name, *, own: bool) -> bool:
    """Whether a name is free to be given: no keyword and, where `own` is set, no name with a fixed meaning."""
    text = name.text
    if text in KEYWORDS:
        told, label = f"`{text}` is a word of the language: it cannot be a name", "a reserved word"
    elif own and text in OWN_NAMES:
        label = "a coordinate" if text in PLACE_NAMES else "a function"
        told = f"`{text}` has a meaning of its own: it cannot be a name"
    else:
        return True
    findings.tell("E0203", told, name.span, label, help=(f"choose another name, such as `{text}_` or `my_{text}`",))
    return False


def check_axis(findings: Findings, axis: ast.Name) -> bool:
    """Whether an axis may have this name."""
    usual = {"b": "batch", "h": "head", "kv_h": "kv_head", "q": "position", "k": "position"}
    if axis.text not in usual:
        return check_name(findings, axis, own=False)
    findings.tell(
        "E0203", f"`{axis.text}` is a coordinate: an axis has another name", axis.span, "a coordinate",
        help=(f"the axis that it runs over is `{usual[axis.text]}`",),
    )
    return False


def refuse_second(findings: Findings, name: ast.Name, first: Span) -> None:
    """Report a name that is given a second time."""
    also = (Label(first, "first defined here"),)
    findings.tell("E0202", f"`{name.text}` is defined twice", name.span, "defined again", also=also)
