"""The embedded runtime: a container is a supervised process group in its own namespaces, where the machine allows
them.
"""
