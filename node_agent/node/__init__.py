"""What is decided about the node as a whole: whom it takes, whom it evicts, what it cleans up and reports. Pure."""
