"""One reconciler a file, or a folder where it is large; each decides from values alone."""
