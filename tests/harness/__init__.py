"""What tests and scripts share to run real clusters: processes, ports, stubs, workloads, checks of histories."""
