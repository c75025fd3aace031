"""What a small cluster needs of a network: Services, names, addresses of pods. See docs/design/0020-networking.md."""
