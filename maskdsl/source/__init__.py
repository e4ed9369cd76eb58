"""Floor 0: source text, spans and diagnostics; knows nothing of the language."""
