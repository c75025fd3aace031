"""The measurements, one file a family of rows; sections.py says which of them share a cluster."""
