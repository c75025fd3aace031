"""What a node may see and write: only what is its own."""
