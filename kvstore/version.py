"""Which version we are, and which etcd version we claim to be (clients switch features by it)."""

FLUYT_VERSION = "0.1.0"
# etcd's clients parse this as plain dotted integers; 3.5 until all that 3.6 added works.
ETCD_VERSION = "3.5.17"
ETCD_CLUSTER_VERSION = "3.5.0"
