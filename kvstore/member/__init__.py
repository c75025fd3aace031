"""One store member: configuration, start-up, the apply loop, and the links to its peers."""
