"""The API server: one generic set of REST handlers over control/api and the store, with a watch cache between."""
