"""What is kept nearer than the store: workflow versions in this process, and what can't change in Redis."""
