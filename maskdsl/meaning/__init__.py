"""Floor 2: from syntax to meaning: names, types, axes, facts, the proof of every lookup, lints."""
