"""What runs on a worker: pod workers, probes, volumes, logs, status. It talks to the API server and to a runtime."""
