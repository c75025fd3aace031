"""The brains of a master: resource kinds, API server, clients, controllers and scheduler.

Nothing here knows how the store works inside: it is reached through kvstore.client, that is through the etcd v3 API,
so all of it also runs on a real etcd cluster.
"""
