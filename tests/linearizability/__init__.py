"""Judging histories: was what clients saw possible in a store that does one thing at a time, in real-time order?

`checker` searches for such an order key by key and trusts nothing but the answers (Wing and Gong, Lowe); `serial` takes
the order that the store's revisions claim and holds every answer against it; `watching` holds watchers to etcd's
promises. `picture` draws a history that failed.
"""
