"""Floor 1: the typed intermediate representation: types, nodes, functions, walking, printing, verifying."""
