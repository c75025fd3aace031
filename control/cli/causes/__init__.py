"""What the API server keeps of causes, put together to chains (chain.py) and shown (tree.py)."""
