"""The scheduler: a node for every pod that has none. A pure cycle over a model of the cluster, and one thin shell."""
