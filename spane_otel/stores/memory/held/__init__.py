"""What is held, in plain data: whoever touches it holds the store's lock."""
