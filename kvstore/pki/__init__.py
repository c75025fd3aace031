"""Keys and certificates of a cluster: a small authority, what it signs, and certificates that vouch for themselves."""
