"""Endpoints and EndpointSlices: which pods a service leads to."""
