"""A sentence for every set of terminals that the parser may expect; no terminal's name reaches the user."""

from __future__ import annotations

from collections.abc import Sequence

_VALUE = frozenset("BOOL FLOAT INT LPAR LSQB MINUS NAME QUANTIFIER SCORE".split())
_OPERATOR = frozenset("PLUS MINUS STAR SLASH FLOOR PERCENT POWER COMPARE EQUAL _AND _OR _IF _AT LPAR LSQB".split())
_DEFINITION = frozenset("MASK SCORE VARIANT EXAMPLE".split())
_FIELD = frozenset("MASK SCORE SCALE SINK NORMALIZE".split())
# After a value the tables of the parser, unlike the parser with its stack, allow all that may follow any value.
_CLAUSE = frozenset("_WHERE _REQUIRES _THEN _ELSE _FOR".split())
_AFTER_VALUE = _DEFINITION | _FIELD | _CLAUSE | {"$END", "DOC", "COMMA", "RPAR", "RSQB", "RBRACE", "ROW"}
_KINDS = "(`mask`, `score`, `variant` or `example`)"

# What a group of terminals is called, tried in order; a group counts where the first set is wholly expected, and then
# stands for all of the second.
GROUPS: tuple[tuple[frozenset[str], frozenset[str], str], ...] = (
    (_VALUE, _VALUE | {"NOT"}, "a value"),
    (frozenset({"_IF"}), _OPERATOR, "an operator"),
    (frozenset({"_OR"}), _OPERATOR, "an operator"),
    (frozenset({"_AND"}), _OPERATOR, "an operator"),
    (frozenset({"PLUS"}), _OPERATOR, "an operator"),
    (frozenset({"SCALE", "VARIANT"}), _AFTER_VALUE, "what may follow a value"),
    (frozenset({"SCALE"}), _FIELD, "a field (`mask`, `score`, `scale`, `sink` or `normalize`)"),
    (_DEFINITION | {"LANGUAGE"}, _DEFINITION | {"$END", "DOC", "FROM", "LANGUAGE"}, f"a definition {_KINDS}"),
    (_DEFINITION | {"$END", "FROM"}, _DEFINITION | {"$END", "DOC", "FROM"}, "the next definition"),
    (_DEFINITION | {"$END"}, _DEFINITION | {"$END", "DOC"}, "the next definition"),
    (_DEFINITION, _DEFINITION | {"DOC"}, f"a definition {_KINDS}"),
    (frozenset({"SCALAR"}), frozenset({"SCALAR", "MASK"}), "a type (`bool`, `int`, `float` or `mask`)"),
    (frozenset({"NAME", "SIZE"}), frozenset({"NAME", "SIZE"}), "a coordinate such as `q = 0`"),
    (frozenset({"NAME", "INT"}), frozenset({"NAME", "INT"}), "an axis (a name or a number)"),
    (frozenset({"EQUAL", "ROW"}), frozenset({"EQUAL", "ROW"}), "what is shown (rows `| x . .`, or `==` and a value)"),
)

_LAST = frozenset(phrase for whole, _, phrase in GROUPS if "EXAMPLE" in whole or "ROW" in whole)

SINGLE: dict[str, str] = {
    "$END": "the end of the file", "DOC": "a line of documentation", "LANGUAGE": "`language`", "FROM": "`from`",
    "_IMPORT": "`import`", "_AS": "`as`", "MASK": "`mask`", "SCORE": "`score`", "VARIANT": "`variant`",
    "EXAMPLE": "`example`", "_WHERE": "`where`", "_REQUIRES": "`requires`", "SCALE": "`scale`", "SINK": "`sink`",
    "NORMALIZE": "`normalize`", "_THEN": "`then`", "SCALAR": "a type", "_AT": "`at`", "SIZE": "`size`", "_IF": "`if`",
    "_ELSE": "`else`", "_OR": "`or`", "_AND": "`and`", "NOT": "`not`", "_FOR": "`for`", "_IN": "`in`",
    "_RANGE": "`range`", "QUANTIFIER": "`any`, `all` or `sum`", "BOOL": "`true` or `false`", "NAME": "a name",
    "FLOAT": "a number", "INT": "a whole number", "BECOMES": "`=`", "EQUAL": "`==` and a value",
    "COMPARE": "a comparison", "PLUS": "`+`", "MINUS": "`-`", "STAR": "`*`", "SLASH": "`/`", "POWER": "`**`",
    "FLOOR": "`//`", "PERCENT": "`%`", "DOT": "`.`", "COMMA": "`,`", "COLON": "`:` and a type", "LPAR": "`(`",
    "RPAR": "`)`", "LSQB": "`[`", "RSQB": "`]`", "LBRACE": "`{`", "RBRACE": "`}`",
    "ROW": "a picture row such as `| x . .`",
}  # fmt: skip

# What a terminal stands for after a certain word, where little else could follow.
AFTER: dict[tuple[str, str], str] = {
    ("mask", "NAME"): "the name of the mask",
    ("score", "NAME"): "the name of the score",
    ("variant", "NAME"): "the name of the variant",
    ("example", "NAME"): "the definition that the example shows",
    ("import", "NAME"): "the name to import",
    ("as", "NAME"): "the other name",
    ("for", "NAME"): "a name for what is counted",
    ("where", "NAME"): "a local name",
    ("from", "NAME"): "the name of a module",
    (".", "NAME"): "the name of a module",
    ("at", "LPAR"): "coordinates in parentheses such as `(q = 0)`",
    ("range", "LPAR"): "its length in parentheses such as `(4)`",
}


def expectation(expected: frozenset[str], previous: str = "") -> str:
    """What could have stood after `previous` instead: "an operator, `,` or `)`"."""
    known = [AFTER[previous, name] for name in expected if (previous, name) in AFTER]
    if known and len(expected) <= 2:
        return known[0]
    phrases: list[str] = []
    left = set(expected)
    for whole, stands_for, phrase in GROUPS:
        if whole <= left:
            phrases.append(phrase)
            left -= stands_for
    order = list(SINGLE)
    phrases += [SINGLE[name] for name in sorted(left, key=order.index)]
    return one_of(sorted(phrases, key=_LAST.__contains__))


def one_of(phrases: Sequence[str]) -> str:
    """`a, b or c`."""
    if len(phrases) < 2:
        return "".join(phrases)
    return f"{', '.join(phrases[:-1])} or {phrases[-1]}"
