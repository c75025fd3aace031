"""Values at rest, encrypted as Kubernetes does (EncryptionConfiguration, apiserver.config.k8s.io/v1)."""

from control.apiserver.security.encryption.configuration import load

__all__ = ["load"]
