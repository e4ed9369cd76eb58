"""Floor 3: rewritings of the IR that keep its value, one pass a file, listed in `pipeline.PASSES`."""
