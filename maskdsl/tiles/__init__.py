"""Floor 4: what a formula says of a whole tile of q x k: none, some or all of its pairs."""
