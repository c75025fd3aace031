"""Rules of single types and kinds that are no data: defaults that depend on other fields, and validation."""
