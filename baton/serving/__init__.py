"""What serves: a batch of rows, scored by one pinned version and published at once."""
