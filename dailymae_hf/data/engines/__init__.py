"""Who fills a batch."""
