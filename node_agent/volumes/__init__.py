"""What containers find below their mount paths: which files (pure), and how they come to the disk."""
