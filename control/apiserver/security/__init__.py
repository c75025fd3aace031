"""Who asks, whether they may, how much of the server they get, what is written down of it, and secrets at rest."""
