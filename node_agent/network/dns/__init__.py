"""The cluster's DNS on this node: names from Services and EndpointSlices, all else from the machine's resolvers."""
