"""Images on disk for the process runtime and `fluyt image`: archives in, one tree of files per image out."""
