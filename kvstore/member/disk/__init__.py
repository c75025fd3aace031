"""How what a member writes becomes durable: on the loop, by the kernel, or in a thread."""
