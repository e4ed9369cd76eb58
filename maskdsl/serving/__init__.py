"""Floor of engines: plan and run any program over a paged cache. `PagedAttention` is what engines use."""

from maskdsl.serving.attention import PagedAttention
from maskdsl.serving.pages import Pages

__all__ = ["PagedAttention", "Pages"]
