"""What the processes that are elected have in common: a candidacy, terms, pages, the flags for them."""
