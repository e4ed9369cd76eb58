"""The most that a command may be asked for: beyond it a number is refused as wrong usage."""

from __future__ import annotations

MOST_ROWS = (1 << 30) - 1
"""Tokens and entries of an axis, as in `tiles.limits.LONGEST`, which help has no time to import."""

MOST_HEADS = 1 << 16
"""Batch rows and heads: whatever reads them is looked at for each."""

LONGEST, WIDEST = 1 << 15, 1 << 12
"""The most tokens, and the widest tile, of which tiles are looked at pair by pair."""
