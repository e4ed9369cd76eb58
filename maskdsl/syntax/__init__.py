"""Floor 1: from text to a syntax tree and back: grammar, parser with recovery, AST, formatter."""
