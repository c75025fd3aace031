"""The gRPC services, one file each.

Requests are checked here, carried out by the member, and answered in bytes made by hand.
"""
