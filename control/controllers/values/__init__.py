"""What reconcilers are given and what they answer, as values, and how both are read."""
