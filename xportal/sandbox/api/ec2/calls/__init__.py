"""EC2's calls by their noun: what is read from a request, and how the answer is put together."""
