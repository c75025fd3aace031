"""For other people's tests: a pytest plugin with an etcd and a Kubernetes API server (docs/testing.md)."""
