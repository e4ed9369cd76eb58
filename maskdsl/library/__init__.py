"""Floor 7: the libraries of `.mask` files: manifests, the registry, imports, examples."""
