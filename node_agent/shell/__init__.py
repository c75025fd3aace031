"""What acts: workers, the view of the runtime, status reports, the agent itself. Deciding is elsewhere (pod, node)."""
