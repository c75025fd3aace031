"""Tokens of service accounts: issued, verified, revoked with the objects they are bound to."""
