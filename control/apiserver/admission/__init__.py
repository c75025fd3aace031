"""What may be written, and what is added to it: one file a plugin."""
