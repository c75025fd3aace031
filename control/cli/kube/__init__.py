"""`fluyt kube`: the everyday part of kubectl, in its grammar, for machines without it."""
