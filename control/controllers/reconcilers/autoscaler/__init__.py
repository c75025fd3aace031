"""HorizontalPodAutoscalers: how many pods, by what is measured and how fast that may change."""
