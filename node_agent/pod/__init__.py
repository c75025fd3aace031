"""What is decided about one pod: pure functions from the pod and what runs of it to actions and a status."""
