"""The gallery: a static site with a page for every definition, made from computed pictures handed to it.

Not here: computing them (`cli.gallery_pages`), the command (`cli.gallery`).
"""
