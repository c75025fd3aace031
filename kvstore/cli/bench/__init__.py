"""`fluyt bench`: how a store does under load, whoever made it."""
