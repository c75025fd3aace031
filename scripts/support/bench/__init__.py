"""The benchmark: the same load on our cluster and on others, one after the other, and the tables made of it."""
