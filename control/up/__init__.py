"""A whole cluster on one machine: what to start (plan, rows), with which credentials, and how it lives and ends."""
