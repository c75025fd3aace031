"""One process of controllers: informers, queues, the shell that reconciles, and the hands that do what was decided."""
