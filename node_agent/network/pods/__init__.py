"""Pods' own addresses: a bridge for each node, with addresses of the node's range (podCIDR)."""
