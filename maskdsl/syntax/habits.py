"""What other languages write and this one does not: tables of signs, words, characters and names, each with its answer.

Not here: when a sign counts as a habit (`explain`), the language's own names (`meaning`).
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Habit:
    """Why it is refused, how on, and what to write in its place where a mere exchange repairs the line."""

    message: str
    help: tuple[str, ...] = ()
    instead: str | None = None


_AND = Habit("`{0}` does not join conditions", ("conditions are joined by `and`",), "and")
_OR = Habit("`{0}` does not join conditions", ("conditions are joined by `or`",), "or")
_NOT = Habit("`{0}` does not negate", ("a condition is negated by `not`",), "not ")
_STRING = Habit("the language has no strings", ("names are written without quotes",))
_STEP = Habit("nothing is ever assigned a second time", ("`sum(… for i in range(n))` adds up",))
_ARROW = Habit("`{0}` has no place in an equation", ("a definition is `mask NAME(parameters) = condition`",))

SIGNS: dict[str, Habit] = {
    "&": Habit(_AND.message, (*_AND.help, "the bits of ints by `bit_and(x, y)`"), "and"),
    "&&": _AND,
    "|": Habit(_OR.message, (*_OR.help, "the bits of ints by `bit_or(x, y)`"), "or"),
    "||": _OR,
    "~": Habit(_NOT.message, (*_NOT.help, "the bits of an int are flipped by `bit_xor(x, -1)`"), "not "),
    "!": _NOT,
    "^": Habit("`^` is not an operator", ("a power is `x ** y`", "the bits of ints are compared by `bit_xor(x, y)`")),
    "<<": Habit("`<<` is not an operator", ("bits are moved by `shift_left(x, n)`",)),
    ">>": Habit("`>>` is not an operator", ("bits are moved by `shift_right(x, n)`",)),
    "->": Habit("`->` has no place in a definition", ("a mask is always a condition and a score always a float",)),
    "=>": _ARROW,
    "<=>": Habit("`<=>` is not an operator", ("equality is `==`",), "=="),
    "=<": Habit("`=<` is not an operator", ("less or equal is `<=`",), "<="),
    "<>": Habit("`<>` is not an operator", ("different is `!=`",), "!="),
    "===": Habit("`===` is not an operator", ("equality is `==`",), "=="),
    "!==": Habit("`!==` is not an operator", ("different is `!=`",), "!="),
    ":=": Habit("`:=` has no place inside an expression", ("local names follow the body: `where name = value`",)),
    "+=": _STEP, "-=": _STEP, "*=": _STEP, "/=": _STEP, "%=": _STEP,
    "++": Habit("`++` is not an operator", ("adding one is `x + 1`",)),
    "@": Habit("`@` is not an operator", ("a product of numbers is `x * y`; there are no matrices",)),
    ";": Habit("definitions are not separated by `;`", ("leave it out",), ""),
    "\\": Habit("lines need no `\\`", ("newlines mean nothing: leave it out",), ""),
    "/*": Habit("`/*` does not begin a comment", ("a comment is `# …`, to the end of its line",)),
    "$": Habit("names have no `$`", ("leave it out",), ""),
    "`": Habit("names are written without backticks", ("leave them out",), ""),
}  # fmt: skip

WORDS: dict[str, Habit] = {
    "return": Habit("a definition has no `return`", ("it is an equation: `mask NAME(parameters) = condition`",)),
    "lambda": Habit("the language has no `lambda`", ("`q`, `k`, `b` and `h` are there without being declared",)),
    "def": Habit("`def` does not begin a definition", ("write `mask NAME(parameters) = condition`",)),
    "fn": Habit("`fn` does not begin a definition", ("write `mask NAME(parameters) = condition`",)),
    "func": Habit("`func` does not begin a definition", ("write `mask NAME(parameters) = condition`",)),
    "function": Habit("`function` does not begin a definition", ("write `mask NAME(parameters) = condition`",)),
    "class": Habit("the language has no classes", ("a mask with scores is `variant NAME(parameters) { … }`",)),
    "let": Habit("local names need no `let`", ("they follow the body: `where name = value`",)),
    "var": Habit("local names need no `var`", ("they follow the body: `where name = value`",)),
    "const": Habit("constants need no `const`", ("a parameter such as `w: int = 4` is a constant",)),
    "elif": Habit("the language has no `elif`", ("write `x if c else y if d else z`",)),
    "while": Habit("the language has no loops", ("`any`, `all` and `sum` run over `range(n)`",)),
    "is": Habit("`is` is not an operator", ("equality is `==`",), "=="),
    "in": Habit("`in` is not an operator", ("membership is `any(x == t[i] for i in range(n))`",)),
    "xor": Habit("`xor` is not an operator", ("of conditions it is `!=`, of the bits of ints `bit_xor(x, y)`",)),
    "mod": Habit("`mod` is not an operator", ("the remainder is `%`",), "%"),
    "div": Habit("`div` is not an operator", ("whole division is `//`",), "//"),
    "assert": Habit("the language has no `assert`", ("facts about parameters follow the body: `requires fact`",)),
}  # fmt: skip

STRING_QUOTES: dict[str, Habit] = {'"': _STRING, "'": _STRING}

# Characters that stand for something the language has; an empty text means that they only need to go.
CHARACTERS: dict[str, str] = {
    "≤": "<=", "≥": ">=", "≠": "!=", "×": "*", "·": "*", "÷": "/", "−": "-", "–": "-", "—": "-", "∧": "and", "∨": "or",
    "¬": "not", "∞": "inf", "²": "** 2", "“": "", "”": "", "‘": "", "’": "", "（": "(", "）": ")", "［": "[", "］": "]",
    "，": ",", "：": ":", "＝": "=", "＜": "<", "＞": ">", "＋": "+", "＊": "*", "→": "", "…": "", "\u00a0": " ",
    "\u2009": " ", "\u202f": " ", "\u3000": " ", "\u200b": "", "\u200c": "", "\u200d": "", "\ufeff": "", "\0": "",
}  # fmt: skip

TYPES: dict[str, str] = {
    "Tensor": "a tensor is a table: `int[batch, position]`, `float[head]`, or `int[]` for one element",
    "tensor": "a tensor is a table: `int[batch, position]`, `float[head]`, or `int[]` for one element",
    "list": "a list is a table: `int[n]` with an axis of its own",
    "str": "the language has no strings",
    "boolean": "write `bool`",
    "number": "write `int` or `float`",
    "score": "only masks are handed to definitions: `inner: mask`",
    **dict.fromkeys("int8 int16 int32 int64 long i32".split(), "write `int`; every int has 32 bits"),
    **dict.fromkeys("float16 bfloat16 float32 float64 double half f32".split(),
                    "write `float`; scores are computed in float32"),
}  # fmt: skip

_LENGTHS = "the lengths of the current sequence are `q_len` and `kv_len`, an axis has `size(axis)`"
_NO_MODULE = "functions have no module: `exp(x)`"
_INFINITE = "infinity is `inf`, and less than everything is `-inf`"

# Names that resolve to nothing here but mean something elsewhere, and what to write.
NAMES: dict[str, str] = {
    "q_idx": "the position of the query is `q`", "kv_idx": "the position of the key is `k`",
    "idx": "the position of the query is `q`",
    "q_index": "the position of the query is `q`", "kv_index": "the position of the key is `k`",
    "k_idx": "the position of the key is `k`", "i": "the position of the query is `q`",
    "j": "the position of the key is `k`", "kv": "the position of the key is `k`",
    "batch_idx": "the batch row is `b`", "batch": "the batch row is `b`; `batch` is an axis",
    "head_idx": "the query head is `h`", "head": "the query head is `h`; `head` is an axis",
    "kv_head": "the key's head is `kv_h`; `kv_head` is an axis", "position": "`position` is an axis; see `q` and `k`",
    "True": "write `true`", "False": "write `false`", "None": "the language has no `None`; leave the part out",
    "where": "a choice is written `x if condition else y`", "select": "a choice is written `x if condition else y`",
    "logical_and": "conditions are joined by `and`", "logical_or": "conditions are joined by `or`",
    "logical_not": "a condition is negated by `not`", "logical_xor": "conditions differ by `!=`",
    "xor": "of conditions it is `!=`, of the bits of ints `bit_xor(x, y)`",
    "maximum": "the largest is `max(x, y)`", "minimum": "the smallest is `min(x, y)`",
    "clip": "write `clamp(x, lo, hi)`", "relu": "write `max(x, 0.0)`", "power": "a power is `x ** y`",
    "round": "write `floor(x + 0.5)`",
    "log_sigmoid": "write `logsigmoid(x)`", "shape": "the length of an axis is `size(axis)`",
    "k_len": _LENGTHS,
    "len": _LENGTHS, "seq_len": _LENGTHS, "q_length": _LENGTHS, "kv_length": _LENGTHS, "Lq": _LENGTHS, "Lk": _LENGTHS,
    **dict.fromkeys("d dim d_k d_head head_dim head_size".split(), "the length of a head's vectors is not known "
                    "here: give it as a constant, such as `head_dim: int = 64`"),
    "num_heads": "the number of heads is `size(head)`", "n_heads": "the number of heads is `size(head)`",
    "batch_size": "the number of batch rows is `size(batch)`",
    "Infinity": _INFINITE,
    "Inf": _INFINITE, "INF": _INFINITE, "infinity": _INFINITE, "nan": "no value is ever NaN here",
    "float32": "write `float(x)`", "int32": "write `int(x)`", "bool_": "compare: `x != 0`",
    "not_equal": "different is `!=`", "equal": "equality is `==`", "logit": "the incoming score is `score`",
    "torch": _NO_MODULE, "np": _NO_MODULE, "math": _NO_MODULE, "F": _NO_MODULE, "tl": _NO_MODULE,
    "return": "a definition is an equation: `mask NAME(parameters) = condition`",
    "lambda": "`q`, `k`, `b` and `h` are there without being declared",
    "print": "a file only defines; it prints nothing",
}  # fmt: skip
