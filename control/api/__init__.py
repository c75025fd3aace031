"""Resource kinds as data, and everything that can be said of an object without a store, a clock or a network."""
