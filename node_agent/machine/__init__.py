"""What the agent reads of the machine: processors, memory, disks, kernel."""
