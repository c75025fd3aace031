"""The built-in kinds, one file per API group: names, scope, subresources and the columns `kubectl get` shows."""
