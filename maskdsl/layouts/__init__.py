"""Floor 5: where keys and queries stand in memory: physical coordinates, and the logical ones that they stand for."""
