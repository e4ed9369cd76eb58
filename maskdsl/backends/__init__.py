"""Floor 6: what runs a variant: the NumPy reference, emitted mods, FlexAttention."""
