"""Jobs: which pods to make, how those that ended count, and when the job is done."""
