"""The store: an etcd v3 compatible key-value store replicated with Raft, in pure Python."""
