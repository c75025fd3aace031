"""Services: what they mean on this node (ports.py, endpoints.py), and two ways to make it so (nft, user space)."""
