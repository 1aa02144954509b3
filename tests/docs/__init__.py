"""What the documents and examples promise, executed."""
