"""The audit log: who did what when (audit.k8s.io/v1)."""
