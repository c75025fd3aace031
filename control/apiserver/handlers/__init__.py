"""What the server does with a request, one file a verb or subresource: async functions from Call to Answer."""
