"""The protocols of kubectl's streams over WebSocket. Pure."""
