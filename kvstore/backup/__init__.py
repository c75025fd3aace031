"""Backups in etcd's snapshot format: made from a running member, looked into, and restored to a new data directory."""
