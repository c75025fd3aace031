"""Commands of the control plane, for `fluyt`."""
