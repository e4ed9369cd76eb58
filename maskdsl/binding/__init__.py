"""Floor 8: a definition with its constants fixed, and with its tables bound: checks, mods, calls."""
