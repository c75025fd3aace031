"""One small process per container, which stays when the agent goes. Imports next to nothing: it is started often and
lives long.
"""
