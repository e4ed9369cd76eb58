"""The example: its engine on a small network of random weights, and SmolLM2 itself against transformers."""
