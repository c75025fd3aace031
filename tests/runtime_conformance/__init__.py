"""One suite for all runtimes: whatever the agent may count on, all of them must do."""
