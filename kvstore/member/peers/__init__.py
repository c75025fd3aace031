"""What members say to each other, and how they find each other."""
