"""Users, roles, permissions and tokens: who a request comes from, and what it may do.

Pure; kvstore.member drives it.
"""
