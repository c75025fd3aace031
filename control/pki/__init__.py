"""The credentials of a cluster: its authorities, certificates, token keys, and the kubeconfig files made from them."""
